//! Images of this node: one read-only file each, named by digest, visible only when complete and verified.
//!
//! ```text
//!   GET /agent/v1/images/{digest} ─▶ STATE/staging/<hex>.part ─ sha256, size, fsync ─▶ STATE/images/<hex>.<format>
//! ```
//!
//! A download that breaks off goes on where it was; one whose bytes are wrong begins anew. Files of the staging
//! directory that nobody goes on with are removed at the next start of the board.
//!
//! At least a tenth of the disk is kept free: before a download, and once a minute, images that no allocation needs are
//! removed, the one that is longest unneeded first ([`room`]).

mod room;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, RANGE};
use hyper::{Method, Response, StatusCode};
use roost_types::ImageDigest;
use roost_types::image::RootfsFormat;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::controller::{Controller, HttpError};

/// How long the controller may be silent during a download.
const SILENCE: Duration = Duration::from_secs(30);
/// Pieces on the way from the network to the disk: at most 16 of what one read yields.
const QUEUE: usize = 16;

/// Why an image is not here.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No answer.
    #[error("download image {0}")]
    Http(ImageDigest, #[source] HttpError),
    /// Not 200 or 206.
    #[error("download image {0}: the controller answered with status {1}")]
    Status(ImageDigest, StatusCode),
    /// The connection ended early.
    #[error("download image {digest}: broke off after {have} of {want} bytes")]
    Truncated {
        /// Which.
        digest: ImageDigest,
        /// Bytes here.
        have: u64,
        /// Bytes expected.
        want: u64,
    },
    /// More bytes than the image has.
    #[error("download image {0}: longer than its {1} bytes")]
    TooLong(ImageDigest, u64),
    /// Other bytes than the digest stands for.
    #[error("download image {0}: what came has another digest")]
    WrongDigest(ImageDigest),
    /// The disk is too full, with every image that nobody needs removed.
    #[error("download image {digest}: {need} bytes do not fit into the {free} bytes that are free")]
    NoRoom {
        /// Which.
        digest: ImageDigest,
        /// Bytes still to come.
        need: u64,
        /// Bytes free.
        free: u64,
    },
    /// A file.
    #[error("{step} {}", path.display())]
    File {
        /// What was being done.
        step: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The images of this node.
#[derive(Clone, Debug)]
pub struct Images {
    dir: PathBuf,
    staging: PathBuf,
    /// What may not be removed. Held while files are removed.
    in_use: Arc<Mutex<BTreeSet<ImageDigest>>>,
}

/// What is to be downloaded.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name and proof.
    pub digest: ImageDigest,
    /// Its file system.
    pub format: RootfsFormat,
    /// Its exact size in bytes.
    pub bytes: u64,
}

impl Images {
    /// The store below `state`.
    pub fn open(state: &Path) -> Result<Self, ImageError> {
        let images = Self { dir: state.join("images"), staging: state.join("staging"), in_use: Arc::default() };
        for dir in [&images.dir, &images.staging] {
            fs::create_dir_all(dir).map_err(file_error("create", dir))?;
        }
        Ok(images)
    }

    /// Where the image is, or would be.
    #[must_use]
    pub fn path(&self, digest: &ImageDigest, format: RootfsFormat) -> PathBuf {
        self.dir.join(format!("{}.{}", digest.hex(), format.as_str()))
    }

    /// Every image that is here, by digest.
    pub fn held(&self) -> Result<Vec<ImageDigest>, ImageError> {
        let mut held = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(file_error("list", &self.dir))? {
            let entry = entry.map_err(file_error("list", &self.dir))?;
            held.extend(room::digest_of(&entry.path()));
        }
        held.sort();
        Ok(held)
    }

    /// Brings the image here; nothing to do when it is.
    pub async fn fetch(&self, controller: &Controller, wanted: &Wanted) -> Result<(), ImageError> {
        if self.path(&wanted.digest, wanted.format).exists() {
            return Ok(());
        }
        let part = self.staging.join(format!("{}.part", wanted.digest.hex()));
        let resumed = {
            let (part, wanted) = (part.clone(), wanted.clone());
            blocking(move || Partial::resume(part, wanted)).await?
        };
        let partial =
            if resumed.have < wanted.bytes { self.download(controller, wanted, resumed).await? } else { resumed };
        let target = self.path(&wanted.digest, wanted.format);
        let dir = self.dir.clone();
        blocking(move || partial.publish(&target, &dir)).await
    }

    async fn download(
        &self,
        controller: &Controller,
        wanted: &Wanted,
        partial: Partial,
    ) -> Result<Partial, ImageError> {
        let http = |source| ImageError::Http(wanted.digest.clone(), source);
        let mut connection = controller.connect().await.map_err(http)?;
        let path = format!("/agent/v1/images/{}", wanted.digest);
        let mut request = controller.request(Method::GET, &path);
        if partial.have > 0 {
            request = request.header(RANGE, format!("bytes={}-", partial.have));
        }
        let request = request.body(Full::new(Bytes::new())).map_err(|error| ImageError::File {
            step: "ask for",
            path: PathBuf::from(&path),
            source: io::Error::other(error),
        })?;
        let response = connection.send(request, SILENCE).await.map_err(http)?;
        let partial = match response.status() {
            StatusCode::OK => blocking(move || partial.restart()).await?,
            StatusCode::PARTIAL_CONTENT if starts_at(&response, partial.have) => partial,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                let status = response.status();
                blocking(move || partial.restart()).await?;
                return Err(ImageError::Status(wanted.digest.clone(), status));
            }
            other => return Err(ImageError::Status(wanted.digest.clone(), other)),
        };
        receive(response.into_body(), wanted, partial).await
    }
}

fn starts_at(response: &Response<Incoming>, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}

/// Takes the body off the network; a thread of its own hashes and writes it.
async fn receive(mut body: Incoming, wanted: &Wanted, partial: Partial) -> Result<Partial, ImageError> {
    let (pieces, mut arriving) = mpsc::channel::<Bytes>(QUEUE);
    let writer = spawn_blocking(move || {
        let mut partial = partial;
        while let Some(piece) = arriving.blocking_recv() {
            partial.write(&piece)?;
        }
        Ok::<Partial, ImageError>(partial)
    });
    let mut trouble = None;
    loop {
        match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(piece) = frame.into_data()
                    && pieces.send(piece).await.is_err()
                {
                    break;
                }
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                trouble = Some(HttpError::Http(error));
                break;
            }
            Err(_) => {
                trouble = Some(HttpError::Timeout("the controller".to_owned()));
                break;
            }
        }
    }
    drop(pieces);
    let partial = joined(writer.await)?;
    match trouble {
        Some(source) if partial.have < wanted.bytes => Err(ImageError::Http(wanted.digest.clone(), source)),
        Some(_) | None => Ok(partial),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    joined(spawn_blocking(work).await)
}

fn joined<T>(result: Result<Result<T, ImageError>, tokio::task::JoinError>) -> Result<T, ImageError> {
    result.unwrap_or_else(|error| {
        Err(ImageError::File { step: "write", path: PathBuf::from("staging"), source: io::Error::other(error) })
    })
}

fn file_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::File { step, path, source }
}

/// A download under way: the file, what is in it, and the hash so far.
struct Partial {
    wanted: Wanted,
    path: PathBuf,
    file: File,
    hash: Sha256,
    have: u64,
}

impl Partial {
    /// Goes on with what an earlier attempt left.
    fn resume(path: PathBuf, wanted: Wanted) -> Result<Self, ImageError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(file_error("open", &path))?;
        let mut partial = Self { wanted, path, file, hash: Sha256::new(), have: 0 };
        let length = partial.file.metadata().map_err(file_error("look at", &partial.path))?.len();
        if length > partial.wanted.bytes {
            return partial.restart();
        }
        let mut buffer = vec![0; 64 << 10];
        loop {
            match partial.file.read(&mut buffer).map_err(file_error("read", &partial.path))? {
                0 => return Ok(partial),
                n => {
                    partial.hash.update(&buffer[..n]);
                    partial.have += n as u64;
                }
            }
        }
    }

    fn restart(mut self) -> Result<Self, ImageError> {
        self.file.set_len(0).map_err(file_error("empty", &self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(file_error("rewind", &self.path))?;
        Ok(Self { hash: Sha256::new(), have: 0, ..self })
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), ImageError> {
        let have = self.have + piece.len() as u64;
        if have > self.wanted.bytes {
            self.discard()?;
            return Err(ImageError::TooLong(self.wanted.digest.clone(), self.wanted.bytes));
        }
        self.file.write_all(piece).map_err(file_error("write", &self.path))?;
        self.hash.update(piece);
        self.have = have;
        Ok(())
    }

    fn discard(&self) -> Result<(), ImageError> {
        fs::remove_file(&self.path).map_err(file_error("remove", &self.path))
    }

    /// Checks it, makes it durable and gives it its name.
    fn publish(self, target: &Path, dir: &Path) -> Result<(), ImageError> {
        if self.have < self.wanted.bytes {
            return Err(ImageError::Truncated { digest: self.wanted.digest, have: self.have, want: self.wanted.bytes });
        }
        if ImageDigest::from_sha256(&self.hash.clone().finalize().into()) != self.wanted.digest {
            self.discard()?;
            return Err(ImageError::WrongDigest(self.wanted.digest));
        }
        self.file.sync_all().map_err(file_error("sync", &self.path))?;
        fs::rename(&self.path, target).map_err(file_error("rename to", target))?;
        let dir_file = File::open(dir).map_err(file_error("open", dir))?;
        dir_file.sync_all().map_err(file_error("sync", dir))
    }
}

#[cfg(test)]
mod tests;
