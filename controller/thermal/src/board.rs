//! How much hotter than its air a board runs at a load: `dT = a + b · load`, learned.

/// Rise of an idle board before anything was learned, in °C: a bare Pi-class SoC in moving air.
const IDLE_RISE: f64 = 20.0;
/// Further rise at full load before anything was learned, in °C.
const LOAD_RISE: f64 = 25.0;
/// Bounds of what is learned: outside, a sensor lies or a fan is broken, and neither should be learned.
const IDLE_BOUNDS: (f64, f64) = (0.0, 50.0);
/// As above, of the part that load adds.
const LOAD_BOUNDS: (f64, f64) = (0.0, 60.0);
/// Variance of one measured rise, in °C²: what a probe, a SoC's sensor and a draught add.
const NOISE: f64 = 1.0;
/// How much a board is believed to change from one sample to the next, in °C²: dust settles, fans age. The past fades
/// over about √(NOISE / DRIFT) ≈ 220 samples, some minutes. (Forgetting by a factor instead would, under constant load,
/// inflate what cannot be seen until it had to be stopped, and then stop learning what can.)
const DRIFT: f64 = 2e-5;
/// Uncertainty at the start, in °C².
const START_VARIANCE: f64 = 100.0;
/// The uncertainties never grow past this together, in °C²: what is not seen for long is as uncertain as at the start.
const MAX_VARIANCE: f64 = 2.0 * START_VARIANCE;
/// After so many samples what was learned is worth more than what was assumed.
const LEARNED: u32 = 60;

/// The learned rise of one board over its zone's air: recursive least squares of two parameters that drift (a Kalman
/// filter of a random walk; K. J. Åström and B. Wittenmark, "Adaptive Control", 2nd ed., section 2.2), bounded.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BoardModel {
    a: f64,
    b: f64,
    /// Covariance: aa, ab, bb.
    p: [f64; 3],
    samples: u32,
}

impl Default for BoardModel {
    fn default() -> Self {
        Self { a: IDLE_RISE, b: LOAD_RISE, p: [START_VARIANCE, 0.0, START_VARIANCE], samples: 0 }
    }
}

impl BoardModel {
    /// The expected rise over the air, in °C, at a load of 0 to 1.
    #[must_use]
    pub fn rise(&self, load: f64) -> f64 {
        self.a + self.b * load.clamp(0.0, 1.0)
    }

    /// Standard deviation of that, in °C: how little was seen of such a load.
    #[must_use]
    pub fn doubt(&self, load: f64) -> f64 {
        let (x, [aa, ab, bb]) = (load.clamp(0.0, 1.0), self.p);
        (aa + 2.0 * x * ab + x * x * bb).max(0.0).sqrt()
    }

    /// What full load adds, in °C.
    #[must_use]
    pub fn load_rise(&self) -> f64 {
        self.b
    }

    /// Enough was learned to trust it more than what was assumed of every board.
    #[must_use]
    pub fn is_learned(&self) -> bool {
        self.samples >= LEARNED
    }

    /// Somebody may have changed it: what was learned stays the best guess, but is believed as little as at the start.
    pub fn doubt_again(&mut self) {
        self.p = Self::default().p;
    }

    /// Learns from one moment.
    pub fn learn(&mut self, load: f64, rise: f64) {
        if !load.is_finite() || !rise.is_finite() {
            return;
        }
        let x = load.clamp(0.0, 1.0);
        let [aa, ab, bb] = self.p;
        let (pa, pb) = (aa + ab * x, ab + bb * x);
        let scale = NOISE + pa + x * pb;
        let (gain_a, gain_b) = (pa / scale, pb / scale);
        let error = rise - self.rise(x);
        self.a = (self.a + gain_a * error).clamp(IDLE_BOUNDS.0, IDLE_BOUNDS.1);
        self.b = (self.b + gain_b * error).clamp(LOAD_BOUNDS.0, LOAD_BOUNDS.1);
        let [aa, ab, bb] = [aa - gain_a * pa + DRIFT, ab - gain_a * pb, bb - gain_b * pb + DRIFT];
        // Scaled as a whole it stays a covariance.
        let excess = ((aa + bb) / MAX_VARIANCE).max(1.0);
        self.p = [aa / excess, ab / excess, bb / excess];
        self.samples = self.samples.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::BoardModel;

    #[test]
    fn learns_a_board_from_its_own_history() {
        let mut board = BoardModel::default();
        for step in 0..600 {
            let load = f64::from(step % 5) / 4.0;
            board.learn(load, 12.0 + 30.0 * load);
        }
        assert!((board.rise(0.0) - 12.0).abs() < 0.5, "{board:?}");
        assert!((board.rise(1.0) - 42.0).abs() < 0.5, "{board:?}");
    }

    #[test]
    fn a_load_that_was_never_seen_stays_in_doubt() {
        let mut board = BoardModel::default();
        assert!(board.doubt(0.0) > 9.0 && board.doubt(1.0) > 13.0);
        for _ in 0..600 {
            board.learn(0.1, 15.0);
        }
        assert!(board.doubt(0.1) < 0.5 && board.doubt(0.9) > 5.0, "{board:?}");
    }

    #[test]
    fn after_doubt_a_new_heat_sink_is_learned_at_once() {
        let mut board = BoardModel::default();
        let teach = |board: &mut BoardModel, idle: f64, samples: u32| {
            for step in 0..samples {
                let load = f64::from(step % 5) / 4.0;
                board.learn(load, idle + 20.0 * load);
            }
        };
        teach(&mut board, 30.0, 600);
        board.doubt_again();
        assert!((board.rise(0.0) - 30.0).abs() < 0.5, "the best guess stays: {board:?}");
        teach(&mut board, 10.0, 20);
        assert!((board.rise(0.0) - 10.0).abs() < 1.0, "{board:?}");
    }

    #[test]
    fn a_day_of_constant_load_leaves_it_able_to_learn() {
        let mut board = BoardModel::default();
        for _ in 0..100_000 {
            board.learn(0.5, 30.0);
        }
        assert!((board.rise(0.5) - 30.0).abs() < 0.1, "{board:?}");
        let [aa, ab, bb] = board.p;
        assert!(aa >= 0.0 && bb >= 0.0 && aa * bb >= ab * ab, "the covariance is one no more: {board:?}");
        for step in 0..600 {
            let load = f64::from(step % 5) / 4.0;
            board.learn(load, 12.0 + 30.0 * load);
        }
        assert!((board.rise(0.0) - 12.0).abs() < 0.5 && (board.rise(1.0) - 42.0).abs() < 0.5, "{board:?}");
    }

    #[test]
    fn what_it_learns_is_bounded() {
        let mut board = BoardModel::default();
        for _ in 0..1000 {
            board.learn(1.0, 1e9);
            board.learn(f64::NAN, f64::INFINITY);
        }
        assert!(board.rise(1.0) <= 110.0, "{board:?}");
    }
}
