//! A tree, read by descriptor, as an archive.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::{MAX_DEPTH, MAX_ENTRIES, OPAQUE, Owner, PAX_XATTR, Rules, TreeError, at};
use crate::owners;

/// An archive that is being written.
pub struct Pack<W: Write> {
    builder: Builder<W>,
    rules: Rules,
    /// First path of every file with several links; looked up, never listed.
    links: HashMap<(u64, u64), Vec<u8>>,
    entries: u64,
}

impl<W: Write> Pack<W> {
    /// An empty archive.
    pub fn new(out: W, rules: Rules) -> Self {
        Self { builder: Builder::new(out), rules, links: HashMap::new(), entries: 0 }
    }

    /// Writes the end mark and gives the output back.
    ///
    /// # Errors
    /// That the output cannot be written.
    pub fn finish(self) -> Result<W, TreeError> {
        self.builder.into_inner().map_err(TreeError::Archive)
    }

    /// Adds a directory, open for reading, and everything below it under the name `path`.
    ///
    /// # Errors
    /// The file that cannot be read, or that the output cannot be written.
    pub fn tree(&mut self, dir: OwnedFd, path: &[u8]) -> Result<(), TreeError> {
        let stat = rustix::fs::fstat(&dir).map_err(at("look at", path))?;
        self.directory(dir, &stat, path, 0)
    }

    /// Adds the entry `name` of a directory, and everything below it, under the name `path`.
    ///
    /// # Errors
    /// As [`Self::tree`].
    pub fn entry(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), TreeError> {
        self.entry_at(dir, name, path, 0)
    }

    fn directory(&mut self, dir: OwnedFd, stat: &Stat, path: &[u8], depth: usize) -> Result<(), TreeError> {
        if depth > MAX_DEPTH {
            return Err(TreeError::TooBig(format!("{MAX_DEPTH} directories in each other")));
        }
        if self.rules.layer {
            self.opaque_marks(dir.as_fd())?;
        }
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
            match self.entry_at(dir.as_fd(), &name, &below, depth) {
                Err(TreeError::File { source, .. }) if self.rules.live && is_gone(&source) => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn entry_at(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: &[u8], depth: usize) -> Result<(), TreeError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(TreeError::TooBig(format!("{MAX_ENTRIES} entries")));
        }
        let name = OsStr::from_bytes(name);
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at("look at", path))?;
        let open = |flags| {
            let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            rustix::fs::openat(dir, name, flags | OFlags::NOCTTY, Mode::empty()).map_err(at("open", path))
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let below = open(OFlags::DIRECTORY)?;
                self.directory(below, &stat, path, depth + 1)
            }
            FileType::RegularFile => match self.earlier_link(&stat, path) {
                Some(target) => self.link(&stat, EntryType::Link, path, &target),
                None => self.file(open(OFlags::empty())?, path),
            },
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(at("read", path))?;
                self.link(&stat, EntryType::Symlink, path, target.to_bytes())
            }
            FileType::CharacterDevice if self.rules.layer && stat.st_rdev == 0 => {
                self.append(&stat, EntryType::Char, path, io::empty())
            }
            FileType::Fifo if self.rules.layer => self.append(&stat, EntryType::Fifo, path, io::empty()),
            FileType::Fifo
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Socket
            | FileType::Unknown => Ok(()),
        }
    }

    /// Adds an open file. What it is is asked of the descriptor: the name may mean another file by now.
    ///
    /// # Errors
    /// As [`Self::tree`].
    pub fn file(&mut self, file: OwnedFd, path: &[u8]) -> Result<(), TreeError> {
        let stat = rustix::fs::fstat(&file).map_err(at("look at", path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let fill = self.rules.live;
        let content = Exactly { inner: File::from(file).take(size), missing: size, fill };
        self.append(&stat, EntryType::Regular, path, content)
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

    /// All of them in one extension: an archive has at most one for each entry.
    fn opaque_marks(&mut self, dir: BorrowedFd<'_>) -> Result<(), TreeError> {
        let marks = OPAQUE.map(|name| {
            let mut value = vec![0; 8];
            let length = rustix::fs::fgetxattr(dir, name, &mut value).ok()?;
            value.truncate(length);
            Some((format!("{PAX_XATTR}{name}"), value))
        });
        let marks: Vec<_> = marks.iter().flatten().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        if marks.is_empty() {
            return Ok(());
        }
        self.builder.append_pax_extensions(marks).map_err(TreeError::Archive)
    }

    fn append(&mut self, stat: &Stat, kind: EntryType, path: &[u8], data: impl Read) -> Result<(), TreeError> {
        let mut header = self.header(stat, kind)?;
        self.builder.append_data(&mut header, OsStr::from_bytes(path), data).map_err(TreeError::Archive)
    }

    fn link(&mut self, stat: &Stat, kind: EntryType, path: &[u8], target: &[u8]) -> Result<(), TreeError> {
        let mut header = self.header(stat, kind)?;
        let (path, target) = (OsStr::from_bytes(path), OsStr::from_bytes(target));
        self.builder.append_link(&mut header, path, target).map_err(TreeError::Archive)
    }

    fn header(&self, stat: &Stat, kind: EntryType) -> Result<Header, TreeError> {
        let mut header = Header::new_gnu();
        let (uid, gid) = match self.rules.owner {
            Owner::Kept if self.rules.layer => {
                (owners::id(stat.st_uid, owners::AS_SEEN), owners::id(stat.st_gid, owners::AS_SEEN))
            }
            Owner::Kept | Owner::Mine => (stat.st_uid, stat.st_gid),
            Owner::Given { uid, gid } => (uid, gid),
        };
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(u64::from(uid));
        header.set_gid(u64::from(gid));
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        let size = if kind == EntryType::Regular { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
        header.set_size(size);
        if kind == EntryType::Char {
            header.set_device_major(0).and_then(|()| header.set_device_minor(0)).map_err(TreeError::Archive)?;
        }
        Ok(header)
    }
}

fn is_gone(error: &io::Error) -> bool {
    // A name that became another kind of thing between two looks is gone as well.
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO))
}

/// A file that must yield as many bytes as its header says.
struct Exactly {
    inner: io::Take<File>,
    missing: u64,
    /// One that shrank meanwhile is filled with zeros; else it is an error, not a broken archive.
    fill: bool,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.missing -= n as u64;
        if n > 0 || self.missing == 0 || buffer.is_empty() {
            return Ok(n);
        }
        if !self.fill {
            return Err(io::Error::other("a file became shorter while it was read"));
        }
        let zeros = buffer.len().min(usize::try_from(self.missing).unwrap_or(usize::MAX));
        buffer[..zeros].fill(0);
        self.missing -= zeros as u64;
        Ok(zeros)
    }
}
