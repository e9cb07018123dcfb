//! The desired set on disk, so that a node keeps its containers going without the controller.
//!
//! Written only when the generation changes: an idle agent writes nothing.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use roost_types::sync::DesiredSet;
use serde::{Deserialize, Serialize};

/// A desired set and its generation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// Its generation.
    pub generation: u64,
    /// The set.
    pub desired: DesiredSet,
}

/// Why the desired set cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("{step} {}", path.display())]
pub struct StoreError {
    step: &'static str,
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// `STATE/desired.json`.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    /// Newest generation saved; held while saving, so that saves of sets that came in quick succession do not meet.
    newest: Arc<Mutex<u64>>,
}

impl Store {
    /// Keeps the set in `dir`, which is made if need be.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError { step: "create", path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        Ok(Self { dir: dir.to_owned(), newest: Arc::default() })
    }

    /// What was saved last. A file that cannot be understood is set aside: the controller will send the set again.
    pub fn load(&self) -> Result<Option<Stored>, StoreError> {
        let path = self.dir.join("desired.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError { step: "read", path, source }),
        };
        match serde_json::from_slice(&bytes) {
            Ok(stored) => Ok(Some(stored)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the stored desired set is not readable; set it aside");
                let aside = self.dir.join("desired.json.unreadable");
                fs::rename(&path, &aside).map_err(|source| StoreError { step: "rename", path, source })?;
                Ok(None)
            }
        }
    }

    /// Saves the set: after this, a power cut leaves either the old one or this one, or one that is newer still.
    pub fn save(&self, stored: &Stored) -> Result<(), StoreError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if stored.generation < *newest {
            return Ok(());
        }
        self.write(stored)?;
        *newest = stored.generation;
        Ok(())
    }

    fn write(&self, stored: &Stored) -> Result<(), StoreError> {
        let (new, path) = (self.dir.join("desired.json.new"), self.dir.join("desired.json"));
        let failed = |step, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError { step, path, source }
        };
        let bytes = serde_json::to_vec(stored).map_err(|e| failed("encode", &new)(e.into()))?;
        let mut file = File::create(&new).map_err(failed("create", &new))?;
        file.write_all(&bytes).map_err(failed("write", &new))?;
        file.sync_all().map_err(failed("sync", &new))?;
        fs::rename(&new, &path).map_err(failed("rename", &path))?;
        let dir = File::open(&self.dir).map_err(failed("open", &self.dir))?;
        dir.sync_all().map_err(failed("sync", &self.dir))
    }
}

#[cfg(test)]
mod tests {
    use super::{Store, Stored};
    use crate::testing::{Scratch, desired};

    #[test]
    fn gives_back_what_was_saved_and_survives_a_broken_file() {
        let scratch = Scratch::new("store");
        let store = Store::open(scratch.path()).unwrap();
        assert_eq!(store.load().unwrap(), None);
        let stored = Stored { generation: 7, desired: desired(vec![]) };
        store.save(&stored).unwrap();
        assert_eq!(store.load().unwrap(), Some(stored));
        std::fs::write(scratch.path().join("desired.json"), b"{\"generation\":").unwrap();
        assert_eq!(store.load().unwrap(), None);
        assert!(scratch.path().join("desired.json.unreadable").exists());
    }

    #[test]
    fn sets_that_are_saved_at_once_leave_the_newest() {
        let scratch = Scratch::new("store-race");
        let store = Store::open(scratch.path()).unwrap();
        std::thread::scope(|scope| {
            for generation in 1..=16 {
                let store = store.clone();
                scope.spawn(move || store.save(&Stored { generation, desired: desired(vec![]) }).unwrap());
            }
        });
        assert_eq!(store.load().unwrap().map(|stored| stored.generation), Some(16));
    }
}
