//! A directory as a second one, made by descriptor: a copy on the same file system, or the shell of an image.
//!
//! Everything that an overlay's upper directory may hold comes along: owners, modes, times, hard links, holes, every
//! extended attribute (opaque marks, file capabilities), whiteouts, FIFOs, sockets. Contents are shared by reflink where
//! the file system can, else copied. The source must not change meanwhile.
//!
//! A shell has everything but the contents: each file is as long as its original, empty on the disk, and marked so that
//! an overlay of the shell over the image takes the contents from there.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use roost_types::MemoryBytes;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::{LayerError, at};
use crate::owners::{self, AS_SEEN};
use crate::trees::{MAX_DEPTH, MAX_ENTRIES, is_opaque, mark_opaque};

/// The longest list of names of extended attributes, and the longest value, that Linux knows.
const MAX_XATTR: usize = 64 * 1024;
/// Bytes copied at once.
const PIECE: usize = 256 * 1024;
/// What a copy leaves free, for everything else on the node: 32 MiB.
const KEPT_FREE: u64 = 32 << 20;

/// How overlayfs marks a file that has everything but its contents.
const CONTENTS_BELOW: &str = "trusted.overlay.metacopy";
/// Attributes that only the board's root can set: none of an image's own means anything.
const TRUSTED: &[u8] = b"trusted.";

/// Copies what is in `from` into `to`, which must be there and empty, and makes `to` look like `from` itself, with the
/// owners that the container sees. Returns the bytes of file contents.
///
/// # Errors
/// `NoRoom` before anything is copied; the step that failed.
pub fn copy(from: &Path, to: &Path) -> Result<u64, LayerError> {
    let (from, to) = (open_root(from)?, open_root(to)?);
    let contents = if can_share(to.as_fd()) { Contents::Shared } else { Contents::Copied };
    let needed = if contents == Contents::Copied { size_of(from.as_fd(), 0, &mut 0)? } else { 0 };
    check_room(needed, to.as_fd())?;
    Ok(Copy::run(from, to, contents, AS_SEEN)?.bytes)
}

/// What there is in a shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shell {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of the contents that it does not have.
    pub below: u64,
}

/// Makes the shell of an image in `to`, which must be there and empty, with the owners of the range that begins at `base`.
///
/// # Errors
/// `NoRoom` before anything is made; the step that failed.
pub fn shell(image: OwnedFd, to: &Path, base: u32) -> Result<Shell, LayerError> {
    let to = open_root(to)?;
    check_room(0, to.as_fd())?;
    // A mount that is attached nowhere has no path, and its descriptor is only a place.
    let image = open(image.as_fd(), b".", OFlags::DIRECTORY, b".")?;
    let made = Copy::run(image, to, Contents::Below, base)?;
    Ok(Shell { entries: made.entries, below: made.bytes })
}

pub(super) fn open_root(path: &Path) -> Result<OwnedFd, LayerError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(at("open", path.as_os_str().as_bytes()))
}

/// Whether the file system can make files share their contents: tried with two files that have no name.
fn can_share(dir: BorrowedFd<'_>) -> bool {
    let unnamed = || {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        rustix::fs::openat(dir, ".", flags, Mode::from_raw_mode(0o600)).map(File::from)
    };
    let (Ok(one), Ok(other)) = (unnamed(), unnamed()) else { return false };
    one.write_all_at(b"x", 0).is_ok() && rustix::fs::ioctl_ficlone(&other, &one).is_ok()
}

fn check_room(bytes: u64, to: BorrowedFd<'_>) -> Result<(), LayerError> {
    let found = rustix::fs::fstatvfs(to).map_err(at("look at the disk of", b"."))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let needed = bytes.saturating_add(KEPT_FREE);
    if needed <= free {
        return Ok(());
    }
    Err(LayerError::NoRoom { needed: MemoryBytes(needed), free: MemoryBytes(free) })
}

/// Bytes that everything below a directory takes on the disk; a file with several links counts as often.
fn size_of(dir: BorrowedFd<'_>, depth: usize, entries: &mut u64) -> Result<u64, LayerError> {
    check_depth(depth)?;
    let mut bytes = 0;
    for name in names(dir, b".")? {
        count(entries)?;
        let stat = look(dir, &name, &name)?;
        bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            bytes += size_of(open(dir, &name, OFlags::DIRECTORY, &name)?.as_fd(), depth + 1, entries)?;
        }
    }
    Ok(bytes)
}

pub(super) fn check_depth(depth: usize) -> Result<(), LayerError> {
    if depth > MAX_DEPTH { Err(LayerError::TooBig(format!("{MAX_DEPTH} directories in each other"))) } else { Ok(()) }
}

pub(super) fn count(entries: &mut u64) -> Result<(), LayerError> {
    *entries += 1;
    if *entries > MAX_ENTRIES { Err(LayerError::TooBig(format!("{MAX_ENTRIES} entries"))) } else { Ok(()) }
}

pub(super) fn names(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<Vec<u8>>, LayerError> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(at("list", path))? {
        let entry = entry.map_err(at("list", path))?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

pub(super) fn look(dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<Stat, LayerError> {
    rustix::fs::statat(dir, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW).map_err(at("look at", path))
}

pub(super) fn open(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags, path: &[u8]) -> Result<OwnedFd, LayerError> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::openat(dir, OsStr::from_bytes(name), flags, Mode::empty()).map_err(at("open", path))
}

/// What becomes of the contents of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Contents {
    Shared,
    Copied,
    Below,
}

struct Copy {
    root: OwnedFd,
    /// First path of every file with several links; looked up, never listed.
    links: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
    bytes: u64,
    contents: Contents,
    /// The range of the new owners.
    base: u32,
}

impl Copy {
    fn run(from: OwnedFd, to: OwnedFd, contents: Contents, base: u32) -> Result<Self, LayerError> {
        let stat = rustix::fs::fstat(&from).map_err(at("look at", b"."))?;
        let root = to.try_clone().map_err(at("open", b"."))?;
        let mut copy = Self { root, links: HashMap::new(), entries: 0, bytes: 0, contents, base };
        copy.directory(from, to, &stat, b".", 0)?;
        Ok(copy)
    }

    fn directory(
        &mut self,
        from: OwnedFd,
        to: OwnedFd,
        stat: &Stat,
        path: &[u8],
        depth: usize,
    ) -> Result<(), LayerError> {
        check_depth(depth)?;
        for name in names(from.as_fd(), path)? {
            let below = [path, b"/", &name].concat();
            self.entry(from.as_fd(), to.as_fd(), &name, &below, depth)?;
        }
        self.finish(from.as_fd(), to.as_fd(), stat, path)?;
        if self.contents != Contents::Below && is_opaque(to.as_fd()) {
            mark_opaque(to.as_fd()).map_err(at("mark opaque", path))?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        depth: usize,
    ) -> Result<(), LayerError> {
        count(&mut self.entries)?;
        let stat = look(from, name, path)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && self.link_to_earlier(&stat, to, name, path)? {
            return Ok(());
        }
        match kind {
            FileType::Directory => {
                rustix::fs::mkdirat(to, OsStr::from_bytes(name), Mode::RWXU).map_err(at("create", path))?;
                let inner = (open(from, name, OFlags::DIRECTORY, path)?, open(to, name, OFlags::DIRECTORY, path)?);
                self.directory(inner.0, inner.1, &stat, path, depth + 1)
            }
            FileType::RegularFile => self.file(from, to, name, &stat, path),
            FileType::Symlink => {
                let name = OsStr::from_bytes(name);
                let target = rustix::fs::readlinkat(from, name, Vec::new()).map_err(at("read", path))?;
                rustix::fs::symlinkat(target, to, name).map_err(at("create", path))?;
                self.own_by_name(to, name, &stat, path)
            }
            FileType::Fifo | FileType::Socket => self.node(to, name, kind, &stat, path),
            FileType::CharacterDevice if stat.st_rdev == 0 && self.contents != Contents::Below => {
                self.node(to, name, kind, &stat, path)
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => Ok(()),
        }
    }

    /// Whether it is another name of something that was copied, and was made one again.
    fn link_to_earlier(
        &mut self,
        stat: &Stat,
        to: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<bool, LayerError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) else {
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
            return Ok(false);
        };
        let (old, new) = (OsStr::from_bytes(first), OsStr::from_bytes(name));
        rustix::fs::linkat(&self.root, old, to, new, AtFlags::empty()).map_err(at("link", path))?;
        Ok(true)
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
        path: &[u8],
    ) -> Result<(), LayerError> {
        let source = File::from(open(from, name, OFlags::empty(), path)?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(to, OsStr::from_bytes(name), flags, Mode::RUSR | Mode::WUSR);
        let target = File::from(target.map_err(at("create", path))?);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        match self.contents {
            Contents::Shared if rustix::fs::ioctl_ficlone(&target, &source).is_ok() => {}
            Contents::Shared | Contents::Copied => copy_data(&source, &target, size).map_err(at("copy", path))?,
            Contents::Below => {
                rustix::fs::ftruncate(&target, size).map_err(at("set the size of", path))?;
                rustix::fs::fsetxattr(&target, CONTENTS_BELOW, b"", XattrFlags::empty()).map_err(at("mark", path))?;
            }
        }
        self.bytes += size;
        self.finish(source.as_fd(), target.as_fd(), stat, path)
    }

    /// Gives what was made the owner, mode, attributes and times of its original. In this order: a new owner clears
    /// capabilities and the set-user-id bit.
    fn finish(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat, path: &[u8]) -> Result<(), LayerError> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::fchown(to, Some(uid), Some(gid)).map_err(at("set the owner of", path))?;
        rustix::fs::fchmod(to, mode(stat)).map_err(at("set the mode of", path))?;
        self.copy_attributes(from, to, path)?;
        rustix::fs::futimens(to, &times(stat)).map_err(at("set the time of", path))
    }

    fn copy_attributes(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &[u8]) -> Result<(), LayerError> {
        for (name, value) in attributes(from, path)? {
            if self.contents == Contents::Below && name.starts_with(TRUSTED) {
                continue;
            }
            let value = owners::attribute(&name, &value, self.base);
            rustix::fs::fsetxattr(to, OsStr::from_bytes(&name), &value, XattrFlags::empty())
                .map_err(at("set an attribute of", path))?;
        }
        Ok(())
    }

    fn node(
        &self,
        to: BorrowedFd<'_>,
        name: &[u8],
        kind: FileType,
        stat: &Stat,
        path: &[u8],
    ) -> Result<(), LayerError> {
        let name = OsStr::from_bytes(name);
        rustix::fs::mknodat(to, name, kind, mode(stat), 0).map_err(at("create", path))?;
        self.own_by_name(to, name, stat, path)?;
        // No symbolic link: it was made here just now, and nobody else may enter this directory.
        rustix::fs::chmodat(to, name, mode(stat), AtFlags::empty()).map_err(at("set the mode of", path))
    }

    fn own_by_name(&self, to: BorrowedFd<'_>, name: &OsStr, stat: &Stat, path: &[u8]) -> Result<(), LayerError> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(at("set the owner of", path))?;
        rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW).map_err(at("set the time of", path))
    }

    fn owner(&self, stat: &Stat) -> (Uid, Gid) {
        let [uid, gid] = [stat.st_uid, stat.st_gid].map(|stored| owners::id(stored, self.base));
        (Uid::from_raw(uid), Gid::from_raw(gid))
    }
}

/// The name of an extended attribute, and its value.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

/// The extended attributes of a file.
pub(super) fn attributes(of: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<Attribute>, LayerError> {
    let list = match in_any_size(|buffer| rustix::fs::flistxattr(of, buffer)) {
        Ok(list) => list,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(at("list the attributes of", path)(error)),
    };
    let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| in_any_size(|buffer| rustix::fs::fgetxattr(of, OsStr::from_bytes(name), buffer));
    names.map(|name| Ok((name.to_vec(), value(name).map_err(at("read an attribute of", path))?))).collect()
}

/// Most have no attributes or short ones.
fn in_any_size(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut short = [0_u8; 256];
    match read(&mut short) {
        Ok(length) => Ok(short[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut long = vec![0_u8; MAX_XATTR];
            let length = read(&mut long)?;
            long.truncate(length);
            Ok(long)
        }
        Err(error) => Err(error),
    }
}

/// Copies what the file has and leaves its holes.
fn copy_data(source: &File, target: &File, size: u64) -> io::Result<()> {
    rustix::fs::ftruncate(target, size)?;
    let mut buffer = vec![0; PIECE];
    let mut end = 0;
    while end < size {
        let mut start = match rustix::fs::seek(source, SeekFrom::Data(end)) {
            Ok(start) => start,
            // A hole until the end.
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        end = rustix::fs::seek(source, SeekFrom::Hole(start))?.min(size);
        while start < end {
            let most = usize::try_from(end - start).unwrap_or(PIECE).min(PIECE);
            let got = source.read_at(&mut buffer[..most], start)?;
            if got == 0 {
                return Err(io::Error::other("a file became shorter while it was copied"));
            }
            target.write_all_at(&buffer[..got], start)?;
            start += got as u64;
        }
    }
    Ok(())
}

pub(super) fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn times(stat: &Stat) -> Timestamps {
    let at = |seconds: i64, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanoseconds).unwrap_or(0) };
    Timestamps {
        last_access: at(stat.st_atime, stat.st_atime_nsec),
        last_modification: at(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Makes what was written below `dir` survive a power cut.
///
/// # Errors
/// The step that failed.
pub fn flush(dir: &Path) -> Result<(), LayerError> {
    let path = dir.as_os_str().as_bytes();
    let dir = rustix::fs::openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(at("open", path))?;
    rustix::fs::syncfs(&dir).map_err(at("flush", path))
}
