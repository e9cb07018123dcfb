//! The air of a rack, first order: each shelf's inlet settles at the room's temperature plus what the shelf below blows
//! up, each SoC at its inlet plus what its work makes. Pure: time is an argument.
//!
//! `roost dev` feeds the simulated sensor chips and the boards' thermal zones from it. The constants are of a Pi-class
//! board without a heat sink in slowly moving air; time constants are shortened, so that a person sees it move.

/// The room, °C.
const ROOM: f64 = 22.0;
/// Relative humidity of the room, percent.
const ROOM_HUMIDITY: f64 = 45.0;
/// A full load on every board of the shelf below warms an inlet by this, K.
const FROM_BELOW: f64 = 3.0;
/// An idle SoC is warmer than its inlet by this, K.
const IDLE_RISE: f64 = 18.0;
/// A busy SoC is warmer than an idle one by this, K.
const BUSY_RISE: f64 = 28.0;
/// Time constant of an inlet, seconds.
const AIR_SECONDS: f64 = 20.0;
/// Time constant of an SoC, seconds.
const SOC_SECONDS: f64 = 12.0;

/// What a person holds at an inlet.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hold {
    /// Temperature in °C.
    pub celsius: Option<f64>,
    /// Relative humidity in percent.
    pub humidity: Option<f64>,
}

/// The state of the air.
#[derive(Clone, PartialEq, Debug)]
pub struct Air {
    inlets: Vec<f64>,
    holds: Vec<Option<Hold>>,
    socs: Vec<f64>,
    shelf_of: Vec<usize>,
}

impl Air {
    /// Settled air: so many shelves, and the shelf of each board.
    #[must_use]
    pub fn new(shelves: usize, shelf_of: Vec<usize>) -> Self {
        let socs = vec![ROOM + IDLE_RISE; shelf_of.len()];
        Self { inlets: vec![ROOM; shelves], holds: vec![None; shelves], socs, shelf_of }
    }

    /// Holds an inlet, or lets it go.
    pub fn hold(&mut self, shelf: usize, hold: Option<Hold>) {
        self.holds[shelf] = hold;
    }

    /// Temperature of an inlet, °C.
    #[must_use]
    pub fn inlet(&self, shelf: usize) -> f64 {
        self.inlets[shelf]
    }

    /// Temperature of a board's SoC, °C.
    #[must_use]
    pub fn soc(&self, board: usize) -> f64 {
        self.socs[board]
    }

    /// Relative humidity of an inlet, percent: warmer air with the same water is drier.
    #[must_use]
    pub fn humidity(&self, shelf: usize) -> f64 {
        let held = self.holds[shelf].and_then(|hold| hold.humidity);
        held.unwrap_or_else(|| (ROOM_HUMIDITY * saturation(ROOM) / saturation(self.inlets[shelf])).clamp(0.0, 100.0))
    }

    /// Lets time pass. `loads` is the busy share of each board, none where the power is off.
    pub fn step(&mut self, seconds: f64, loads: &[Option<f64>]) {
        let below: Vec<f64> = (0..self.inlets.len()).map(|shelf| self.mean_load(shelf, loads)).collect();
        for shelf in 0..self.inlets.len() {
            let warmed = shelf.checked_sub(1).map_or(0.0, |lower| below[lower] * FROM_BELOW);
            match self.holds[shelf].and_then(|hold| hold.celsius) {
                Some(held) => self.inlets[shelf] = held,
                None => settle(&mut self.inlets[shelf], ROOM + warmed, seconds / AIR_SECONDS),
            }
        }
        for (board, soc) in self.socs.iter_mut().enumerate() {
            let rise = loads[board].map_or(0.0, |load| IDLE_RISE + BUSY_RISE * load);
            settle(soc, self.inlets[self.shelf_of[board]] + rise, seconds / SOC_SECONDS);
        }
    }

    fn mean_load(&self, shelf: usize, loads: &[Option<f64>]) -> f64 {
        let on_shelf = || self.shelf_of.iter().zip(loads).filter(|(of, _)| **of == shelf);
        let count = u32::try_from(on_shelf().count()).unwrap_or(u32::MAX).max(1);
        on_shelf().filter_map(|(_, load)| *load).sum::<f64>() / f64::from(count)
    }
}

/// Moves a value towards where it settles.
fn settle(value: &mut f64, to: f64, time_constants: f64) {
    *value += (to - *value) * (1.0 - (-time_constants.max(0.0)).exp());
}

/// Saturation vapour pressure over water, hPa (Magnus).
fn saturation(celsius: f64) -> f64 {
    6.112 * (17.62 * celsius / (243.12 + celsius)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(hold: Option<f64>, loads: [Option<f64>; 2]) -> Air {
        let mut air = Air::new(2, vec![0, 1]);
        air.hold(0, hold.map(|t| Hold { celsius: Some(t), humidity: None }));
        for _ in 0..1000 {
            air.step(0.5, &loads);
        }
        air
    }

    #[test]
    fn settles_where_physics_says() {
        for (hold, loads, inlets, socs) in [
            (None, [Some(0.0), Some(0.0)], [22.0, 22.0], [40.0, 40.0]),
            (None, [Some(1.0), Some(0.0)], [22.0, 25.0], [68.0, 43.0]),
            (Some(41.0), [Some(0.5), None], [41.0, 23.5], [73.0, 23.5]),
        ] {
            let air = settled(hold, loads);
            for n in 0..2 {
                assert!((air.inlet(n) - inlets[n]).abs() < 0.01, "inlet {n} of {loads:?}: {}", air.inlet(n));
                assert!((air.soc(n) - socs[n]).abs() < 0.01, "soc {n} of {loads:?}: {}", air.soc(n));
            }
        }
    }

    #[test]
    fn one_long_step_is_many_short_ones_and_warm_air_is_drier() {
        let (mut long, mut short) = (Air::new(1, vec![0]), Air::new(1, vec![0]));
        long.step(10.0, &[Some(1.0)]);
        for _ in 0..20 {
            short.step(0.5, &[Some(1.0)]);
        }
        assert!((long.soc(0) - short.soc(0)).abs() < 1e-9);
        let hot = settled(Some(41.0), [Some(0.0); 2]);
        assert!((hot.humidity(1) - 45.0).abs() < 0.01 && hot.humidity(0) < 20.0);
    }
}
