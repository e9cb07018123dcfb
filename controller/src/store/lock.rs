//! One controller per state directory.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::StoreError;

/// File name of the lock in the state directory.
const LOCK_FILE: &str = "controller.lock";

/// Held until dropped; the kernel lets go when the process dies, however it dies.
pub(super) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock, or says that another controller has it.
    pub(super) fn take(state: &Path) -> Result<Self, StoreError> {
        let path = state.join(LOCK_FILE);
        let failed = |source| StoreError::Lock { path: path.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: state.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}
