//! One board: the watts it makes, the two masses they warm, and how it slows down to save itself.

/// Watts of an idle Pi 4 class board (measured figures of 2.5 to 2.9 W are published).
const IDLE_WATTS: f64 = 2.6;
/// Watts that full load on all cores adds (published: 6.2 to 6.6 W in all).
const BUSY_WATTS: f64 = 3.8;
/// Leakage: watts grow by this share for each K the die is above 50 °C.
const LEAKAGE: f64 = 0.004;
/// From the die to its heat sink, K/W: package, pad, spreader.
const DIE_RESISTANCE: f64 = 2.5;
/// Heat capacity of die and package, J/K: with the resistance above, a load step shows within 15 s.
const DIE_CAPACITY: f64 = 6.0;
/// From the heat sink (25 cm² of fins and the board itself) to the air at the design's flow, K/W.
const SINK_RESISTANCE: f64 = 3.5;
/// Heat capacity of 35 g of aluminium and the copper around it, J/K.
const SINK_CAPACITY: f64 = 45.0;
/// Forced convection: the resistance falls with the flow to this power (laminar plate 0.5, turbulent 0.8).
const FLOW_EXPONENT: f64 = 0.6;
/// First passive trip point of the SoC, °C: above it the clock is lowered.
pub const TRIP: f64 = 85.0;
/// The clock falls to its floor over so many K above the trip point.
const THROTTLE_SPAN: f64 = 15.0;
/// Lowest clock as a share of the highest (600 of 1,500 MHz).
const SLOWEST: f64 = 0.4;
/// Dynamic power follows the clock and its voltage: the clock to this power.
const CLOCK_EXPONENT: f64 = 1.5;

/// The heat of one board.
#[derive(Clone, PartialEq, Debug)]
pub struct Board {
    /// Resistance of its heat sink against the usual one: a pad set badly, dust.
    pub build: f64,
    /// The part of the resistance that a fault adds: 1 is none.
    pub obstruction: f64,
    die: f64,
    sink: f64,
    /// What it gives to the air, W.
    heat: f64,
}

impl Board {
    /// A board at rest that is as warm as its surroundings let it be when idle.
    pub const fn idle_in(air: f64, build: f64) -> Self {
        let sink = air + IDLE_WATTS * SINK_RESISTANCE * build;
        Self { build, obstruction: 1.0, die: sink + IDLE_WATTS * DIE_RESISTANCE, sink, heat: IDLE_WATTS }
    }

    /// Temperature of the SoC, °C.
    pub const fn die(&self) -> f64 {
        self.die
    }

    /// What it gives to the air, W.
    pub const fn heat(&self) -> f64 {
        self.heat
    }

    /// The share of its full clock that it runs at.
    pub fn speed(&self) -> f64 {
        (1.0 - (self.die - TRIP) / THROTTLE_SPAN * (1.0 - SLOWEST)).clamp(SLOWEST, 1.0)
    }

    /// Watts at a load of 0 to 1; none without power.
    fn watts(&self, load: Option<f64>) -> f64 {
        let Some(load) = load else { return 0.0 };
        let dynamic = BUSY_WATTS * load.clamp(0.0, 1.0) * self.speed().powf(CLOCK_EXPONENT);
        (IDLE_WATTS + dynamic) * (1.0 + LEAKAGE * (self.die - 50.0).clamp(-30.0, 80.0))
    }

    /// One short step in air of this temperature that flows at this share of the design's flow.
    pub fn step(&mut self, seconds: f64, load: Option<f64>, air: f64, flow: f64) {
        let resistance = SINK_RESISTANCE * self.build * self.obstruction * flow.max(0.01).powf(-FLOW_EXPONENT);
        let into_sink = (self.die - self.sink) / DIE_RESISTANCE;
        let watts = self.watts(load);
        settle(&mut self.die, self.sink + watts * DIE_RESISTANCE, seconds / (DIE_RESISTANCE * DIE_CAPACITY));
        settle(&mut self.sink, air + into_sink * resistance, seconds / (resistance * SINK_CAPACITY));
        self.heat = (self.sink - air) / resistance;
    }
}

/// Moves a value towards where it settles.
pub fn settle(value: &mut f64, to: f64, time_constants: f64) {
    *value += (to - *value) * (1.0 - (-time_constants.max(0.0)).exp());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(load: Option<f64>, air: f64, flow: f64) -> Board {
        let mut board = Board::idle_in(air, 1.0);
        for _ in 0..7200 {
            board.step(1.0, load, air, flow);
        }
        board
    }

    #[test]
    fn settles_where_watts_and_resistances_say() {
        for (load, flow, rise) in [
            (None, 1.0, 0.0..0.1),
            (Some(0.0), 1.0, 14.0..17.0),
            (Some(1.0), 1.0, 37.0..42.0),
            (Some(0.0), 0.25, 25.0..30.0),
            (Some(1.0), 0.25, 62.0..70.0),
        ] {
            let board = settled(load, 25.0, flow);
            assert!(rise.contains(&(board.die() - 25.0)), "{load:?} at a flow of {flow}: {}", board.die());
        }
    }

    #[test]
    fn it_throttles_above_its_trip_point_and_then_makes_less_heat() {
        let (cool, hot) = (settled(Some(1.0), 25.0, 1.0), settled(Some(1.0), 45.0, 0.25));
        assert!((cool.speed() - 1.0).abs() < 1e-9);
        assert!(hot.speed() < 0.7 && hot.die() > TRIP, "{} at {}", hot.speed(), hot.die());
        assert!(hot.heat() < 6.4, "{}", hot.heat());
    }

    #[test]
    fn the_die_answers_in_seconds_and_the_heat_sink_in_minutes() {
        let mut board = Board::idle_in(25.0, 1.0);
        let start = board.die();
        let end = settled(Some(1.0), 25.0, 1.0).die();
        let mut after = |seconds| {
            (0..seconds).for_each(|_| board.step(1.0, Some(1.0), 25.0, 1.0));
            (board.die() - start) / (end - start)
        };
        let (quick, slow) = (after(30), after(270));
        assert!((0.3..0.6).contains(&quick) && (0.8..0.95).contains(&slow), "{quick} {slow}");
    }
}
