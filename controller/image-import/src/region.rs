//! A stretch of a file, read by position.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// `len` bytes of a file from `start`. Clones share the file.
#[derive(Clone, Debug)]
pub struct Region {
    file: Rc<File>,
    start: u64,
    len: u64,
}

impl Region {
    /// A stretch of a file. What lies beyond the file's end fails when it is read.
    #[must_use]
    pub const fn new(file: Rc<File>, start: u64, len: u64) -> Self {
        Self { file, start, len }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A part of it; none when it is not wholly inside.
    #[must_use]
    pub fn part(&self, at: u64, len: u64) -> Option<Self> {
        let end = at.checked_add(len)?;
        (end <= self.len).then(|| Self { file: Rc::clone(&self.file), start: self.start + at, len })
    }

    /// Fills `buffer` from the position `at`.
    ///
    /// # Errors
    /// When that is not wholly inside, or the file cannot be read.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let end = at.checked_add(buffer.len() as u64).filter(|end| *end <= self.len);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.file.read_exact_at(buffer, self.start + at)
    }

    /// All of it; at most `limit` bytes.
    ///
    /// # Errors
    /// When it is longer or cannot be read.
    pub fn read_all(&self, limit: u64) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.len).ok().filter(|_| self.len <= limit).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; len];
        self.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// A reader from its first byte to its last.
    #[must_use]
    pub const fn reader(self) -> RegionReader {
        RegionReader { region: self, at: 0 }
    }
}

/// Reads a region from front to back.
#[derive(Debug)]
pub struct RegionReader {
    region: Region,
    at: u64,
}

impl io::Read for RegionReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.region.len - self.at;
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.region.read_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
