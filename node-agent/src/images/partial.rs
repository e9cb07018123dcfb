//! A download under way: a file in the staging directory that grows and is given its name when it is whole and right.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use roost_types::ImageDigest;
use sha2::{Digest, Sha256};

use super::{ImageError, Wanted, file_error};

/// A download under way: the file, what is in it, and the hash so far.
pub(super) struct Partial {
    wanted: Wanted,
    path: PathBuf,
    file: File,
    hash: Sha256,
    /// Bytes here.
    pub(super) have: u64,
}

impl Partial {
    /// Goes on with what an earlier attempt left.
    pub(super) fn resume(path: PathBuf, wanted: Wanted) -> Result<Self, ImageError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(file_error("open", &path))?;
        let mut partial = Self { wanted, path, file, hash: Sha256::new(), have: 0 };
        let length = partial.file.metadata().map_err(file_error("look at", &partial.path))?.len();
        if length > partial.wanted.bytes {
            return partial.restart();
        }
        let mut buffer = vec![0; 64 << 10];
        loop {
            match partial.file.read(&mut buffer).map_err(file_error("read", &partial.path))? {
                0 => return Ok(partial),
                n => {
                    partial.hash.update(&buffer[..n]);
                    partial.have += n as u64;
                }
            }
        }
    }

    /// Forgets what is here.
    pub(super) fn restart(mut self) -> Result<Self, ImageError> {
        self.file.set_len(0).map_err(file_error("empty", &self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(file_error("rewind", &self.path))?;
        Ok(Self { hash: Sha256::new(), have: 0, ..self })
    }

    /// Adds bytes. More than the image has are not written.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), ImageError> {
        let have = self.have + piece.len() as u64;
        if have > self.wanted.bytes {
            return Err(ImageError::TooLong(self.wanted.digest.clone(), self.wanted.bytes));
        }
        self.file.write_all(piece).map_err(file_error("write", &self.path))?;
        self.hash.update(piece);
        self.have = have;
        Ok(())
    }

    fn discard(&self) -> Result<(), ImageError> {
        fs::remove_file(&self.path).map_err(file_error("remove", &self.path))
    }

    /// Checks it, makes it durable and gives it its name.
    pub(super) fn publish(self, target: &Path, dir: &Path) -> Result<(), ImageError> {
        if self.have < self.wanted.bytes {
            return Err(ImageError::Truncated { digest: self.wanted.digest, have: self.have, want: self.wanted.bytes });
        }
        if ImageDigest::from_sha256(&self.hash.clone().finalize().into()) != self.wanted.digest {
            self.discard()?;
            return Err(ImageError::WrongDigest(self.wanted.digest));
        }
        self.file.sync_all().map_err(file_error("sync", &self.path))?;
        fs::rename(&self.path, target).map_err(file_error("rename to", target))?;
        let dir_file = File::open(dir).map_err(file_error("open", dir))?;
        dir_file.sync_all().map_err(file_error("sync", dir))
    }
}
