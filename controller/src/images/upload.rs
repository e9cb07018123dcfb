//! Taking in an image file.

use std::path::PathBuf;

use axum::body::Body;
use futures_util::StreamExt;
use roost_types::image::{MAX_IMAGE_BYTES, RootfsFormat};
use roost_types::{Code, ImageDigest, Problem};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::ImageStore;
use crate::random;

/// Where EROFS keeps its superblock, and how that begins (little-endian 0xE0F5E1E2).
const EROFS_AT: u64 = 1024;
const EROFS_MAGIC: [u8; 4] = [0xE2, 0xE1, 0xF5, 0xE0];
/// How a SquashFS file begins.
const SQUASHFS_MAGIC: [u8; 4] = *b"hsqs";

/// A file in staging whose digest is known. Removed when dropped before [`Staged::keep`].
pub struct Staged {
    path: PathBuf,
    /// SHA-256 of the file.
    pub digest: ImageDigest,
    /// Its size in bytes.
    pub size: u64,
}

impl ImageStore {
    /// Writes a body to staging.
    ///
    /// # Errors
    /// `body_too_large`, `invalid_field` when it is not a file system of that format, `store_full`, or `internal`.
    pub async fn stage(&self, body: Body, format: RootfsFormat) -> Result<Staged, Problem> {
        let name = random::bytes::<8>().map_err(|e| failed("making a name", &e))?;
        let path = self.staging().join(crate::credentials::hex(&name));
        let mut staged = Staged { path, digest: ImageDigest::from_sha256(&[0; 32]), size: 0 };
        let mut file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&staged.path)
            .await
            .map_err(|e| failed("making the file", &e))?;
        let (mut hash, mut chunks) = (Sha256::new(), body.into_data_stream());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| {
                Problem::new(Code::InvalidField, "the upload ended before it was complete").field("body")
            })?;
            staged.size += chunk.len() as u64;
            if staged.size > MAX_IMAGE_BYTES {
                return Err(too_large());
            }
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(|e| failed("writing the file", &e))?;
        }
        file.flush().await.map_err(|e| failed("writing the file", &e))?;
        check_magic(&mut file, format).await?;
        file.sync_all().await.map_err(|e| failed("syncing the file", &e))?;
        staged.digest = ImageDigest::from_sha256(&hash.finalize().into());
        Ok(staged)
    }

    /// Gives a staged file its final name, durably.
    ///
    /// # Errors
    /// When it cannot be renamed or the directory not synced.
    pub async fn keep(&self, staged: &Staged) -> Result<(), Problem> {
        let to = self.path(&staged.digest);
        tokio::fs::rename(&staged.path, &to).await.map_err(|e| failed("naming the file", &e))?;
        let dir = File::open(&self.dir).await.map_err(|e| failed("opening the directory", &e))?;
        dir.sync_all().await.map_err(|e| failed("syncing the directory", &e))
    }
}

impl Staged {
    /// A file that the unpacking process made: its digest is computed here, its word is not taken.
    ///
    /// # Errors
    /// `invalid_field` when it is not a file system of that format, or `internal`.
    pub async fn adopt(path: PathBuf, format: RootfsFormat) -> Result<Self, Problem> {
        let mut staged = Self { path, digest: ImageDigest::from_sha256(&[0; 32]), size: 0 };
        let mut file = File::open(&staged.path).await.map_err(|e| failed("opening the file", &e))?;
        check_magic(&mut file, format).await?;
        file.rewind().await.map_err(|e| failed("reading the file", &e))?;
        let (mut hash, mut chunk) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut chunk).await.map_err(|e| failed("reading the file", &e))? {
                0 => break,
                count => {
                    hash.update(&chunk[..count]);
                    staged.size += count as u64;
                }
            }
        }
        staged.digest = ImageDigest::from_sha256(&hash.finalize().into());
        Ok(staged)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already when it was kept.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The refusal of a file over the limit.
pub fn too_large() -> Problem {
    Problem::new(Code::BodyTooLarge, format!("an image may have at most {MAX_IMAGE_BYTES} bytes"))
}

async fn check_magic(file: &mut File, format: RootfsFormat) -> Result<(), Problem> {
    let (at, magic) = match format {
        RootfsFormat::Erofs => (EROFS_AT, EROFS_MAGIC),
        RootfsFormat::Squashfs => (0, SQUASHFS_MAGIC),
    };
    let mut found = [0; 4];
    file.seek(std::io::SeekFrom::Start(at)).await.map_err(|e| failed("reading the file", &e))?;
    match file.read_exact(&mut found).await {
        Ok(_) if found == magic => Ok(()),
        _ => Err(Problem::new(
            Code::InvalidField,
            format!("the body is not a {} file: its superblock is missing", format.as_str()),
        )
        .field("format")),
    }
}

/// The problem for a file that could not be worked on.
pub fn failed(step: &str, error: &std::io::Error) -> Problem {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return Problem::new(Code::StoreFull, "the controller's disk is full: the image was not stored");
    }
    tracing::error!(step, %error, "an image could not be stored");
    Problem::new(Code::Internal, format!("storing the image: {step} failed; the controller's log has the cause"))
}
