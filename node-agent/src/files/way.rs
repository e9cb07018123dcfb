//! The way from the root to a file.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, fchown, mkdirat, openat2};
use rustix::io::Errno;

use super::FileError;
use crate::trees::MAX_DEPTH;

/// How often a look-up that a rename disturbed is tried again.
const LOOKUPS: u32 = 100;

/// Opens what `path` leads to inside the root, links followed.
pub fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let below = path.trim_start_matches('/');
    let below = if below.is_empty() { "." } else { below };
    for _ in 1..LOOKUPS {
        match openat2(root, below, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens a directory as a place to look up names in.
pub fn open_directory(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, FileError> {
    open(root, path, OFlags::PATH | OFlags::DIRECTORY)
        .map_err(|error| FileError::step("open the directory", path, error))
}

/// A directory and a name in it.
pub struct Place<'p> {
    /// The directory.
    pub parent: OwnedFd,
    /// The name; no slash, not `.` or `..`.
    pub name: &'p OsStr,
}

/// The place that `path` names. The last part is not followed.
pub fn place<'p>(root: BorrowedFd<'_>, path: &'p str, parents: bool) -> Result<Place<'p>, FileError> {
    let trimmed = path.trim_end_matches('/');
    let (above, name) = trimmed.rsplit_once('/').unwrap_or(("", ""));
    if matches!(name, "" | "." | "..") {
        return Err(FileError::Path(format!("'{path}' does not end in a name")));
    }
    let above = if above.is_empty() { "/" } else { above };
    let parent = if parents { ensure_directory(root, above)? } else { open_directory(root, above)? };
    Ok(Place { parent, name: OsStr::from_bytes(name.as_bytes()) })
}

/// Opens a directory and makes those of its way that lack, for the root's owner.
pub fn ensure_directory(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, FileError> {
    match open(root, path, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => {}
        other => return other.map_err(|error| FileError::step("open the directory", path, error)),
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.len() > MAX_DEPTH {
        return Err(FileError::Path(format!("'{path}' is more than {MAX_DEPTH} directories deep")));
    }
    let mut above = open_directory(root, "/")?;
    for depth in 1..=parts.len() {
        let here = parts[..depth].join("/");
        above = match open(root, &here, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => make(above.as_fd(), parts[depth - 1]),
            other => other,
        }
        .map_err(|error| FileError::step("make the directory", &here, error))?;
    }
    Ok(above)
}

fn make(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    rustix::fs::openat(parent, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

/// Sets the owner of what is open.
pub fn own(file: BorrowedFd<'_>, uid: u32, gid: u32, path: &str) -> Result<(), FileError> {
    fchown(file, Some(rustix::fs::Uid::from_raw(uid)), Some(rustix::fs::Gid::from_raw(gid)))
        .map_err(|error| FileError::step("set the owner of", path, error))
}

/// What is at a place, its last part not followed.
pub fn look(place: &Place<'_>, path: &str) -> Result<Option<rustix::fs::Stat>, FileError> {
    match rustix::fs::statat(&place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(FileError::step("look at", path, error)),
    }
}
