//! Making, replacing and removing files.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use roost_types::file::{FileAttributes, FileKind};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat, fchmod, fstatvfs, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::read::kind_of;
use super::way::{self, Place};
use super::{FileError, way::place};
use crate::trees::MAX_DEPTH;

/// Makes a file of `bytes` bytes of `input`, or replaces one: whoever opens the name sees the old or the new one, whole.
pub fn write(
    root: BorrowedFd<'_>,
    path: &str,
    attributes: FileAttributes,
    parents: bool,
    bytes: u64,
    input: impl Read,
) -> Result<(), FileError> {
    let place = place(root, path, parents)?;
    let before = way::look(&place, path)?;
    if before.as_ref().is_some_and(|stat| kind_of(stat) == FileKind::Directory) {
        return Err(FileError::Kind(format!("'{path}' is a directory: name a file in it")));
    }
    // The old file's mode and owner stay, unless it is no file.
    let before = before.filter(|stat| kind_of(stat) == FileKind::File);
    ensure_room(&place, path, bytes)?;
    let part = part_name();
    let done = fill(&place, &part, path, bytes, input)
        .and_then(|file| dress(file.as_fd(), path, attributes, before.as_ref(), 0o644))
        .and_then(|()| {
            renameat(&place.parent, &part, &place.parent, place.name)
                .map_err(|error| FileError::step("replace", path, error))
        });
    if done.is_err() {
        // The failure is told; a part that was never made cannot be removed.
        let _ = unlinkat(&place.parent, &part, AtFlags::empty());
    }
    done
}

/// A name beside the file. One process does one request, so its number tells parts apart.
fn part_name() -> OsString {
    format!(".roost-{}.part", std::process::id()).into()
}

fn ensure_room(place: &Place<'_>, path: &str, bytes: u64) -> Result<(), FileError> {
    let directory = openat(&place.parent, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let disk = directory.and_then(fstatvfs).map_err(|error| FileError::step("look at the disk of", path, error))?;
    let room = disk.f_bavail.saturating_mul(disk.f_frsize);
    // File systems of the kernel's own have no blocks at all, and refuse for reasons of their own.
    if disk.f_blocks > 0 && bytes > room {
        return Err(FileError::NoRoom { path: path.to_owned(), bytes, room });
    }
    Ok(())
}

fn fill(place: &Place<'_>, part: &OsStr, path: &str, bytes: u64, input: impl Read) -> Result<OwnedFd, FileError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&place.parent, part, flags, Mode::from_raw_mode(0o600)).map_err(|error| match error {
        // What a file system of the kernel's own says, or a directory that was removed meanwhile.
        Errno::NOENT => FileError::Kind(format!("the directory of '{path}' takes no new files")),
        error => FileError::step("make a file beside", path, error),
    })?;
    let mut file = File::from(file);
    let copied = io::copy(&mut input.take(bytes), &mut file).map_err(|error| FileError::step("write", path, error))?;
    if copied < bytes {
        return Err(FileError::CutOff { path: path.to_owned(), missing: bytes - copied });
    }
    // Before the old one goes: a power cut leaves one of them, whole.
    file.sync_data().map_err(|error| FileError::step("write", path, error))?;
    Ok(file.into())
}

/// Sets owner, then mode: a change of owner takes set-id bits away.
fn dress(
    file: BorrowedFd<'_>,
    path: &str,
    wanted: FileAttributes,
    before: Option<&Stat>,
    default_mode: u32,
) -> Result<(), FileError> {
    let uid = wanted.uid.or(before.map(|stat| stat.st_uid)).unwrap_or(0);
    let gid = wanted.gid.or(before.map(|stat| stat.st_gid)).unwrap_or(0);
    let mode = wanted.mode.or(before.map(|stat| stat.st_mode & 0o7777)).unwrap_or(default_mode);
    way::own(file, uid, gid, path)?;
    fchmod(file, Mode::from_raw_mode(mode)).map_err(|error| FileError::step("set the mode of", path, error))
}

/// Makes a directory.
pub fn make_directory(
    root: BorrowedFd<'_>,
    path: &str,
    attributes: FileAttributes,
    parents: bool,
) -> Result<(), FileError> {
    let place = place(root, path, parents)?;
    match mkdirat(&place.parent, place.name, Mode::from_raw_mode(0o700)) {
        Ok(()) => {}
        Err(Errno::EXIST) if parents => return way::open_directory(root, path).map(drop),
        Err(error) => return Err(FileError::step("make the directory", path, error)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(&place.parent, place.name, flags, Mode::empty())
        .map_err(|error| FileError::step("open the directory", path, error))?;
    dress(made.as_fd(), path, attributes, None, 0o755)
}

/// Removes a file, a link itself, an empty directory, or with `recursive` a directory and everything below it.
pub fn delete(root: BorrowedFd<'_>, path: &str, recursive: bool) -> Result<(), FileError> {
    let place = place(root, path, false)?;
    let missing = || FileError::step("remove", path, Errno::NOENT);
    let stat = way::look(&place, path)?.ok_or_else(missing)?;
    let is_directory = kind_of(&stat) == FileKind::Directory;
    let removed = match (is_directory, recursive) {
        (true, true) => remove_tree(place.parent.as_fd(), place.name, 0),
        (true, false) => unlinkat(&place.parent, place.name, AtFlags::REMOVEDIR),
        (false, _) => unlinkat(&place.parent, place.name, AtFlags::empty()),
    };
    match removed {
        Err(Errno::NOTEMPTY) if !recursive => {
            Err(FileError::Kind(format!("'{path}' is a directory with entries: remove it recursively")))
        }
        other => other.map_err(|error| FileError::step("remove", path, error)),
    }
}

/// Removes a directory from the inside. What becomes a link meanwhile is removed as one, never followed.
fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr, depth: usize) -> Result<(), Errno> {
    if depth > MAX_DEPTH {
        return Err(Errno::LOOP);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let below = OsStr::from_bytes(entry.file_name().to_bytes());
        if below == "." || below == ".." {
            continue;
        }
        let removed = match statat(&directory, below, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if kind_of(&stat) == FileKind::Directory => remove_tree(directory.as_fd(), below, depth + 1),
            Ok(_) => unlinkat(&directory, below, AtFlags::empty()),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}
