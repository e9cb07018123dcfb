//! Where a temperature is going: the slope of its last half minute.

use roost_types::{MilliCelsius, Timestamp};

/// Samples kept: 12 × 2.5 s = 30 s, long enough that a probe's 0.1 °C of noise is under 0.01 °C/s of slope.
const SAMPLES: usize = 12;
/// Samples are taken no closer than this.
const SPACING_MS: i64 = 2_500;
/// Fewer samples than this tell no slope.
const ENOUGH: usize = 4;
/// A silence longer than this starts over: the past no longer tells where it is going.
const GAP_MS: i64 = 15_000;

/// A ring of 12 samples, 200 bytes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Trend {
    samples: [(Timestamp, MilliCelsius); SAMPLES],
    /// Samples in use.
    used: usize,
    /// Where the next one goes.
    next: usize,
}

impl Trend {
    /// Takes in a measured value; one that comes too soon after the last is skipped.
    pub(crate) fn feed(&mut self, at: Timestamp, value: MilliCelsius) {
        if self.used > 0 {
            let elapsed = at.0 - self.samples[(self.next + SAMPLES - 1) % SAMPLES].0.0;
            if elapsed < SPACING_MS {
                return;
            }
            if elapsed > GAP_MS {
                *self = Self::default();
            }
        }
        self.samples[self.next] = (at, value);
        self.next = (self.next + 1) % SAMPLES;
        self.used = (self.used + 1).min(SAMPLES);
    }

    /// The least-squares slope in °C per second; none while there are too few samples.
    pub(crate) fn slope(&self) -> Option<f64> {
        if self.used < ENOUGH {
            return None;
        }
        // Until the ring is full its used part is its beginning; afterwards all of it, in any order.
        let samples = &self.samples[..self.used];
        let origin = samples[0].0.0;
        #[expect(clippy::cast_precision_loss, reason = "the ring spans at most minutes of milliseconds")]
        let points = samples.iter().map(|(at, value)| ((at.0 - origin) as f64 / 1000.0, value.as_f64()));
        #[expect(clippy::cast_precision_loss, reason = "at most 12")]
        let count = self.used as f64;
        let (sum_t, sum_v) = points.clone().fold((0.0, 0.0), |(t, v), point| (t + point.0, v + point.1));
        let (mean_t, mean_v) = (sum_t / count, sum_v / count);
        let (cross, square) = points.fold((0.0, 0.0), |(cross, square), (t, v)| {
            (cross + (t - mean_t) * (v - mean_v), square + (t - mean_t) * (t - mean_t))
        });
        (square > 0.0).then(|| cross / square)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(seconds: impl Iterator<Item = i64>, celsius: impl Fn(i64) -> f64) -> Trend {
        let mut trend = Trend::default();
        for second in seconds {
            trend.feed(Timestamp(second * 1000), MilliCelsius::from_f64(celsius(second)));
        }
        trend
    }

    #[test]
    fn finds_the_slope_of_a_ramp_also_when_the_ring_has_wrapped() {
        for (length, per_second) in [(12, 0.1), (100, 0.1), (100, -0.25), (1000, 0.0)] {
            let slope = fed(0..length, |t| 20.0 + per_second * f64::from(i32::try_from(t).unwrap())).slope().unwrap();
            assert!((slope - per_second).abs() < 1e-6, "{length} s at {per_second}: {slope}");
        }
    }

    #[test]
    fn too_few_samples_or_a_gap_tell_nothing() {
        assert_eq!(fed(0..8, |_| 20.0).slope(), None);
        assert_eq!(fed((0..60).chain(120..125), |_| 20.0).slope(), None);
    }
}
