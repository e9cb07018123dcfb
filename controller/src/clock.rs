//! The one place that reads a clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use roost_types::Timestamp;

/// The time now; never earlier than an answer before, even when the machine's clock is set back.
#[must_use]
pub fn now() -> Timestamp {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Timestamp(LAST.fetch_max(wall, Ordering::Relaxed).max(wall))
}
