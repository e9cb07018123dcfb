//! The transitions of one alert. Pure: the row before, the row after, and what changed.

use roost_types::{Acknowledgement, AlertState, Severity, Timestamp};

use super::row::AlertRow;
use super::times::AlertTimes;

/// What a condition that holds changes about an alert that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fired {
    /// It was resolved and has come back.
    Again,
    /// It fires and is worse than before.
    Worse,
    /// It fires and is not as bad as before.
    Better,
}

/// Whether the condition, if it holds now, is still this alert and not another one.
pub fn goes_on(row: &AlertRow, times: &AlertTimes, now: Timestamp) -> bool {
    row.resolved_at.is_none_or(|at| now.since(at) < times.same_within)
}

/// Whether it has been resolved for so long that this counts: before, it may be flapping.
pub fn is_quiet(row: &AlertRow, times: &AlertTimes, now: Timestamp) -> bool {
    row.resolved_at.is_some_and(|at| now.since(at) >= times.quiet_after(row.fires))
}

/// The condition holds. None if that is known already.
///
/// Who has acknowledged an alert that is flapping has seen it: it comes back acknowledged, unless it comes back worse. What is
/// worse than it was when it was acknowledged fires again.
pub fn fire(
    row: &mut AlertRow,
    severity: Severity,
    message: &str,
    times: &AlertTimes,
    now: Timestamp,
) -> Option<Fired> {
    let worse = severity > row.severity;
    let change = if row.state == AlertState::Resolved {
        if is_quiet(row, times, now) || worse {
            row.acknowledged = None;
        }
        row.fires = row.fires.saturating_add(1);
        row.first_fired_at.get_or_insert(row.fired_at);
        row.fired_at = now;
        row.resolved_at = None;
        Fired::Again
    } else if worse {
        row.acknowledged = None;
        Fired::Worse
    } else if severity < row.severity {
        Fired::Better
    } else {
        return None;
    };
    row.state = if row.acknowledged.is_some() { AlertState::Acknowledged } else { AlertState::Firing };
    row.severity = severity;
    message.clone_into(&mut row.message);
    Some(change)
}

/// A person has seen it.
pub fn acknowledge(row: &mut AlertRow, said: Acknowledgement) {
    row.state = AlertState::Acknowledged;
    row.acknowledged = Some(said);
}

/// The condition holds no more.
pub fn resolve(row: &mut AlertRow, now: Timestamp) {
    row.state = AlertState::Resolved;
    row.resolved_at = Some(now);
}

#[cfg(test)]
mod tests {
    use AlertState::{Acknowledged, Firing, Resolved};
    use Severity::{Critical, Warning};
    use roost_types::AlertId;

    use super::*;

    const START: Timestamp = Timestamp(1_800_000_000_000);

    fn at(second: i64) -> Timestamp {
        Timestamp(START.0 + second * 1000)
    }

    /// One thing that happens to an alert.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Fire(Severity),
        Acknowledge,
        Resolve,
    }

    /// Seconds, what happens, and then: what changed by firing, state, severity, how often it has begun.
    type Line = (i64, Step, Option<Fired>, AlertState, Severity, u32);

    #[test]
    fn a_life_goes_from_state_to_state() {
        use Step::{Acknowledge, Fire, Resolve};
        let lives: &[&[Line]] = &[
            &[
                (1, Fire(Warning), None, Firing, Warning, 1),
                (2, Fire(Critical), Some(Fired::Worse), Firing, Critical, 1),
                (3, Fire(Warning), Some(Fired::Better), Firing, Warning, 1),
                (4, Resolve, None, Resolved, Warning, 1),
            ],
            // Seen, it stays seen until it is worse.
            &[
                (1, Acknowledge, None, Acknowledged, Warning, 1),
                (2, Fire(Warning), None, Acknowledged, Warning, 1),
                (3, Fire(Critical), Some(Fired::Worse), Firing, Critical, 1),
                (4, Acknowledge, None, Acknowledged, Critical, 1),
                (5, Fire(Warning), Some(Fired::Better), Acknowledged, Warning, 1),
            ],
            // Flapping, it stays seen; after a minute of quiet it has to be seen again; then two minutes are needed.
            &[
                (1, Acknowledge, None, Acknowledged, Warning, 1),
                (2, Resolve, None, Resolved, Warning, 1),
                (61, Fire(Warning), Some(Fired::Again), Acknowledged, Warning, 2),
                (62, Resolve, None, Resolved, Warning, 2),
                (181, Fire(Warning), Some(Fired::Again), Acknowledged, Warning, 3),
                (182, Resolve, None, Resolved, Warning, 3),
                (500, Fire(Warning), Some(Fired::Again), Firing, Warning, 4),
            ],
            // Flapping, it comes back worse.
            &[
                (1, Acknowledge, None, Acknowledged, Warning, 1),
                (2, Resolve, None, Resolved, Warning, 1),
                (3, Fire(Critical), Some(Fired::Again), Firing, Critical, 2),
            ],
        ];
        let times = AlertTimes::default();
        for life in lives {
            let mut row = AlertRow::new(AlertId::mint(0, [0; 10]), "heat/n01", Warning, "/v1/nodes/n01", "hot", START);
            for (second, step, changed, state, severity, fires) in *life {
                let now = at(*second);
                let found = match step {
                    Fire(severity) => fire(&mut row, *severity, "again", &times, now),
                    Acknowledge => {
                        acknowledge(&mut row, Acknowledgement { at: now, by: None, comment: None });
                        None
                    }
                    Resolve => {
                        resolve(&mut row, now);
                        None
                    }
                };
                let is = (found, row.state, row.severity, row.fires);
                assert_eq!(is, (*changed, *state, *severity, *fires), "{step:?} at {second} s");
                assert_eq!(row.resolved_at.is_some(), row.state == Resolved);
                assert_eq!(row.first_fired_at, Some(START));
            }
        }
    }

    #[test]
    fn what_comes_back_much_later_is_another_alert() {
        let times = AlertTimes::default();
        let mut row = AlertRow::new(AlertId::mint(0, [0; 10]), "hub/hub0", Warning, "/v1/hubs/hub0", "lost", START);
        assert!(goes_on(&row, &times, at(1_000_000)), "what fires is the same alert for ever");
        resolve(&mut row, at(10));
        assert!(goes_on(&row, &times, at(10 + 7199)) && !goes_on(&row, &times, at(10 + 7200)));
    }
}
