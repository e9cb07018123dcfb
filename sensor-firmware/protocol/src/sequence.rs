//! The rule of trust, and how many frames are missing.
//!
//! Opening a port may replay bytes of before, and an Uno restarts when its port is opened. So nothing is trusted until
//! two good frames came with a rising number, and a number that jumps back begins anew.

/// Frames that may be missing in a row before the numbers are taken for those of another start of the hub: about a minute
/// of a hub with all probes.
pub const MAX_GAP: u16 = 512;

/// Whether a frame may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It follows another good frame.
    Trusted {
        /// Frames missing before it.
        lost: u16,
    },
    /// It is the first one, it jumped, or it was there before: do not use it.
    Untrusted,
}

/// Watches the numbers of a hub's frames.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sequence {
    last: Option<u16>,
    trusted: bool,
}

impl Sequence {
    /// Nothing was seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None, trusted: false }
    }

    /// Whether two frames with rising numbers were seen and nothing jumped since.
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Take the number of a good frame.
    pub fn observe(&mut self, seq: u16) -> Verdict {
        let step = self.last.map(|last| seq.wrapping_sub(last));
        match step {
            Some(0) => return Verdict::Untrusted,
            Some(step) if step <= MAX_GAP => {
                let lost = if self.trusted { step - 1 } else { 0 };
                *self = Self { last: Some(seq), trusted: true };
                return Verdict::Trusted { lost };
            }
            Some(_) | None => {}
        }
        *self = Self { last: Some(seq), trusted: false };
        Verdict::Untrusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_needs_two_rising_frames_and_ends_with_a_jump() {
        let lost = |lost| Verdict::Trusted { lost };
        for (seqs, verdicts) in [
            (&[1, 2, 3][..], &[Verdict::Untrusted, lost(0), lost(0)][..]),
            (&[1, 2, 5], &[Verdict::Untrusted, lost(0), lost(2)]),
            (&[65_535, 0, 1], &[Verdict::Untrusted, lost(0), lost(0)]),
            (&[1, 2, 2, 3], &[Verdict::Untrusted, lost(0), Verdict::Untrusted, lost(0)]),
            (&[900, 901, 0, 1], &[Verdict::Untrusted, lost(0), Verdict::Untrusted, lost(0)]),
            (&[1, 600, 601], &[Verdict::Untrusted, Verdict::Untrusted, lost(0)]),
            (&[1, 1], &[Verdict::Untrusted, Verdict::Untrusted]),
            (&[1, 10], &[Verdict::Untrusted, lost(0)]),
        ] {
            let mut sequence = Sequence::new();
            for (seq, verdict) in seqs.iter().zip(verdicts) {
                assert_eq!(sequence.observe(*seq), *verdict, "{seq} of {seqs:?}");
            }
        }
    }
}
