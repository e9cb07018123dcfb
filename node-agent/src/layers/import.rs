//! An archive as a directory, made by descriptor.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use tar::{Archive, Entry, EntryType};

use super::{LayerError, MAX_DEPTH, MAX_ENTRIES, OPAQUE, PAX_XATTR, at};

/// Fills `dir`, which must be there and empty, from `archive`; at most `max_bytes` of file contents. Returns how many
/// bytes of them there were.
pub fn import<R: Read>(dir: &Path, archive: R, max_bytes: u64) -> Result<u64, LayerError> {
    let root = rustix::fs::openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(at("open", dir.as_os_str().as_bytes()))?;
    let mut import = Import { root, entries: 0, bytes_left: max_bytes };
    let mut archive = Archive::new(Tail { inner: archive, zeros: 0 });
    for entry in archive.entries().map_err(LayerError::Archive)? {
        let mut entry = entry.map_err(LayerError::Archive)?;
        import.entry(&mut entry)?;
    }
    let mut tail = archive.into_inner();
    io::copy(&mut tail, &mut io::sink()).map_err(LayerError::Archive)?;
    if tail.zeros >= 1024 { Ok(max_bytes - import.bytes_left) } else { Err(LayerError::Incomplete) }
}

/// Counts the zero bytes at the end: a complete archive ends with 1,024 of them.
struct Tail<R> {
    inner: R,
    zeros: u64,
}

impl<R: Read> Read for Tail<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let trailing = buffer[..n].iter().rev().take_while(|byte| **byte == 0).count();
        self.zeros = if trailing == n { self.zeros + n as u64 } else { trailing as u64 };
        Ok(n)
    }
}

struct Import {
    root: OwnedFd,
    entries: u64,
    bytes_left: u64,
}

impl Import {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), LayerError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(LayerError::TooBig(format!("{MAX_ENTRIES} entries")));
        }
        let path = entry.path_bytes().into_owned();
        let parts = parts(&path)?;
        let marks = opaque_marks(entry);
        let Some((name, parents)) = parts.split_last() else {
            return self.finish_directory(OsStr::new("."), self.root.as_fd(), entry, &marks, &path);
        };
        let parent = self.open_dir(parents, &path)?;
        let (name, parent) = (OsStr::from_bytes(name), parent.as_fd());
        match entry.header().entry_type() {
            EntryType::Directory => {
                rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)).map_err(at("create", &path))?;
                self.finish_directory(name, parent, entry, &marks, &path)
            }
            EntryType::Regular | EntryType::Continuous => self.file(name, parent, entry, &path),
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                rustix::fs::symlinkat(OsStr::from_bytes(&target), parent, name).map_err(at("create", &path))?;
                own(parent, name, entry, &path)
            }
            EntryType::Link => self.hard_link(name, parent, entry, &path),
            EntryType::Char if device_is_whiteout(entry) => {
                self.node(name, parent, entry, FileType::CharacterDevice, &path)
            }
            EntryType::Fifo => self.node(name, parent, entry, FileType::Fifo, &path),
            _ => Ok(()),
        }
    }

    /// Opens the directory `parts` below the root, through no symbolic link.
    fn open_dir(&self, parts: &[&[u8]], path: &[u8]) -> Result<OwnedFd, LayerError> {
        let below = if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') };
        rustix::fs::openat2(
            &self.root,
            OsStr::from_bytes(&below),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(at("open the directory of", path))
    }

    fn file<R: Read>(
        &mut self,
        name: &OsStr,
        parent: BorrowedFd<'_>,
        entry: &mut Entry<'_, R>,
        path: &[u8],
    ) -> Result<(), LayerError> {
        let size = entry.size();
        self.bytes_left =
            self.bytes_left.checked_sub(size).ok_or_else(|| LayerError::TooBig("the bytes it may have".to_owned()))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)).map_err(at("create", path))?;
        let mut file = File::from(file);
        let copied = io::copy(entry, &mut file).map_err(at("write", path))?;
        if copied != size {
            return Err(LayerError::Incomplete);
        }
        own(parent, name, entry, path)?;
        rustix::fs::fchmod(&file, mode(entry)).map_err(at("set the mode of", path))?;
        rustix::fs::futimens(&file, &times(entry)).map_err(at("set the time of", path))
    }

    fn hard_link<R: Read>(
        &self,
        name: &OsStr,
        parent: BorrowedFd<'_>,
        entry: &Entry<'_, R>,
        path: &[u8],
    ) -> Result<(), LayerError> {
        let target = entry.link_name_bytes().unwrap_or_default().into_owned();
        let parts = parts(&target)?;
        let (old, parents) = parts.split_last().ok_or_else(|| bad_name(&target))?;
        let from = self.open_dir(parents, path)?;
        // Without AT_SYMLINK_FOLLOW the link is made to the entry itself, wherever that points.
        rustix::fs::linkat(&from, OsStr::from_bytes(old), parent, name, AtFlags::empty()).map_err(at("link", path))
    }

    fn node<R: Read>(
        &self,
        name: &OsStr,
        parent: BorrowedFd<'_>,
        entry: &Entry<'_, R>,
        kind: FileType,
        path: &[u8],
    ) -> Result<(), LayerError> {
        rustix::fs::mknodat(parent, name, kind, mode(entry), 0).map_err(at("create", path))?;
        own(parent, name, entry, path)
    }

    fn finish_directory<R: Read>(
        &self,
        name: &OsStr,
        parent: BorrowedFd<'_>,
        entry: &Entry<'_, R>,
        marks: &[&'static str],
        path: &[u8],
    ) -> Result<(), LayerError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(at("open", path))?;
        rustix::fs::fchown(&dir, Some(uid(entry)), Some(gid(entry))).map_err(at("set the owner of", path))?;
        rustix::fs::fchmod(&dir, mode(entry)).map_err(at("set the mode of", path))?;
        for mark in marks {
            rustix::fs::fsetxattr(&dir, *mark, b"y", XattrFlags::empty()).map_err(at("mark opaque", path))?;
        }
        Ok(())
    }
}

fn bad_name(path: &[u8]) -> LayerError {
    LayerError::BadName(String::from_utf8_lossy(path).into_owned())
}

/// The names of a path without `.`; an absolute one, one with `..` and one too deep are refused.
fn parts(path: &[u8]) -> Result<Vec<&[u8]>, LayerError> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    let plain = path.first() != Some(&b'/') && !path.contains(&0) && parts.iter().all(|part| *part != b"..");
    if plain && parts.len() <= MAX_DEPTH + 1 { Ok(parts) } else { Err(bad_name(path)) }
}

fn opaque_marks<R: Read>(entry: &mut Entry<'_, R>) -> Vec<&'static str> {
    let Ok(Some(extensions)) = entry.pax_extensions() else { return Vec::new() };
    let keys: Vec<String> = extensions.flatten().filter_map(|e| e.key().ok().map(str::to_owned)).collect();
    OPAQUE.into_iter().filter(|name| keys.iter().any(|key| key.strip_prefix(PAX_XATTR) == Some(name))).collect()
}

fn device_is_whiteout<R: Read>(entry: &Entry<'_, R>) -> bool {
    let number = |n: io::Result<Option<u32>>| n.ok().flatten().unwrap_or(0);
    number(entry.header().device_major()) == 0 && number(entry.header().device_minor()) == 0
}

fn own<R: Read>(parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry<'_, R>, path: &[u8]) -> Result<(), LayerError> {
    rustix::fs::chownat(parent, name, Some(uid(entry)), Some(gid(entry)), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(at("set the owner of", path))
}

fn uid<R: Read>(entry: &Entry<'_, R>) -> Uid {
    Uid::from_raw(entry.header().uid().ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(0))
}

fn gid<R: Read>(entry: &Entry<'_, R>) -> Gid {
    Gid::from_raw(entry.header().gid().ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(0))
}

fn mode<R: Read>(entry: &Entry<'_, R>) -> Mode {
    Mode::from_raw_mode(entry.header().mode().unwrap_or(0) & 0o7777)
}

fn times<R: Read>(entry: &Entry<'_, R>) -> Timestamps {
    let seconds = entry.header().mtime().ok().and_then(|t| i64::try_from(t).ok()).unwrap_or(0);
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
    }
}
