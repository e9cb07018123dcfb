//! A directory, read by descriptor, as an archive.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use tar::{Builder, EntryType, Header};

use super::{LayerError, MAX_DEPTH, MAX_ENTRIES, OPAQUE, PAX_XATTR, at};

/// Writes the layer in `dir` to `out`.
pub fn export<W: Write>(dir: &Path, out: W) -> Result<W, LayerError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(dir, flags, Mode::empty()).map_err(at("open", dir.as_os_str().as_bytes()))?;
    let mut export = Export { builder: Builder::new(out), links: HashMap::new(), entries: 0 };
    let stat = rustix::fs::fstat(&root).map_err(at("look at", b"."))?;
    export.directory(root, &stat, b".", 0)?;
    export.builder.into_inner().map_err(LayerError::Archive)
}

struct Export<W: Write> {
    builder: Builder<W>,
    /// First path of every file with several links; looked up, never listed.
    links: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
}

impl<W: Write> Export<W> {
    fn directory(&mut self, dir: OwnedFd, stat: &Stat, path: &[u8], depth: usize) -> Result<(), LayerError> {
        if depth > MAX_DEPTH {
            return Err(LayerError::TooBig(format!("{MAX_DEPTH} directories in each other")));
        }
        self.opaque_marks(dir.as_fd())?;
        self.append(stat, EntryType::Directory, path, io::empty())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir).map_err(at("list", path))? {
            let entry = entry.map_err(at("list", path))?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.to_vec());
            }
        }
        names.sort();
        for name in names {
            let below = [path, b"/", &name].concat();
            self.entry(dir.as_fd(), &name, &below, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: &[u8], depth: usize) -> Result<(), LayerError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(LayerError::TooBig(format!("{MAX_ENTRIES} entries")));
        }
        let name = OsStr::from_bytes(name);
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at("look at", path))?;
        let open = |flags| {
            let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(at("open", path))
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(open(OFlags::DIRECTORY)?, &stat, path, depth + 1),
            FileType::RegularFile => match self.earlier_link(&stat, path) {
                Some(target) => self.link(&stat, EntryType::Link, path, &target),
                None => {
                    let file = File::from(open(OFlags::empty())?);
                    let size = u64::try_from(stat.st_size).unwrap_or(0);
                    self.append(&stat, EntryType::Regular, path, Exactly { inner: file.take(size), missing: size })
                }
            },
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(at("read", path))?;
                self.link(&stat, EntryType::Symlink, path, target.to_bytes())
            }
            FileType::CharacterDevice if stat.st_rdev == 0 => self.append(&stat, EntryType::Char, path, io::empty()),
            FileType::Fifo => self.append(&stat, EntryType::Fifo, path, io::empty()),
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Socket | FileType::Unknown => Ok(()),
        }
    }

    fn earlier_link(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let known = self.links.get(&(stat.st_dev, stat.st_ino)).cloned();
        if known.is_none() {
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        known
    }

    fn opaque_marks(&mut self, dir: BorrowedFd<'_>) -> Result<(), LayerError> {
        for name in OPAQUE {
            let mut value = [0_u8; 8];
            if let Ok(length) = rustix::fs::fgetxattr(dir, name, &mut value) {
                let pax = format!("{PAX_XATTR}{name}");
                let extension = (pax.as_str(), &value[..length]);
                self.builder.append_pax_extensions([extension]).map_err(LayerError::Archive)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, stat: &Stat, kind: EntryType, path: &[u8], data: impl Read) -> Result<(), LayerError> {
        let mut header = header(stat, kind)?;
        self.builder.append_data(&mut header, OsStr::from_bytes(path), data).map_err(LayerError::Archive)
    }

    fn link(&mut self, stat: &Stat, kind: EntryType, path: &[u8], target: &[u8]) -> Result<(), LayerError> {
        let mut header = header(stat, kind)?;
        let (path, target) = (OsStr::from_bytes(path), OsStr::from_bytes(target));
        self.builder.append_link(&mut header, path, target).map_err(LayerError::Archive)
    }
}

fn header(stat: &Stat, kind: EntryType) -> Result<Header, LayerError> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(u64::from(stat.st_uid));
    header.set_gid(u64::from(stat.st_gid));
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    let size = if kind == EntryType::Regular { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
    header.set_size(size);
    if kind == EntryType::Char {
        header.set_device_major(0).and_then(|()| header.set_device_minor(0)).map_err(LayerError::Archive)?;
    }
    Ok(header)
}

/// A file that must yield as many bytes as its header says; one that shrank meanwhile is an error, not a broken archive.
struct Exactly {
    inner: io::Take<File>,
    missing: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.missing -= n as u64;
        if n == 0 && self.missing > 0 && !buffer.is_empty() {
            return Err(io::Error::other("a file became shorter while it was read"));
        }
        Ok(n)
    }
}
