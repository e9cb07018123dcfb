//! The numbers thermal decisions are made by, with the defaults of the design.

use std::time::Duration;

use roost_types::MilliCelsius;
use roost_types::rack::Limits;

/// How one kind of temperature becomes a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    /// A state is entered at its limit, at once.
    pub limits: Limits,
    /// A state is left only this far below its limit …
    pub hysteresis: MilliCelsius,
    /// … and only after this long without interruption.
    pub dwell: Duration,
    /// The fastest this temperature is believed to rise, in thousandths of a degree a second: what stale data is
    /// projected with.
    pub max_slew: i32,
}

/// SoC limits relative to the chip's own first passive trip point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TripOffsets {
    /// Warm, from the trip point.
    pub warm: MilliCelsius,
    /// Hot, from the trip point.
    pub hot: MilliCelsius,
    /// Critical, from the trip point.
    pub critical: MilliCelsius,
}

/// Trip points outside this range are device tree mistakes and are not used.
const PLAUSIBLE_TRIP: std::ops::RangeInclusive<MilliCelsius> = MilliCelsius::whole(50)..=MilliCelsius::whole(120);

/// Everything thermal decisions depend on besides readings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The air at a zone's inlet.
    pub inlet: Scale,
    /// The SoC of a board.
    pub soc: Scale,
    /// SoC limits of a board that tells its trip point.
    pub trip: TripOffsets,
    /// A reading older than this (three periods) is stale and taken at its worst case.
    pub stale_after: Duration,
    /// A reading older than this is no reading.
    pub lost_after: Duration,
    /// How far ahead a temperature is predicted (τ).
    pub horizon: Duration,
    /// How slowly a board follows its load: the time constant of its heat sink.
    pub board_lag: Duration,
}

impl Default for Policy {
    /// The design's table. Inlet limits follow ASHRAE TC 9.9 (recommended up to 27 °C, class A2 up to 35 °C); the
    /// slews are a dense rack that lost its cooling (12 °C a minute) and a bare SoC that got all its load at once.
    fn default() -> Self {
        let limits = |warm, hot, critical| Limits {
            warm: MilliCelsius::whole(warm),
            hot: MilliCelsius::whole(hot),
            critical: MilliCelsius::whole(critical),
        };
        Self {
            inlet: Scale {
                limits: limits(27, 35, 45),
                hysteresis: MilliCelsius::whole(2),
                dwell: Duration::from_secs(60),
                max_slew: 200,
            },
            soc: Scale {
                limits: limits(70, 80, 95),
                hysteresis: MilliCelsius::whole(5),
                dwell: Duration::from_secs(30),
                max_slew: 1000,
            },
            trip: TripOffsets {
                warm: MilliCelsius::whole(-15),
                hot: MilliCelsius::whole(-5),
                critical: MilliCelsius::whole(10),
            },
            stale_after: Duration::from_secs(3),
            lost_after: Duration::from_secs(10),
            horizon: Duration::from_secs(120),
            board_lag: Duration::from_secs(120),
        }
    }
}

impl Policy {
    /// The same policy for a rack whose physics run `scale` times as fast: its dwells, how far it looks ahead, and how
    /// slowly boards follow are divided; 0 counts as 1.
    #[must_use]
    pub fn with_time_scale(mut self, scale: u32) -> Self {
        for time in [&mut self.inlet.dwell, &mut self.soc.dwell, &mut self.horizon, &mut self.board_lag] {
            *time /= scale.max(1);
        }
        self
    }

    /// The inlet limits of a zone: its own, else the policy's.
    #[must_use]
    pub fn inlet_limits(&self, own: Option<&Limits>) -> Limits {
        own.copied().unwrap_or(self.inlet.limits)
    }

    /// The SoC limits of a board: its own, else by its trip point when that is plausible (50 to 120 °C), else the
    /// policy's.
    #[must_use]
    pub fn soc_limits(&self, own: Option<&Limits>, trip: Option<MilliCelsius>) -> Limits {
        let by_trip = |trip: MilliCelsius| Limits {
            warm: MilliCelsius(trip.0 + self.trip.warm.0),
            hot: MilliCelsius(trip.0 + self.trip.hot.0),
            critical: MilliCelsius(trip.0 + self.trip.critical.0),
        };
        own.copied()
            .or_else(|| trip.filter(|trip| PLAUSIBLE_TRIP.contains(trip)).map(by_trip))
            .unwrap_or(self.soc.limits)
    }

    /// The value a reading of this age stands for: itself while fresh, its worst case while stale, nothing once lost.
    #[must_use]
    pub(crate) fn worst_case(&self, scale: &Scale, value: MilliCelsius, age: Duration) -> Option<MilliCelsius> {
        if age > self.lost_after {
            return None;
        }
        if age <= self.stale_after {
            return Some(value);
        }
        // `lost_after` bounds the age, so the product stays far below i64; the sum saturates.
        let risen = i64::from(scale.max_slew) * i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 1_000_000) / 1000;
        Some(MilliCelsius(value.0.saturating_add(i32::try_from(risen).unwrap_or(i32::MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: fn(i32) -> MilliCelsius = MilliCelsius::whole;

    #[test]
    fn a_time_scale_divides_what_physics_take_and_nothing_else() {
        let (real, fast) = (Policy::default(), Policy::default().with_time_scale(20));
        assert_eq!((fast.inlet.dwell, fast.soc.dwell), (Duration::from_secs(3), Duration::from_millis(1500)));
        assert_eq!((fast.horizon, fast.board_lag), (Duration::from_secs(6), Duration::from_secs(6)));
        assert_eq!(
            (fast.stale_after, fast.lost_after, fast.inlet.limits),
            (real.stale_after, real.lost_after, real.inlet.limits)
        );
        assert_eq!(real.with_time_scale(0), real);
    }

    #[test]
    fn own_limits_beat_the_trip_point_which_beats_the_default() {
        let policy = Policy::default();
        let own = Limits { warm: C(50), hot: C(55), critical: C(60) };
        for (own, trip, hot) in [
            (None, None, 80),
            (None, Some(C(85)), 80),
            (None, Some(C(70)), 65),
            (None, Some(C(0)), 80),
            (None, Some(C(1000)), 80),
            (Some(&own), Some(C(70)), 55),
        ] {
            assert_eq!(policy.soc_limits(own, trip).hot, C(hot), "{own:?} {trip:?}");
        }
    }

    #[test]
    fn a_value_rises_at_full_slew_once_stale_and_is_nothing_once_lost() {
        let policy = Policy::default();
        for (age_ms, expected) in
            [(0, Some(30_000)), (3_000, Some(30_000)), (3_001, Some(30_600)), (10_000, Some(32_000)), (10_001, None)]
        {
            let value = policy.worst_case(&policy.inlet, C(30), Duration::from_millis(age_ms));
            assert_eq!(value, expected.map(MilliCelsius), "{age_ms} ms");
        }
    }
}
