//! Hysteresis: three triggers, one per limit, that remember.

use std::time::Duration;

use roost_types::rack::Limits;
use roost_types::{MilliCelsius, ThermalState, Timestamp};

use crate::policy::Scale;

/// One limit: on at once when it is reached, off only after `dwell` below limit − hysteresis.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Trigger {
    on: bool,
    /// Since when the value has been below limit − hysteresis without interruption, while on.
    below_since: Option<Timestamp>,
}

impl Trigger {
    fn feed(&mut self, now: Timestamp, value: MilliCelsius, limit: MilliCelsius, scale: &Scale) {
        if value >= limit {
            *self = Self { on: true, below_since: None };
        } else if self.on && value.0 < limit.0.saturating_sub(scale.hysteresis.0) {
            let since = *self.below_since.get_or_insert(now);
            if now.since(since) >= scale.dwell {
                *self = Self::default();
            }
        } else {
            self.below_since = None;
        }
    }
}

/// A temperature's level on a scale. Each limit is its own trigger, so that a value which falls from critical to cool
/// passes hot and warm only after each of their dwells (they run at the same time).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Level {
    warm: Trigger,
    hot: Trigger,
    critical: Trigger,
}

impl Level {
    /// Takes in a value.
    pub(crate) fn feed(&mut self, now: Timestamp, value: MilliCelsius, limits: &Limits, scale: &Scale) {
        self.warm.feed(now, value, limits.warm, scale);
        self.hot.feed(now, value, limits.hot, scale);
        self.critical.feed(now, value, limits.critical, scale);
    }

    /// There is no value: what was reached stays reached, and a dwell that ran starts anew.
    pub(crate) fn lose(&mut self) {
        for trigger in [&mut self.warm, &mut self.hot, &mut self.critical] {
            trigger.below_since = None;
        }
    }

    /// The highest level that is on; what a value would find on its return.
    pub(crate) fn mark(&self) -> ThermalState {
        match (self.critical.on, self.hot.on, self.warm.on) {
            (true, _, _) => ThermalState::Critical,
            (false, true, _) => ThermalState::Hot,
            (false, false, true) => ThermalState::Warm,
            (false, false, false) => ThermalState::Nominal,
        }
    }
}

/// The limit by which `value` has the state `to`, as words: `≥ hot 35.0 °C`, `< 33.0 °C (hot 35.0 °C − 2.0 °C) for 60 s`.
pub(crate) fn compare(
    value: MilliCelsius,
    from: ThermalState,
    to: ThermalState,
    limits: &Limits,
    scale: &Scale,
) -> String {
    let limit_of = |state| match state {
        ThermalState::Unknown | ThermalState::Nominal => None,
        ThermalState::Warm => Some(limits.warm),
        ThermalState::Hot => Some(limits.hot),
        ThermalState::Critical => Some(limits.critical),
    };
    match (limit_of(from), limit_of(to)) {
        (Some(left), _) if to < from && to != ThermalState::Unknown => format!(
            "{value} < {} ({from} {left} − {}) for {}",
            MilliCelsius(left.0.saturating_sub(scale.hysteresis.0)),
            scale.hysteresis,
            seconds(scale.dwell)
        ),
        (_, Some(reached)) if value >= reached => format!("{value} ≥ {to} {reached}"),
        (_, Some(reached)) => {
            format!("{value} not yet {} below {to} {reached} for {}", scale.hysteresis, seconds(scale.dwell))
        }
        (_, None) => format!("{value} < warm {}", limits.warm),
    }
}

/// A duration as people say it: `0.4 s`, `60 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 10.0 || duration.subsec_millis() == 0 { format!("{seconds:.0} s") } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;
    use ThermalState::{Critical, Hot, Nominal, Warm};

    /// Feeds (second, °C × 10) and returns the level after each.
    fn run(values: &[(i64, i32)]) -> Vec<ThermalState> {
        let scale = Policy::default().inlet;
        let mut level = Level::default();
        values
            .iter()
            .map(|(at, tenths)| {
                level.feed(Timestamp(at * 1000), MilliCelsius(tenths * 100), &scale.limits, &scale);
                level.mark()
            })
            .collect()
    }

    #[test]
    fn a_level_is_entered_at_its_limit_and_left_below_hysteresis_after_dwell() {
        for (what, values, expected) in [
            ("at the limit", vec![(0, 269), (1, 270), (2, 350), (3, 450)], vec![Nominal, Warm, Hot, Critical]),
            ("straight to critical", vec![(0, 200), (1, 500)], vec![Nominal, Critical]),
            ("inside the hysteresis nothing is left", vec![(0, 350), (100, 330), (900, 349)], vec![Hot, Hot, Hot]),
            (
                "below it, only after the dwell",
                vec![(0, 350), (1, 329), (60, 329), (61, 329)],
                vec![Hot, Hot, Hot, Warm],
            ),
            (
                "an interruption starts the dwell anew",
                vec![(0, 350), (1, 329), (30, 331), (31, 329), (61, 329), (91, 329)],
                vec![Hot, Hot, Hot, Hot, Hot, Warm],
            ),
            (
                "all dwells run at once",
                vec![(0, 500), (1, 200), (60, 200), (61, 200)],
                vec![Critical, Critical, Critical, Nominal],
            ),
        ] {
            assert_eq!(run(&values), expected, "{what}");
        }
    }

    #[test]
    fn lost_data_keeps_the_mark_and_restarts_the_dwell() {
        let scale = Policy::default().inlet;
        let mut level = Level::default();
        let feed = |level: &mut Level, at: i64, celsius| {
            level.feed(Timestamp(at * 1000), MilliCelsius::whole(celsius), &scale.limits, &scale);
            level.mark()
        };
        assert_eq!(feed(&mut level, 0, 41), Hot);
        assert_eq!(feed(&mut level, 1, 20), Hot);
        level.lose();
        assert_eq!(level.mark(), Hot);
        assert_eq!(feed(&mut level, 300, 20), Hot, "the dwell began again when data came back");
        assert_eq!(feed(&mut level, 360, 20), Nominal);
    }
}
