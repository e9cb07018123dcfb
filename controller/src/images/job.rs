//! The directory of one import: everything it writes is below it, and all of it goes with the value.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use futures_util::StreamExt;
use roost_image_import::child::{ARCHIVE, OUTPUT};
use roost_types::image::MAX_IMAGE_BYTES;
use roost_types::{Code, Problem};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::upload::{failed, too_large};
use crate::{credentials, random};

/// A directory in staging. Removed when dropped.
pub struct JobDir(PathBuf);

impl JobDir {
    /// Makes one with a random name that only this user can enter.
    pub fn new(staging: &Path) -> Result<Self, Problem> {
        let name = random::bytes::<8>().map_err(|e| failed("making a name", &e))?;
        let path = staging.join(credentials::hex(&name));
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|e| failed("making a directory", &e))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the root file will be.
    pub fn output(&self) -> PathBuf {
        self.0.join(OUTPUT)
    }

    /// Begins the archive.
    pub async fn archive(&self) -> Result<ArchiveWriter, Problem> {
        let file = File::options().create_new(true).write(true).open(self.0.join(ARCHIVE)).await;
        Ok(ArchiveWriter { file: file.map_err(|e| failed("making the archive", &e))?, written: 0 })
    }

    /// Writes an uploaded archive.
    pub async fn store(&self, body: Body) -> Result<(), Problem> {
        let mut archive = self.archive().await?;
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let cut = |_| Problem::new(Code::InvalidField, "the upload ended before it was complete").field("body");
            archive.write(&chunk.map_err(cut)?).await?;
        }
        archive.finish().await
    }
}

impl Drop for JobDir {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.0.display(), "what an import left behind could not be removed");
            }
            _ => {}
        }
    }
}

/// An archive on its way to the disk, of at most [`MAX_IMAGE_BYTES`].
pub struct ArchiveWriter {
    file: File,
    written: u64,
}

impl ArchiveWriter {
    /// Bytes so far.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Adds bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.written += bytes.len() as u64;
        if self.written > MAX_IMAGE_BYTES {
            return Err(too_large());
        }
        self.file.write_all(bytes).await.map_err(|e| failed("writing the archive", &e))
    }

    /// Hands everything to the system. It need not survive a power cut: the import would not either.
    pub async fn finish(mut self) -> Result<(), Problem> {
        self.file.flush().await.map_err(|e| failed("writing the archive", &e))
    }
}
