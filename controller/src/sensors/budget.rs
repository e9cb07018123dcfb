//! How much a line may say: what is over is dropped, and the port stays open.

use std::time::{Duration, Instant};

/// Bytes per second. Eight probes say 8 × 30; the fastest line (115,200 baud) could say 11,520.
pub const BYTES_PER_SECOND: usize = 4096;
/// Frames per second. Eight probes and a hello say 9.
pub const FRAMES_PER_SECOND: u32 = 50;

/// What is left of the present second.
pub struct Budget {
    since: Instant,
    bytes: usize,
    frames: u32,
}

impl Budget {
    /// A full budget.
    pub fn new(now: Instant) -> Self {
        Self { since: now, bytes: BYTES_PER_SECOND, frames: FRAMES_PER_SECOND }
    }

    /// How many of `wanted` bytes may be looked at.
    pub fn take_bytes(&mut self, wanted: usize, now: Instant) -> usize {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let allowed = wanted.min(self.bytes);
        self.bytes -= allowed;
        allowed
    }

    /// Whether one more frame may be used.
    pub fn take_frame(&mut self) -> bool {
        let allowed = self.frames > 0;
        self.frames = self.frames.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_the_next_second_begins_anew() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert_eq!(budget.take_bytes(3000, start), 3000);
        assert_eq!(budget.take_bytes(3000, start), BYTES_PER_SECOND - 3000);
        assert_eq!(budget.take_bytes(1, start), 0);
        assert_eq!((0..100).filter(|_| budget.take_frame()).count(), FRAMES_PER_SECOND as usize);
        assert_eq!(budget.take_bytes(10, start + Duration::from_secs(1)), 10);
        assert!(budget.take_frame());
    }
}
