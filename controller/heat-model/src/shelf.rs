//! One shelf: its fans, the air they move, and what that air brings and carries away.

use crate::board::settle;

/// Fans of a shelf.
pub const FANS: usize = 2;
/// What both fans at full duty move, against the design's flow.
const FULL_FLOW: f64 = 1.5;
/// What still moves when no fan turns: warm air rises and the neighbours' fans draw a little.
const DRAUGHT: f64 = 0.25;
/// The design's flow for one board, m³/s: 1.3 CFM, so that 6.4 W warm its air by 9 K.
const DESIGN_FLOW: f64 = 0.000_6;
/// Heat capacity of air at 25 °C, J/(m³·K).
const AIR: f64 = 1_180.0;
/// Share of the exhaust of the shelf below in what a shelf breathes.
const FROM_BELOW: f64 = 0.15;
/// Share of its own exhaust that a shelf breathes again.
const OWN: f64 = 0.08;
/// Both shares grow by this factor when the shelf's fans stand still: nothing draws fresh air in.
const STILL_FACTOR: f64 = 2.5;
/// Time constant of the air and metal of a shelf at the design's flow, s.
const SECONDS: f64 = 20.0;
/// Time constant of what comes in, s.
const INLET_SECONDS: f64 = 10.0;

/// Drive of the fans that gives the design's flow.
pub const DESIGN_DUTY: f64 = (1.0 - DRAUGHT) / FULL_FLOW;

/// The air of one shelf.
#[derive(Clone, PartialEq, Debug)]
pub struct Shelf {
    /// Duty of its fans, 0 to 1.
    pub duty: f64,
    /// Fans that do not turn whatever their duty.
    pub broken: usize,
    /// Boards that share the flow.
    boards: f64,
    inlet: f64,
    exhaust: f64,
}

impl Shelf {
    /// A shelf in air of this temperature whose fans give the design's flow.
    pub fn new(boards: usize, air: f64) -> Self {
        let boards = f64::from(u32::try_from(boards.max(1)).unwrap_or(u32::MAX));
        Self { duty: DESIGN_DUTY, broken: 0, boards, inlet: air, exhaust: air }
    }

    /// The flow against the design's.
    pub fn flow(&self) -> f64 {
        DRAUGHT + FULL_FLOW * self.duty.clamp(0.0, 1.0) * self.turning()
    }

    /// Share of its fans that turn.
    fn turning(&self) -> f64 {
        let turning = u32::try_from(FANS.saturating_sub(self.broken)).unwrap_or(0);
        f64::from(turning) / 2.0
    }

    /// Temperature of what it breathes, °C.
    pub const fn inlet(&self) -> f64 {
        self.inlet
    }

    /// Temperature of what it blows out, °C.
    pub const fn exhaust(&self) -> f64 {
        self.exhaust
    }

    /// How much warmer so many watts make the air of one of its boards, K.
    pub fn rise(&self, watts: f64) -> f64 {
        watts / (AIR * DESIGN_FLOW * self.flow())
    }

    /// One short step: the room, the exhaust of the shelf below, the watts of all its boards, and a held inlet.
    pub fn step(&mut self, seconds: f64, room: f64, below: Option<f64>, watts: f64, held: Option<f64>) {
        let still = self.duty <= 0.0 || self.broken >= FANS;
        let factor = if still { STILL_FACTOR } else { 1.0 };
        let from_below = below.map_or(0.0, |below| FROM_BELOW * (below - room));
        let breathed = room + factor * (from_below + OWN * (self.exhaust - room));
        match held {
            Some(held) => self.inlet = held,
            None => settle(&mut self.inlet, breathed, seconds / INLET_SECONDS),
        }
        let blown = self.inlet + self.rise(watts / self.boards);
        let time_constants = seconds * self.flow() / SECONDS;
        settle(&mut self.exhaust, blown, time_constants);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(broken: usize, below: Option<f64>, watts: f64) -> Shelf {
        let mut shelf = Shelf::new(4, 24.0);
        shelf.broken = broken;
        for _ in 0..3600 {
            shelf.step(1.0, 24.0, below, watts, None);
        }
        shelf
    }

    #[test]
    fn the_air_balances_heat_and_flow() {
        // 4 boards of 6.4 W at the design's flow: 9.04 K over the inlet, of which 8 % come back.
        let well = settled(0, None, 25.6);
        assert!((well.flow() - 1.0).abs() < 1e-9);
        assert!((well.exhaust() - well.inlet() - 9.04).abs() < 0.02, "{well:?}");
        assert!((well.inlet() - 24.0 - 0.08 * (well.exhaust() - 24.0)).abs() < 0.01, "{well:?}");
        assert!((settled(0, Some(34.0), 25.6).inlet() - well.inlet() - 1.63).abs() < 0.02);
        assert!((settled(0, None, 0.0).exhaust() - 24.0).abs() < 0.01);
    }

    #[test]
    fn without_fans_little_flows_and_much_comes_back() {
        let (well, half, still) = (settled(0, None, 25.6), settled(1, None, 25.6), settled(2, None, 25.6));
        assert!((half.flow() - 0.625).abs() < 1e-9 && (still.flow() - 0.25).abs() < 1e-9);
        assert!(half.exhaust() > well.exhaust() + 4.0);
        assert!(still.exhaust() - still.inlet() > 30.0 && still.inlet() > well.inlet() + 5.0, "{still:?}");
    }
}
