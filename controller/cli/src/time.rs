//! The wall clock, and ages as people say them.

use roost_types::Timestamp;

/// Now.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}

/// An age in its largest two units: `3s`, `12m`, `5h 2m`, `4d 1h`.
#[must_use]
pub fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m"),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// The age of a reading, in the unit that shows whether it is fresh: `0.4 s`, `12 s`, `3m`.
#[must_use]
pub fn reading_age(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        10_000..120_000 => format!("{} s", ms / 1000),
        _ => age(ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_use_the_largest_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (3600, "1h 0m"), (7320, "2h 2m"), (90_000, "1d 1h")]
        {
            assert_eq!(age(seconds), text);
        }
        for (ms, text) in [(0, "0.0 s"), (1250, "1.2 s"), (12_000, "12 s"), (180_000, "3m")] {
            assert_eq!(reading_age(ms), text);
        }
    }
}
