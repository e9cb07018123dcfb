//! Images of this node: one read-only file each, named by digest, visible only when complete and verified.
//!
//! ```text
//!   the controller, or ─▶ STATE/staging/<hex>.part ─ sha256, size, fsync ─▶ STATE/images/<hex>.<format> ─▶ other nodes
//!   a node of the rack                                                                                    of the rack
//! ```
//!
//! A download that breaks off goes on where it was, from wherever the controller says, also after the agent was killed;
//! one whose bytes are wrong begins anew, elsewhere ([`fetch`], [`partial`]). What is here is given to the nodes that the
//! controller names, by digest only ([`server`]). Downloads that nobody goes on with go when room is short.
//!
//! At least a tenth of the disk is kept free: before a download, and once a minute, images that no allocation needs are
//! removed, the one that is longest unneeded first ([`room`]).

mod fetch;
mod pacer;
mod partial;
mod room;
pub mod server;
mod traffic;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::StatusCode;
use roost_types::ImageDigest;
use roost_types::image::RootfsFormat;
use roost_types::image_transfer::{ImageGrants, ImageTraffic};
use tokio::task::spawn_blocking;

use crate::controller::HttpError;
use traffic::Traffic;

/// Why an image is not here.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No answer.
    #[error("download image {digest} from {from}")]
    Http {
        /// Which.
        digest: ImageDigest,
        /// From whom.
        from: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// Not 200 or 206.
    #[error("download image {digest}: {from} answered with status {status}")]
    Status {
        /// Which.
        digest: ImageDigest,
        /// Who.
        from: String,
        /// How.
        status: StatusCode,
    },
    /// The controller's word on where to get it is not understood.
    #[error("download image {0}: read where to get it")]
    Source(ImageDigest, #[source] serde_json::Error),
    /// Others were always first.
    #[error("download image {0}: its turn has not come for {1} s")]
    NoTurn(ImageDigest, u64),
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
    /// It comes so slowly that it is better had elsewhere.
    #[error("download image {0}: {1} is too slow")]
    Slow(ImageDigest, String),
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
    /// This node's address on the rack's LAN; without one it fetches from the controller only.
    address: Option<Ipv4Addr>,
    traffic: Arc<Traffic>,
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
    /// The store below `state` of a node with this address on the rack's LAN.
    pub fn open(state: &Path, address: Option<Ipv4Addr>) -> Result<Self, ImageError> {
        let images = Self {
            dir: state.join("images"),
            staging: state.join("staging"),
            in_use: Arc::default(),
            address,
            traffic: Arc::default(),
        };
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

    /// Where the image is, whatever its format; none when it is not here.
    fn find(&self, digest: &ImageDigest) -> Option<PathBuf> {
        let formats = [RootfsFormat::Erofs, RootfsFormat::Squashfs].into_iter();
        formats.map(|format| self.path(digest, format)).find(|path| path.exists())
    }

    /// What this node does with images, for its polls.
    #[must_use]
    pub fn traffic(&self) -> ImageTraffic {
        self.traffic.told()
    }

    /// Takes the controller's word on who may fetch what from this node.
    pub fn grant(&self, grants: ImageGrants) {
        self.traffic.grant(grants);
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

#[cfg(test)]
mod tests;
