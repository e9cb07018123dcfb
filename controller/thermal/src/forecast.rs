//! Where a board's temperature is going: by its trend, as far as its load and its air do not explain the trend better.

use std::time::Duration;

use roost_types::Timestamp;

use crate::board::BoardModel;
use crate::diagnosis::Rise;
use crate::policy::Policy;

/// Warmer than its load explains by less than this is noise and the learning's error, in °C.
const UNEXPLAINED: f64 = 5.0;
/// What a board with its fan stopped adds to each watt's rise, at most: more is a sensor's lie.
const WORST_FACTOR: f64 = 3.0;

/// A load, or the air's temperature, as the heat sink feels it: followed with the board's own lag, so that a burst which
/// has not warmed the board yet is not taken for a board that is colder than it should be, nor one that has just ended for
/// a broken fan.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Felt {
    value: f64,
    at: Option<Timestamp>,
}

impl Felt {
    /// It is this now.
    pub(crate) fn feed(&mut self, now: Timestamp, value: f64, lag: Duration) {
        let share = self.at.map_or(1.0, |at| 1.0 - (-now.since(at).as_secs_f64() / lag.as_secs_f64().max(0.001)).exp());
        self.value += (value - self.value) * share;
        self.at = Some(now);
    }

    /// As it is felt.
    pub(crate) const fn value(self) -> f64 {
        self.value
    }

    /// As it is felt, if it was ever known.
    pub(crate) fn known(self) -> Option<f64> {
        self.at.map(|_| self.value)
    }
}

/// What is known of a board at one moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Moment {
    /// Its temperature, in °C, at the worst.
    pub temperature: f64,
    /// Degrees a second over the last half minute.
    pub slope: f64,
    /// The air it breathes, in °C; the last that was known when there is none now.
    pub air: Option<f64>,
    /// That air as it is felt.
    pub felt_air: Option<f64>,
    /// Its load, 0 to 1.
    pub load: f64,
    /// Its load as it is felt.
    pub felt_load: f64,
}

impl Moment {
    /// How much warmer than its air it is, and how much its load explains.
    pub(crate) fn rise(&self, board: &BoardModel) -> Option<Rise> {
        Some(Rise {
            actual: self.temperature - self.felt_air?,
            explained: board.rise(self.felt_load),
            doubt: board.doubt(self.felt_load),
        })
    }

    /// How many times as much a watt warms it as it should: 1 for a board that is cooled well.
    pub(crate) fn factor(&self, board: &BoardModel) -> f64 {
        match self.rise(board) {
            Some(rise) if rise.explained > 1.0 && rise.residual() > UNEXPLAINED => {
                (rise.actual / rise.explained).clamp(1.0, WORST_FACTOR)
            }
            Some(_) | None => 1.0,
        }
    }

    /// `T + slope · τ`; a falling temperature is not credited in advance, and a rise that the load explains ends where
    /// the load leads.
    pub(crate) fn predict(&self, board: &BoardModel, policy: &Policy) -> f64 {
        let fastest = f64::from(policy.soc.max_slew) / 1000.0;
        let risen = self.temperature + self.slope.clamp(0.0, fastest) * policy.horizon.as_secs_f64();
        match (self.air, self.rise(board).map(|rise| rise.residual())) {
            (Some(air), Some(residual)) if residual < UNEXPLAINED => {
                let settled = air + board.rise(self.load) + residual.max(0.0);
                risen.min(settled.max(self.temperature))
            }
            _ => risen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_followed_as_far_as_nothing_explains_it() {
        let (board, policy) = (BoardModel::default(), Policy::default());
        let moment = |temperature, slope, air, load, felt_load| Moment {
            temperature,
            slope,
            air,
            felt_air: air,
            load,
            felt_load,
        };
        for (what, moment, predicted) in [
            ("at rest", moment(44.0, 0.0, Some(24.0), 0.0, 0.0), 44.0),
            ("falling", moment(60.0, -0.2, Some(24.0), 0.0, 0.5), 60.0),
            ("a burst ends where its load leads", moment(50.0, 0.3, Some(24.0), 1.0, 0.2), 70.0),
            ("a fan that stopped is followed", moment(60.0, 0.1, Some(24.0), 0.4, 0.4), 72.0),
            ("without air there is only the trend", moment(60.0, 0.1, None, 0.4, 0.4), 72.0),
            ("no faster than a bare SoC", moment(60.0, 9.0, None, 0.4, 0.4), 180.0),
        ] {
            let found = moment.predict(&board, &policy);
            assert!((found - predicted).abs() < 0.01, "{what}: {found}, not {predicted}");
        }
    }

    #[test]
    fn a_board_without_its_fan_makes_more_of_each_watt() {
        let board = BoardModel::default();
        let air = Some(24.0);
        let moment = |temperature| Moment { temperature, slope: 0.0, air, felt_air: air, load: 0.4, felt_load: 0.4 };
        for (temperature, factor) in [(54.0, 1.0), (58.0, 1.0), (84.0, 2.0), (200.0, 3.0), (20.0, 1.0)] {
            let found = moment(temperature).factor(&board);
            assert!((found - factor).abs() < 0.01, "{temperature} °C: {found}");
        }
    }

    #[test]
    fn a_load_is_felt_with_the_lag_of_the_board() {
        let mut felt = Felt::default();
        felt.feed(Timestamp(0), 0.5, Duration::from_secs(120));
        assert!((felt.value() - 0.5).abs() < 1e-9, "the first is taken as it is");
        felt.feed(Timestamp(120_000), 1.0, Duration::from_secs(120));
        assert!((felt.value() - 0.816).abs() < 0.001, "{}", felt.value());
    }
}
