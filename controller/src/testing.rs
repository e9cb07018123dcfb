//! Helpers of this crate's own tests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed with its value.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes a fresh one.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("roost-controller-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory takes a directory");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Leftovers in the temporary directory harm nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
