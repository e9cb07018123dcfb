//! Every interval of alerts, and who is told.

use std::time::Duration;

use roost_types::{Name, Severity};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Somebody who is told of alerts, as far as decisions need to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertReceiver {
    /// Name.
    pub name: Name,
    /// It is told of alerts that are, or were, at least so bad.
    pub least: Severity,
}

/// When alerts are told, again, and not yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AlertTimes {
    /// What is due waits so long for what else is: a failure of the rack becomes one message.
    pub group_wait: Duration,
    /// Pause after a message before the next that has nothing new that is critical.
    pub pause: Duration,
    /// Pause after a message before the next that has something new that is critical.
    pub urgent_pause: Duration,
    /// How long an alert must stay resolved before that is told; doubled with each time it came back, up to `longest_quiet`.
    pub quiet: Duration,
    /// The longest of those.
    pub longest_quiet: Duration,
    /// A condition that comes back within this is the same alert.
    pub same_within: Duration,
    /// After how long receivers are reminded of an alert that nobody acknowledges, the first time, the second, …; the last
    /// again and again.
    pub reminders: [Duration; 4],
    /// After the first failed attempt to send a message; doubled with each, up to `longest_retry`.
    pub retry: Duration,
    /// The longest pause between two attempts.
    pub longest_retry: Duration,
    /// A message is given up when it is so old.
    pub give_up: Duration,
    /// Resolved alerts are forgotten after so long.
    pub kept: Duration,
}

impl Default for AlertTimes {
    fn default() -> Self {
        Self {
            group_wait: Duration::from_secs(10),
            pause: 5 * MINUTE,
            urgent_pause: Duration::from_secs(30),
            quiet: MINUTE,
            longest_quiet: HOUR,
            same_within: 2 * HOUR,
            reminders: [15 * MINUTE, HOUR, 4 * HOUR, 24 * HOUR],
            retry: Duration::from_secs(5),
            longest_retry: 10 * MINUTE,
            give_up: 24 * HOUR,
            kept: 90 * 24 * HOUR,
        }
    }
}

impl AlertTimes {
    /// The same for a rack in a box whose clock runs `scale` times as fast; how long things are kept and messages tried
    /// stays.
    #[must_use]
    pub fn with_time_scale(mut self, scale: u32) -> Self {
        let scale = scale.max(1);
        for interval in [
            &mut self.group_wait,
            &mut self.pause,
            &mut self.urgent_pause,
            &mut self.quiet,
            &mut self.longest_quiet,
            &mut self.same_within,
            &mut self.retry,
            &mut self.longest_retry,
        ] {
            *interval /= scale;
        }
        self.reminders = self.reminders.map(|interval| interval / scale);
        self
    }

    /// How long an alert that has begun so often must stay resolved before that counts.
    #[must_use]
    pub fn quiet_after(&self, fires: u32) -> Duration {
        doubled(self.quiet, fires.saturating_sub(1)).min(self.longest_quiet)
    }

    /// After how long receivers are reminded once more.
    #[must_use]
    pub fn reminder_after(&self, reminders: u32) -> Duration {
        let last = self.reminders.len() - 1;
        self.reminders[usize::try_from(reminders).unwrap_or(last).min(last)]
    }

    /// How long the next attempt waits after so many failed ones.
    #[must_use]
    pub fn retry_after(&self, attempts: u32) -> Duration {
        doubled(self.retry, attempts.saturating_sub(1)).min(self.longest_retry)
    }
}

/// A duration doubled so often; what is too long to count is the longest there is.
fn doubled(duration: Duration, times: u32) -> Duration {
    duration.checked_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_grow_and_end_somewhere() {
        let times = AlertTimes::default();
        let seconds = |durations: &[Duration]| durations.iter().map(Duration::as_secs).collect::<Vec<_>>();
        assert_eq!(seconds(&[1, 2, 3, 7, 99].map(|n| times.quiet_after(n))), [60, 120, 240, 3600, 3600]);
        assert_eq!(
            seconds(&[0, 1, 2, 3, 4, u32::MAX].map(|n| times.reminder_after(n))),
            [900, 3600, 14_400, 86_400, 86_400, 86_400]
        );
        assert_eq!(seconds(&[1, 2, 3, 8, u32::MAX].map(|n| times.retry_after(n))), [5, 10, 20, 600, 600]);
        assert!(times.longest_quiet < times.same_within, "what is told as over must not be another alert at once");
    }
}
