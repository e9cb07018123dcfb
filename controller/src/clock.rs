//! The one place that reads a clock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roost_types::Timestamp;

/// The last answer, and when it was given by a clock that nobody sets.
static LAST: Mutex<Option<(Timestamp, Instant)>> = Mutex::new(None);

/// The time now. When the machine's clock is set back, time goes on from the last answer instead: it neither runs
/// backwards nor stands still, so that readings go on ageing and silent nodes are noticed.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let instant = Instant::now();
    let now = last.map_or(wall, |(then, at)| later(wall, then, instant.duration_since(at)));
    *last = Some((now, instant));
    now
}

/// The wall clock, unless it lies before what has passed since the last answer by more than a clock is steered.
fn later(wall: Timestamp, last: Timestamp, passed: Duration) -> Timestamp {
    const STEERED: Duration = Duration::from_secs(1);
    let steady = last.plus(passed);
    if wall.plus(STEERED) >= steady { wall.max(last) } else { steady }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_wall_clock_and_survives_its_being_set_back() {
        let second = Duration::from_secs(1);
        for (wall, last, passed, expected) in [
            (10_000, 9_000, second, 10_000),
            (9_990, 9_000, second, 9_990),
            (8_990, 9_000, Duration::ZERO, 9_000),
            (3_000, 9_000, second, 10_000),
            (3_600_000, 9_000, second, 3_600_000),
        ] {
            assert_eq!(later(Timestamp(wall), Timestamp(last), passed), Timestamp(expected), "{wall} after {last}");
        }
    }
}
