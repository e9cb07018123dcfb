//! Image files: one read-only file per image in `STATE/images`, named by the 64 digits of its SHA-256.
//!
//! ```text
//!  upload ─▶ staging/NAME (size capped, digest computed while writing) ─▶ magic checked ─▶ fsync ─▶ rename to DIGEST
//! ```
//!
//! An archive, uploaded or fetched, is first converted to such a file: see `import`.
//!
//! Owns the files; which images exist and what they are called is the model's. A file that the model does not know is a
//! leftover and is removed at start.

pub mod fetch;
pub mod import;
mod job;
mod serve;
mod unpack;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use roost_types::ImageDigest;
use tokio::sync::{Mutex, MutexGuard};

pub use serve::serve_file;
pub use upload::too_large;

/// The directory of all image files.
pub struct ImageStore {
    dir: PathBuf,
    /// Held while a file and what the model says of it change together.
    changing: Mutex<()>,
    /// Bytes of each image sent to nodes since this controller started.
    sent: SyncMutex<BTreeMap<ImageDigest, Arc<AtomicU64>>>,
}

impl ImageStore {
    /// Opens the directory and removes what is not one of the known images.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(state: &Path, known: &BTreeSet<ImageDigest>) -> std::io::Result<Self> {
        let dir = state.join("images");
        let staging = dir.join("staging");
        if staging.exists() {
            std::fs::remove_dir_all(&staging)?;
        }
        std::fs::create_dir_all(&staging)?;
        let names: BTreeSet<&str> = known.iter().map(ImageDigest::hex).collect();
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() && !names.contains(entry.file_name().to_string_lossy().as_ref()) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { dir, changing: Mutex::new(()), sent: SyncMutex::default() })
    }

    /// Where an image's file is.
    #[must_use]
    pub fn path(&self, digest: &ImageDigest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// Where files are written that are not images yet. Emptied at start.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.dir.join("staging")
    }

    /// The counter of the bytes of an image that are sent to nodes.
    #[must_use]
    pub fn sent_to_nodes(&self, digest: &ImageDigest) -> Arc<AtomicU64> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sent.entry(digest.clone()).or_default())
    }

    /// Bytes of all images sent to nodes since this controller started.
    #[must_use]
    pub fn all_sent_to_nodes(&self) -> u64 {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.values().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Keeps others from storing or removing image files until dropped.
    pub async fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Removes an image's file; one that is not there is as good.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub async fn remove(&self, digest: &ImageDigest) -> std::io::Result<()> {
        match tokio::fs::remove_file(self.path(digest)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
