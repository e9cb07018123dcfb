//! Randomness: secrets from the kernel, and cheap seeds that differ for every command.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

/// Random bytes from the kernel.
///
/// # Errors
/// When the kernel gives none.
pub fn bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A sequence of different seeds (SplitMix64), started at random: ids are made from them, secrets never.
pub struct Seeds(AtomicU64);

impl Seeds {
    /// Starts a sequence.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(AtomicU64::new(u64::from_ne_bytes(bytes()?))))
    }

    /// The next seed.
    pub fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
