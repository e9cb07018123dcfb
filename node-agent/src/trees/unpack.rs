//! An archive as a tree, made by descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::{MAX_DEPTH, MAX_ENTRIES, OPAQUE, Owner, PAX_XATTR, Rules, TreeError, Way, at, mark_opaque};

/// How often a look-up that a rename disturbed is tried again.
const LOOKUPS: u32 = 100;

/// Unpacks `archive` below `root`, a directory; at most `max_bytes` of file contents. Returns how many bytes of them there
/// were.
///
/// # Errors
/// The entry that cannot be made, or what is wrong with the archive.
pub fn unpack<R: Read>(root: OwnedFd, archive: R, max_bytes: u64, rules: Rules) -> Result<u64, TreeError> {
    let mut unpack = Unpack { root, rules, entries: 0, bytes_left: max_bytes };
    let mut archive = Archive::new(Tail { inner: archive, zeros: 0 });
    for entry in archive.entries().map_err(TreeError::Archive)? {
        let mut entry = entry.map_err(TreeError::Archive)?;
        unpack.entry(&mut entry)?;
    }
    let mut tail = archive.into_inner();
    io::copy(&mut tail, &mut io::sink()).map_err(TreeError::Archive)?;
    if tail.zeros >= 1024 { Ok(max_bytes - unpack.bytes_left) } else { Err(TreeError::Incomplete) }
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

struct Unpack {
    root: OwnedFd,
    rules: Rules,
    entries: u64,
    bytes_left: u64,
}

impl Unpack {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), TreeError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(TreeError::TooBig(format!("{MAX_ENTRIES} entries")));
        }
        let path = entry.path_bytes().into_owned();
        let parts = self.parts(&path)?;
        let Some((name, parents)) = parts.split_last() else {
            let opaque = self.is_opaque(entry);
            return self.finish_directory(&[], entry, opaque, &path);
        };
        let parent = self.open_dir(parents, OFlags::PATH, &path)?;
        let (name, parent) = (OsStr::from_bytes(name), parent.as_fd());
        match entry.header().entry_type() {
            EntryType::Directory => {
                let opaque = self.is_opaque(entry);
                match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
                    Err(Errno::EXIST) if self.rules.merge => {}
                    made => made.map_err(at("create", &path))?,
                }
                self.finish_directory(&parts, entry, opaque, &path)
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(name, parent, entry, &path),
            EntryType::Symlink => {
                self.clear_way(parent, name, &path)?;
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                rustix::fs::symlinkat(OsStr::from_bytes(&target), parent, name).map_err(at("create", &path))?;
                self.own(parent, name, entry, &path)
            }
            EntryType::Link => {
                self.clear_way(parent, name, &path)?;
                self.hard_link(name, parent, entry, &path)
            }
            EntryType::Char if self.rules.layer && device_is_whiteout(entry) => {
                self.node(name, parent, entry, FileType::CharacterDevice, &path)
            }
            EntryType::Fifo if self.rules.layer => self.node(name, parent, entry, FileType::Fifo, &path),
            _ => Ok(()),
        }
    }

    /// Removes what a merged entry replaces. A directory is not replaced: its files would be lost.
    fn clear_way(&self, parent: BorrowedFd<'_>, name: &OsStr, path: &[u8]) -> Result<(), TreeError> {
        if !self.rules.merge {
            return Ok(());
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(at("replace", path)(error)),
        }
    }

    /// Opens the directory `parts` below the root.
    fn open_dir(&self, parts: &[Vec<u8>], flags: OFlags, path: &[u8]) -> Result<OwnedFd, TreeError> {
        let below = [&[b".".to_vec(), self.rules.base.clone()], parts].concat().join(&b'/');
        let resolve = match self.rules.way {
            Way::NoLinks => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            Way::LinksInside => ResolveFlags::IN_ROOT,
        };
        let open = || {
            rustix::fs::openat2(
                &self.root,
                OsStr::from_bytes(&below),
                flags | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
                resolve | ResolveFlags::NO_MAGICLINKS,
            )
        };
        // The kernel gives up a look-up through `..` that a rename disturbed.
        let mut opened = open();
        for _ in 1..LOOKUPS {
            if !matches!(opened, Err(Errno::AGAIN)) {
                break;
            }
            opened = open();
        }
        opened.map_err(at("open the directory of", path))
    }

    fn file<R: Read>(
        &mut self,
        name: &OsStr,
        parent: BorrowedFd<'_>,
        entry: &mut Entry<'_, R>,
        path: &[u8],
    ) -> Result<(), TreeError> {
        let size = entry.size();
        self.bytes_left =
            self.bytes_left.checked_sub(size).ok_or_else(|| TreeError::TooBig("the bytes it may have".to_owned()))?;
        if !self.rules.merge {
            return self.new_file(name, parent, entry, path);
        }
        // Whoever opens the name sees the old file or the new one, whole.
        let part = OsString::from_vec(format!(".roost-{}-{}.part", std::process::id(), self.entries).into_bytes());
        let done = self
            .new_file(&part, parent, entry, path)
            .and_then(|()| rustix::fs::renameat(parent, &part, parent, name).map_err(at("replace", path)));
        if done.is_err() {
            // The failure is told; a part that was never made cannot be removed.
            let _ = rustix::fs::unlinkat(parent, &part, AtFlags::empty());
        }
        done
    }

    fn new_file<R: Read>(
        &self,
        name: &OsStr,
        parent: BorrowedFd<'_>,
        entry: &mut Entry<'_, R>,
        path: &[u8],
    ) -> Result<(), TreeError> {
        let size = entry.size();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)).map_err(at("create", path))?;
        let mut file = File::from(file);
        let copied = io::copy(entry, &mut file).map_err(at("write", path))?;
        if copied != size {
            return Err(TreeError::Incomplete);
        }
        self.own(parent, name, entry, path)?;
        rustix::fs::fchmod(&file, self.mode(entry)).map_err(at("set the mode of", path))?;
        rustix::fs::futimens(&file, &times(entry)).map_err(at("set the time of", path))
    }

    fn hard_link<R: Read>(
        &self,
        name: &OsStr,
        parent: BorrowedFd<'_>,
        entry: &Entry<'_, R>,
        path: &[u8],
    ) -> Result<(), TreeError> {
        let target = entry.link_name_bytes().unwrap_or_default().into_owned();
        let parts = self.parts(&target)?;
        let (old, parents) = parts.split_last().ok_or_else(|| bad_name(&target))?;
        let from = self.open_dir(parents, OFlags::PATH, path)?;
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
    ) -> Result<(), TreeError> {
        rustix::fs::mknodat(parent, name, kind, self.mode(entry), 0).map_err(at("create", path))?;
        self.own(parent, name, entry, path)
    }

    fn finish_directory<R: Read>(
        &self,
        parts: &[Vec<u8>],
        entry: &Entry<'_, R>,
        opaque: bool,
        path: &[u8],
    ) -> Result<(), TreeError> {
        let dir = self.open_dir(parts, OFlags::RDONLY, path)?;
        let mut mode = self.mode(entry);
        match self.owner(entry) {
            Some((uid, gid)) => {
                rustix::fs::fchown(&dir, Some(uid), Some(gid)).map_err(at("set the owner of", path))?;
            }
            // Its owner, who is not root perhaps, must be able to fill it.
            None => mode |= Mode::RWXU,
        }
        rustix::fs::fchmod(&dir, mode).map_err(at("set the mode of", path))?;
        if opaque {
            mark_opaque(dir.as_fd()).map_err(at("mark opaque", path))?;
        }
        Ok(())
    }

    fn own<R: Read>(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        entry: &Entry<'_, R>,
        path: &[u8],
    ) -> Result<(), TreeError> {
        let Some((uid, gid)) = self.owner(entry) else { return Ok(()) };
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(at("set the owner of", path))
    }

    fn owner<R: Read>(&self, entry: &Entry<'_, R>) -> Option<(Uid, Gid)> {
        let id = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
        match self.rules.owner {
            Owner::Kept => Some((Uid::from_raw(id(entry.header().uid())), Gid::from_raw(id(entry.header().gid())))),
            Owner::Given { uid, gid } => Some((Uid::from_raw(uid), Gid::from_raw(gid))),
            Owner::Mine => None,
        }
    }

    fn mode<R: Read>(&self, entry: &Entry<'_, R>) -> Mode {
        let all = if self.rules.owner == Owner::Mine { 0o777 } else { 0o7777 };
        Mode::from_raw_mode(entry.header().mode().unwrap_or(0) & all)
    }

    /// The names of a path without `.`; an absolute one, one with `..` and one too deep are refused.
    fn parts(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, TreeError> {
        let parts = path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let mut parts: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
        let plain = path.first() != Some(&b'/') && !path.contains(&0) && parts.iter().all(|part| part != b"..");
        if !plain || parts.len() > MAX_DEPTH + 1 {
            return Err(bad_name(path));
        }
        if let (Some(first), Some(top)) = (parts.first_mut(), &self.rules.top) {
            first.clone_from(top);
        }
        Ok(parts)
    }

    fn is_opaque<R: Read>(&self, entry: &mut Entry<'_, R>) -> bool {
        if !self.rules.layer {
            return false;
        }
        let Ok(Some(extensions)) = entry.pax_extensions() else { return false };
        let mut marks = extensions.flatten().filter_map(|extension| extension.key().ok()?.strip_prefix(PAX_XATTR));
        marks.any(|mark| OPAQUE.contains(&mark))
    }
}

fn bad_name(path: &[u8]) -> TreeError {
    TreeError::BadName(String::from_utf8_lossy(path).into_owned())
}

fn device_is_whiteout<R: Read>(entry: &Entry<'_, R>) -> bool {
    let number = |n: io::Result<Option<u32>>| n.ok().flatten().unwrap_or(0);
    number(entry.header().device_major()) == 0 && number(entry.header().device_minor()) == 0
}

fn times<R: Read>(entry: &Entry<'_, R>) -> Timestamps {
    let seconds = entry.header().mtime().ok().and_then(|t| i64::try_from(t).ok()).unwrap_or(0);
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
    }
}
