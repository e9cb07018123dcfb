//! Growing pauses between attempts.

use std::time::Duration;

use roost_types::Timestamp;

/// The pause after the first failure.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
pub const BACKOFF_LONGEST: Duration = Duration::from_secs(60);
/// A process that ran this long was well: the next pause is the first one again.
pub const STABLE_AFTER: Duration = Duration::from_secs(600);

/// How often something failed in a row, and from when on it may be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backoff {
    failures: u32,
    retry_at: Option<Timestamp>,
}

impl Backoff {
    /// Notes a failure at `now`; returns the pause before the next attempt.
    pub fn fail(&mut self, now: Timestamp) -> Duration {
        let pause = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(6)).min(BACKOFF_LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now.plus(pause));
        pause
    }

    /// All is well: no pause, and the next one is short again.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether an attempt may be made at `now`.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.retry_at.is_none_or(|at| now >= at)
    }

    /// When the next attempt may be made, if that is after `now`.
    pub fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.retry_at.filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use roost_types::Timestamp;

    #[test]
    fn doubles_from_one_second_to_a_minute() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..9).map(|_| backoff.fail(Timestamp(0)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(!backoff.is_due(Timestamp(59_999)));
        assert!(backoff.is_due(Timestamp(60_000)));
        backoff.reset();
        assert!(backoff.is_due(Timestamp(0)));
        assert_eq!(backoff.fail(Timestamp(0)).as_secs(), 1);
    }
}
