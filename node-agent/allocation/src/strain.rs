//! What a container suffers from its limits, told from counters that only grow.
//!
//! Processes killed for want of memory are counted. A lack of processor time or memory is said only when it has lasted,
//! and taken back only when it is clearly over, so that a burst makes no news.

use std::collections::VecDeque;
use std::time::Duration;

use roost_types::Timestamp;
use roost_types::allocation::Strain;

/// How long the past is that a share is taken of.
const WINDOW: Duration = Duration::from_secs(30);
/// Throttled in this share of the periods: it lacks processor time, in percent.
const THROTTLED_FROM: u64 = 25;
/// Below this share it no longer does, in percent.
const THROTTLED_UNTIL: u64 = 10;
/// Some process waited for memory or disks for this share of a minute: it lacks them, in hundredths of a percent.
const PRESSED_FROM: u32 = 1_000;
/// Below this share it no longer does.
const PRESSED_UNTIL: u32 = 300;

/// A reading of a running container's counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// Periods of processor time in which the container had something to do.
    pub periods: u64,
    /// Those in which it was stopped because it had used up its share.
    pub throttled: u64,
    /// Share of the last minute in which some process waited for memory, in hundredths of a percent; none where the
    /// kernel does not tell.
    pub memory_pressure: Option<u32>,
    /// The same for disks.
    pub io_pressure: Option<u32>,
}

/// Remembers the readings of one container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge {
    readings: VecDeque<(Timestamp, Counters)>,
    strain: Strain,
}

impl Gauge {
    /// What is suffered now.
    pub(crate) const fn strain(&self) -> Strain {
        self.strain
    }

    /// Takes a reading.
    pub(crate) fn read(&mut self, counters: Counters, now: Timestamp) {
        self.readings.push_back((now, counters));
        while self.readings.get(1).is_some_and(|(at, _)| now.since(*at) >= WINDOW) {
            self.readings.pop_front();
        }
        self.strain = Strain {
            oom_kills: counters.oom_kills,
            cpu_throttled: self.is_throttled(counters, now),
            memory_pressure: is_pressed(counters.memory_pressure, self.strain.memory_pressure),
            io_pressure: is_pressed(counters.io_pressure, self.strain.io_pressure),
        };
    }

    fn is_throttled(&self, counters: Counters, now: Timestamp) -> bool {
        let Some((since, first)) = self.readings.front() else { return false };
        if now.since(*since) < WINDOW {
            return self.strain.cpu_throttled;
        }
        let periods = counters.periods.saturating_sub(first.periods);
        let throttled = counters.throttled.saturating_sub(first.throttled);
        let limit = if self.strain.cpu_throttled { THROTTLED_UNTIL } else { THROTTLED_FROM };
        periods > 0 && throttled * 100 >= periods * limit
    }
}

/// Whether some process waits too long; `was`: whether that was said before.
fn is_pressed(share: Option<u32>, was: bool) -> bool {
    share.is_some_and(|share| share >= if was { PRESSED_UNTIL } else { PRESSED_FROM })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn throttled(share: u64, seconds: u64) -> Counters {
        Counters { periods: seconds * 10, throttled: seconds * share / 10, ..Counters::default() }
    }

    #[test]
    fn a_burst_is_no_news_and_a_lasting_lack_is() {
        let mut gauge = Gauge::default();
        gauge.read(throttled(0, 0), at(0));
        gauge.read(Counters { periods: 50, throttled: 50, ..Counters::default() }, at(5));
        assert!(!gauge.strain().cpu_throttled, "five seconds");
        for seconds in (10..=60).step_by(5) {
            gauge.read(throttled(100, seconds), at(i64::try_from(seconds).unwrap()));
        }
        assert!(gauge.strain().cpu_throttled);
    }

    #[test]
    fn a_lack_ends_when_it_is_clearly_over() {
        let mut gauge = Gauge::default();
        let mut counters = Counters::default();
        let mut run = |gauge: &mut Gauge, share: u64, from: i64, until: i64| {
            for seconds in (from..until).step_by(5) {
                counters.periods += 100;
                counters.throttled += share;
                gauge.read(counters, at(seconds));
            }
            gauge.strain().cpu_throttled
        };
        assert!(run(&mut gauge, 30, 0, 60));
        assert!(run(&mut gauge, 15, 60, 120), "15 % is not yet enough");
        assert!(!run(&mut gauge, 5, 120, 180));
        assert!(!run(&mut gauge, 15, 180, 240), "and 15 % is not yet a lack");
    }

    #[test]
    fn disks_that_are_waited_for_are_said_apart_from_memory() {
        let mut gauge = Gauge::default();
        gauge.read(Counters { io_pressure: Some(1_000), memory_pressure: Some(999), ..Counters::default() }, at(0));
        assert_eq!(gauge.strain(), Strain { io_pressure: true, ..Strain::default() });
    }

    #[test]
    fn memory_that_is_waited_for_is_said_where_the_kernel_tells() {
        let mut gauge = Gauge::default();
        let pressed = |share| Counters { memory_pressure: share, ..Counters::default() };
        for (seconds, share, expected) in [
            (0, None, false),
            (5, Some(999), false),
            (10, Some(1_000), true),
            (15, Some(300), true),
            (20, Some(299), false),
        ] {
            gauge.read(pressed(share), at(seconds));
            assert_eq!(gauge.strain().memory_pressure, expected, "{share:?}");
            assert!(!gauge.strain().io_pressure);
        }
    }
}
