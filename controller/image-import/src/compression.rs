//! Decompression to the scratch file: bounded in memory, in bytes and in ratio, digests computed on both sides.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use sha2::{Digest, Sha256};

use crate::budget::Budget;
use crate::error::ImportError;
use crate::region::{Region, RegionReader};

/// Bytes read and written at a time.
const CHUNK: usize = 256 << 10;

/// How a stretch is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
}

impl Compression {
    /// By the first bytes.
    ///
    /// # Errors
    /// When they are those of a compression that is not supported.
    pub fn of(region: &Region) -> Result<Self, ImportError> {
        let mut magic = [0; 6];
        let known = usize::try_from(region.len()).unwrap_or(magic.len()).min(magic.len());
        region.read_at(&mut magic[..known], 0).map_err(ImportError::io("read the archive"))?;
        let unsupported = |name| {
            Err(ImportError::archive(format!("it is compressed with {name}: use gzip, xz, zstd or no compression")))
        };
        match magic {
            [0x1F, 0x8B, ..] => Ok(Self::Gzip),
            [0xFD, b'7', b'z', b'X', b'Z', 0] => Ok(Self::Xz),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', ..] => unsupported("bzip2"),
            [0x04, 0x22, 0x4D, 0x18, ..] => unsupported("lz4"),
            [b'P', b'K', 3, 4, ..] => unsupported("zip"),
            _ => Ok(Self::None),
        }
    }
}

/// SHA-256 of a stretch as it is stored and of what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digests {
    /// Of the compressed bytes.
    pub stored: [u8; 32],
    /// Of the plain bytes.
    pub plain: [u8; 32],
}

/// The file that decompressed bytes are appended to.
#[derive(Debug)]
pub struct Scratch {
    file: Rc<File>,
    end: u64,
}

impl Scratch {
    /// An empty scratch file.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self { file: Rc::new(file), end: 0 }
    }

    /// The plain bytes of a stretch: itself where it is not compressed, else a new stretch of the scratch file.
    ///
    /// # Errors
    /// When it cannot be decompressed within the limits.
    pub fn plain(&mut self, region: &Region, budget: &mut Budget) -> Result<(Region, Digests), ImportError> {
        let compression = Compression::of(region)?;
        let source = Rc::new(RefCell::new(Source { reader: region.clone().reader(), hash: Sha256::new(), read: 0 }));
        let input = BufReader::with_capacity(CHUNK, Shared(Rc::clone(&source)));
        let start = self.end;
        let plain = match compression {
            Compression::None => self.copy(input, &source, budget, false)?,
            Compression::Gzip => self.copy(MultiGzDecoder::new(input), &source, budget, true)?,
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(budget.limits().xz_memory, CONCATENATED);
                let stream = stream.map_err(|e| ImportError::archive(format!("xz: {e}")))?;
                self.copy(XzDecoder::new_stream(input, stream), &source, budget, true)?
            }
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(unreadable)?;
                decoder.window_log_max(budget.limits().zstd_window_log).map_err(unreadable)?;
                self.copy(decoder, &source, budget, true)?
            }
        };
        let source = source.borrow();
        if source.read != region.len() {
            return Err(ImportError::archive("there is data after the end of the compressed stream"));
        }
        let digests = Digests { stored: source.hash.clone().finalize().into(), plain };
        let whole = match compression {
            Compression::None => region.clone(),
            Compression::Gzip | Compression::Xz | Compression::Zstd => {
                Region::new(Rc::clone(&self.file), start, self.end - start)
            }
        };
        Ok((whole, digests))
    }

    /// Reads to the end, keeping the bytes where they are not in the archive as they are.
    fn copy(
        &mut self,
        mut from: impl Read,
        source: &Rc<RefCell<Source>>,
        budget: &mut Budget,
        keep: bool,
    ) -> Result<[u8; 32], ImportError> {
        let (mut hash, mut given, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
        loop {
            let count = from.read(&mut chunk).map_err(unreadable)?;
            if count == 0 {
                return Ok(hash.finalize().into());
            }
            given += count as u64;
            budget.unpack(count as u64, source.borrow().read, given)?;
            hash.update(&chunk[..count]);
            if keep {
                (&*self.file).write_all(&chunk[..count]).map_err(ImportError::io("write the scratch file"))?;
                self.end += count as u64;
            }
        }
    }
}

/// A decoder's complaint is about the archive, unless the disk itself fails.
fn unreadable(error: io::Error) -> ImportError {
    match error.raw_os_error() {
        Some(_) => ImportError::Io { step: "read the archive", source: error },
        None => ImportError::archive(format!("it cannot be decompressed: {error}")),
    }
}

/// The compressed bytes on their way into a decoder.
#[derive(Debug)]
struct Source {
    reader: RegionReader,
    hash: Sha256,
    read: u64,
}

/// A handle on the source that a decoder can own.
struct Shared(Rc<RefCell<Source>>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let source = &mut *self.0.borrow_mut();
        let count = source.reader.read(buffer)?;
        source.hash.update(&buffer[..count]);
        source.read += count as u64;
        Ok(count)
    }
}
