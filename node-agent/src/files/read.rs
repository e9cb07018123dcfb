//! Looking at files: content, lists, archives.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use roost_types::Timestamp;
use roost_types::file::{FileInfo, FileKind, MAX_LISTED};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat, fstat};

use super::{FileError, way};
use crate::trees::{Pack, Rules};

/// Reading must not wait for a pipe's writer, nor make a terminal the process's own.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Writes what `path` is, then its content: bytes of a file, a JSON list of a directory's entries.
pub fn read(root: BorrowedFd<'_>, path: &str, mut output: impl Write) -> Result<(), FileError> {
    let file = way::open(root, path, READ).map_err(|error| FileError::step("open", path, error))?;
    let stat = fstat(&file).map_err(|error| FileError::step("look at", path, error))?;
    let about = info(OsStr::new(last_part(path)), &stat, None);
    let kind = about.kind;
    match kind {
        FileKind::File => {
            tell(&mut output, &about)?;
            content(File::from(file), about.size_bytes, path, &mut output)
        }
        FileKind::Directory => {
            let entries = list(&file, path)?;
            tell(&mut output, &about)?;
            serde_json::to_writer(&mut output, &entries).map_err(|error| FileError::Output(error.into()))
        }
        FileKind::Symlink | FileKind::Special => {
            Err(FileError::Kind(format!("'{path}' is a device, pipe or socket: its content cannot be read")))
        }
    }?;
    output.flush().map_err(FileError::Output)
}

/// Files of the kernel's own say that they are empty and are not: those are read to their end.
fn content(file: File, size: u64, path: &str, output: &mut impl Write) -> Result<(), FileError> {
    let mut limited = file.take(if size == 0 { u64::MAX } else { size });
    let mut buffer = vec![0; 64 << 10];
    let mut sent = 0;
    loop {
        let n = limited.read(&mut buffer).map_err(|error| FileError::step("read", path, error))?;
        if n == 0 {
            break;
        }
        output.write_all(&buffer[..n]).map_err(FileError::Output)?;
        sent += n as u64;
    }
    if sent < size {
        let shrank = io::Error::other("it became shorter while it was read");
        return Err(FileError::step("read", path, shrank));
    }
    Ok(())
}

fn list(directory: &OwnedFd, path: &str) -> Result<Vec<FileInfo>, FileError> {
    let failed = |error| FileError::step("list", path, error);
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if entries.len() == MAX_LISTED {
            return Err(FileError::Kind(format!("'{path}' has more than {MAX_LISTED} entries: take it as an archive")));
        }
        // What was removed meanwhile is not in it any more.
        let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let target = (kind_of(&stat) == FileKind::Symlink)
            .then(|| rustix::fs::readlinkat(directory, name, Vec::new()).ok())
            .flatten()
            .map(|target| target.to_string_lossy().into_owned());
        entries.push(info(name, &stat, target));
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Writes what `path` is, then it and everything below it as an archive.
pub fn pack(root: BorrowedFd<'_>, path: &str, follow: bool, mut output: impl Write) -> Result<(), FileError> {
    let last = last_part(path);
    // The content of a directory has no name of its own: `/`, `/srv/.`, `/srv/..`.
    let contents = matches!(last, "" | "." | "..");
    if contents || follow || path.ends_with('/') {
        let file = way::open(root, path, READ).map_err(|error| FileError::step("open", path, error))?;
        let stat = fstat(&file).map_err(|error| FileError::step("look at", path, error))?;
        tell(&mut output, &info(OsStr::new(last), &stat, None))?;
        let name = if contents { "." } else { last };
        let mut archive = Pack::new(&mut output, Rules::INSIDE);
        match kind_of(&stat) {
            FileKind::Directory => archive.tree(file, name.as_bytes())?,
            FileKind::File | FileKind::Symlink | FileKind::Special => archive.file(file, name.as_bytes())?,
        }
        archive.finish()?;
    } else {
        let place = way::place(root, path, false)?;
        let missing = || FileError::step("look at", path, rustix::io::Errno::NOENT);
        let stat = way::look(&place, path)?.ok_or_else(missing)?;
        tell(&mut output, &info(place.name, &stat, None))?;
        let mut archive = Pack::new(&mut output, Rules::INSIDE);
        archive.entry(place.parent.as_fd(), place.name.as_bytes(), place.name.as_bytes())?;
        archive.finish()?;
    }
    output.flush().map_err(FileError::Output)
}

fn tell(output: &mut impl Write, info: &FileInfo) -> Result<(), FileError> {
    serde_json::to_writer(&mut *output, info).map_err(|error| FileError::Output(error.into()))?;
    output.write_all(b"\n").map_err(FileError::Output)
}

fn last_part(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

/// What a stat says.
pub fn kind_of(stat: &Stat) -> FileKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => {
            FileKind::Special
        }
    }
}

fn info(name: &OsStr, stat: &Stat, target: Option<String>) -> FileInfo {
    FileInfo {
        name: if name.is_empty() { "/".to_owned() } else { name.to_string_lossy().into_owned() },
        kind: kind_of(stat),
        mode: format!("{:04o}", stat.st_mode & 0o7777),
        uid: stat.st_uid,
        gid: stat.st_gid,
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        modified_at: Timestamp(stat.st_mtime.saturating_mul(1000)),
        target,
    }
}
