//! How much hotter than its air a board runs at a load: `dT = a + b · load`, learned.

/// Rise of an idle board before anything was learned, in °C: a bare Pi-class SoC in moving air.
const IDLE_RISE: f64 = 20.0;
/// Further rise at full load before anything was learned, in °C.
const LOAD_RISE: f64 = 25.0;
/// Bounds of what is learned: outside, a sensor lies or a fan is broken, and neither should be learned.
const IDLE_BOUNDS: (f64, f64) = (0.0, 50.0);
/// As above, of the part that load adds.
const LOAD_BOUNDS: (f64, f64) = (0.0, 60.0);
/// How slowly the past is forgotten: 0.998 a sample of 2 s remembers about a quarter of an hour.
const FORGETTING: f64 = 0.998;
/// Uncertainty at the start, in °C².
const START_VARIANCE: f64 = 100.0;
/// Uncertainty never grows past this, so that a long idle time does not make one odd sample count for everything.
const MAX_VARIANCE: f64 = 400.0;

/// The learned rise of one board over its zone's air. Recursive least squares with forgetting (K. J. Åström and
/// B. Wittenmark, "Adaptive Control", 2nd ed., section 2.2), two parameters, bounded.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BoardModel {
    a: f64,
    b: f64,
    /// Covariance: aa, ab, bb.
    p: [f64; 3],
}

impl Default for BoardModel {
    fn default() -> Self {
        Self { a: IDLE_RISE, b: LOAD_RISE, p: [START_VARIANCE, 0.0, START_VARIANCE] }
    }
}

impl BoardModel {
    /// The expected rise over the air, in °C, at a load of 0 to 1.
    #[must_use]
    pub fn rise(&self, load: f64) -> f64 {
        self.a + self.b * load.clamp(0.0, 1.0)
    }

    /// What full load adds, in °C.
    #[must_use]
    pub fn load_rise(&self) -> f64 {
        self.b
    }

    /// Learns from one moment.
    pub fn learn(&mut self, load: f64, rise: f64) {
        if !load.is_finite() || !rise.is_finite() {
            return;
        }
        let x = load.clamp(0.0, 1.0);
        let [aa, ab, bb] = self.p;
        let (pa, pb) = (aa + ab * x, ab + bb * x);
        let scale = FORGETTING + pa + x * pb;
        let (gain_a, gain_b) = (pa / scale, pb / scale);
        let error = rise - self.rise(x);
        self.a = (self.a + gain_a * error).clamp(IDLE_BOUNDS.0, IDLE_BOUNDS.1);
        self.b = (self.b + gain_b * error).clamp(LOAD_BOUNDS.0, LOAD_BOUNDS.1);
        let shrunk = [aa - gain_a * pa, ab - gain_a * pb, bb - gain_b * pb];
        self.p = shrunk.map(|v| (v / FORGETTING).clamp(-MAX_VARIANCE, MAX_VARIANCE));
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
    fn what_it_learns_is_bounded() {
        let mut board = BoardModel::default();
        for _ in 0..1000 {
            board.learn(1.0, 1e9);
            board.learn(f64::NAN, f64::INFINITY);
        }
        assert!(board.rise(1.0) <= 110.0, "{board:?}");
    }
}
