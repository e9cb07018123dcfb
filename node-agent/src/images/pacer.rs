//! So many bytes a second, shared fairly: whoever wants to send a piece waits for its turn, first come, first served.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// What may be sent ahead of the rate: timers are coarse.
const AHEAD: Duration = Duration::from_millis(10);

/// A rate that several senders share.
pub(super) struct Pacer {
    bytes_per_second: u64,
    /// When the bytes that were let through would all be sent at this rate.
    sent_at: Mutex<Instant>,
}

impl Pacer {
    /// A rate in bytes per second, at least 1.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), sent_at: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes may be sent. Tokio's mutex lets those who wait through in the order they came.
    pub(super) async fn turn(&self, bytes: u64) {
        let mut sent_at = self.sent_at.lock().await;
        sleep_until(*sent_at - AHEAD).await;
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        *sent_at =
            (*sent_at).max(Instant::now()) + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn senders_share_the_rate_alike() {
        let pacer = Pacer::new(10_000_000);
        let (began, turns) = (Instant::now(), [Cell::new(0_i32), Cell::new(0)]);
        let sender = async |at: usize| {
            for _ in 0..100 {
                pacer.turn(10_000).await;
                turns[at].set(turns[at].get() + 1);
                // What may go ahead of the rate goes to whoever comes first: ten pieces.
                assert!((turns[0].get() - turns[1].get()).abs() <= 12, "one was before the other: {turns:?}");
            }
        };
        tokio::join!(sender(0), sender(1));
        assert!(began.elapsed() >= Duration::from_millis(180), "2 MB went at more than 10 MB/s");
    }
}
