//! What an import has used so far.

use crate::error::ImportError;
use crate::limits::Limits;

/// What an import has used so far, checked against its limits at every step.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    entries: u64,
    metadata: u64,
    unpacked: u64,
}

impl Budget {
    /// Nothing used yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, entries: 0, metadata: 0, unpacked: 0 }
    }

    /// The limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Entries so far.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes unpacked so far.
    #[must_use]
    pub const fn unpacked(&self) -> u64 {
        self.unpacked
    }

    /// One more entry, whose name and attributes have this many bytes.
    ///
    /// # Errors
    /// When that is one too many.
    pub fn entry(&mut self, metadata: usize) -> Result<(), ImportError> {
        self.entries += 1;
        self.metadata = self.metadata.saturating_add(metadata as u64);
        within("the number of entries", self.entries, self.limits.entries)?;
        within("the size of all names and attributes", self.metadata, self.limits.metadata_bytes)
    }

    /// More bytes came out of a decompressor that has read `compressed` bytes and given `given` in all.
    ///
    /// # Errors
    /// When they are too many, or too many for what went in.
    pub fn unpack(&mut self, more: u64, compressed: u64, given: u64) -> Result<(), ImportError> {
        self.unpacked = self.unpacked.saturating_add(more);
        within("the unpacked size in bytes", self.unpacked, self.limits.unpacked_bytes)?;
        if given <= self.limits.ratio_from {
            return Ok(());
        }
        within("the compression ratio", given.div_ceil(compressed.max(1)), self.limits.ratio)
    }
}

fn within(what: &'static str, value: u64, limit: u64) -> Result<(), ImportError> {
    if value > limit { Err(ImportError::Limit { what, limit }) } else { Ok(()) }
}
