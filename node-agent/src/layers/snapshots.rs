//! Snapshots of a layer, beside it: `snapshots/ID/{files/, bytes}` in the instance's directory.
//!
//! A snapshot is filled as `snapshots/.new-ID`, flushed, and then renamed: it is whole or not there, whenever the agent or
//! the board dies. What a dead agent left half done is removed by [`sweep`]. A restore copies the snapshot beside the
//! layer, marks the copy with its number, and exchanges the two in one step, so that it is known to have been done.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use roost_types::snapshot::RestoreWish;
use roost_types::{MemoryBytes, SnapshotId};
use rustix::fs::{CWD, RenameFlags, XattrFlags};

use super::copy::flush;
use super::{LayerError, at, copy};

/// On the layer's root: the number of the restore that made it. Nothing in a container can see or set it.
const RESTORED: &str = "trusted.roost.restored";
/// Beginning of the name of a snapshot that is being made or deleted.
const UNFINISHED: &str = ".";

fn all(layer: &Path) -> PathBuf {
    layer.with_file_name("snapshots")
}

/// The files of a snapshot of `layer`.
#[must_use]
pub fn files(layer: &Path, id: SnapshotId) -> PathBuf {
    all(layer).join(id.to_string()).join("files")
}

/// The snapshots that are whole, and their bytes of file contents.
///
/// # Errors
/// The directory cannot be listed.
pub fn list(layer: &Path) -> Result<Vec<(SnapshotId, MemoryBytes)>, LayerError> {
    let dir = all(layer);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at("list", dir.as_os_str().as_bytes())(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at("list", dir.as_os_str().as_bytes()))?;
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        found.extend(id.and_then(|id| Some((id, size(&entry.path())?))));
    }
    found.sort_unstable();
    Ok(found)
}

fn size(snapshot: &Path) -> Option<MemoryBytes> {
    fs::read_to_string(snapshot.join("bytes")).ok()?.trim().parse().ok().map(MemoryBytes)
}

/// A snapshot whose files are there, and which is not one yet. Dropped without [`Staged::commit`], nothing is left of it.
#[derive(Debug)]
pub struct Staged {
    staging: PathBuf,
    whole: PathBuf,
    bytes: u64,
}

/// Copies `layer` as it is. It must not change meanwhile.
///
/// # Errors
/// `NoFiles`, `NoRoom`, or the step that failed.
pub fn stage(layer: &Path, id: SnapshotId) -> Result<Staged, LayerError> {
    if !layer.is_dir() {
        return Err(LayerError::NoFiles);
    }
    stage_with(layer, id, |files| copy(layer, files))
}

/// Prepares a snapshot of `layer` whose files `write` puts into an empty directory; it says how many bytes of contents
/// they have.
///
/// # Errors
/// What `write` says, or the step that failed.
pub fn stage_with(
    layer: &Path,
    id: SnapshotId,
    write: impl FnOnce(&Path) -> Result<u64, LayerError>,
) -> Result<Staged, LayerError> {
    let (staging, whole) = (all(layer).join(format!("{UNFINISHED}new-{id}")), all(layer).join(id.to_string()));
    remove(&staging)?;
    let mut staged = Staged { staging, whole, bytes: 0 };
    let files = staged.staging.join("files");
    fs::create_dir_all(&files).map_err(at("create", files.as_os_str().as_bytes()))?;
    staged.bytes = write(&files)?;
    Ok(staged)
}

impl Staged {
    /// Makes it a snapshot that survives a power cut.
    ///
    /// # Errors
    /// The step that failed.
    pub fn commit(self) -> Result<MemoryBytes, LayerError> {
        let file = self.staging.join("bytes");
        fs::write(&file, self.bytes.to_string()).map_err(at("write", file.as_os_str().as_bytes()))?;
        flush(&self.staging)?;
        rename(&self.staging, &self.whole)?;
        flush(&self.whole)?;
        Ok(MemoryBytes(self.bytes))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit there is nothing there; what cannot be removed now is swept at the agent's next start.
        let _ = remove(&self.staging);
    }
}

/// Deletes a snapshot; one that is not there is deleted.
///
/// # Errors
/// The step that failed.
pub fn delete(layer: &Path, id: SnapshotId) -> Result<(), LayerError> {
    let (whole, leaving) = (all(layer).join(id.to_string()), all(layer).join(format!("{UNFINISHED}old-{id}")));
    if whole.exists() {
        remove(&leaving)?;
        // From here on it is not listed, however far its removal comes.
        rename(&whole, &leaving)?;
    }
    remove(&leaving)
}

/// Removes what an agent that died left half done.
///
/// # Errors
/// The step that failed.
pub fn sweep(layer: &Path) -> Result<(), LayerError> {
    let dir = all(layer);
    for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
        if entry.file_name().as_bytes().starts_with(UNFINISHED.as_bytes()) {
            remove(&entry.path())?;
        }
    }
    remove(&beside(layer))
}

fn beside(layer: &Path) -> PathBuf {
    layer.with_extension("restored")
}

/// Puts `layer`, which nothing uses, back to a snapshot. Doing the same number again changes nothing.
///
/// # Errors
/// `NoSnapshot`, `NoRoom`, or the step that failed; the layer is as it was then.
pub fn restore(layer: &Path, wish: &RestoreWish) -> Result<(), LayerError> {
    let number = wish.number.to_string();
    if mark(layer).is_some_and(|done| done == number.as_bytes()) {
        return Ok(());
    }
    let (files, new) = (files(layer, wish.snapshot), beside(layer));
    if !files.is_dir() {
        return Err(LayerError::NoSnapshot);
    }
    remove(&new)?;
    let made = fs::create_dir_all(&new).map_err(at("create", new.as_os_str().as_bytes()));
    let exchanged = made.and_then(|()| {
        copy(&files, &new)?;
        rustix::fs::setxattr(&new, RESTORED, number.as_bytes(), XattrFlags::empty())
            .map_err(at("mark", new.as_os_str().as_bytes()))?;
        flush(&new)?;
        exchange(&new, layer)
    });
    // What overlayfs keeps in its work directory belongs to the files that were.
    let tidied = remove(&new).and_then(|()| empty(&layer.with_file_name("work")));
    exchanged.and(tidied)
}

fn mark(layer: &Path) -> Option<Vec<u8>> {
    let mut value = [0_u8; 20];
    let length = rustix::fs::getxattr(layer, RESTORED, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

fn exchange(new: &Path, layer: &Path) -> Result<(), LayerError> {
    let flags = if layer.exists() { RenameFlags::EXCHANGE } else { RenameFlags::empty() };
    rustix::fs::renameat_with(CWD, new, CWD, layer, flags).map_err(at("put back", layer.as_os_str().as_bytes()))?;
    flush(layer)
}

fn empty(dir: &Path) -> Result<(), LayerError> {
    if !dir.exists() {
        return Ok(());
    }
    remove(dir)?;
    fs::create_dir(dir).map_err(at("create", dir.as_os_str().as_bytes()))
}

fn rename(from: &Path, to: &Path) -> Result<(), LayerError> {
    fs::rename(from, to).map_err(at("rename", from.as_os_str().as_bytes()))
}

fn remove(path: &Path) -> Result<(), LayerError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path.as_os_str().as_bytes())(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
