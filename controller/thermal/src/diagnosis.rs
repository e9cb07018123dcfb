//! What is wrong when a board, its neighbours and the probe at their inlet do not agree: a pure function of what they say.
//!
//! ```text
//!                     its neighbours are as expected      its neighbours too
//! hotter than its     its own fan or heat sink            the shelf's fans; the probe reads too low when it says
//! load explains                                           much less than the probes of other zones
//! as explained        hot air: the aisle, not a fan
//! colder than its     its own sensor lies                 the probe reads too high
//! load explains
//! ```

use std::fmt;

use roost_types::{MilliCelsius, ThermalState};

/// So much hotter than explained is a fault, in °C.
pub(crate) const TOO_HOT: f64 = 15.0;
/// So much colder than explained is a sensor's lie, in °C.
const TOO_COLD: f64 = -12.0;
/// Neighbours count as hotter or colder too from half of that on.
const TOO: f64 = 0.5;
/// Fewer neighbours than this tell nothing.
const ENOUGH_NEIGHBOURS: usize = 2;
/// A probe that says so much less than those of other zones is the odd one, in °C.
const ODD: f64 = 8.0;

/// A residual must be this many times the doubt to mean something.
const SURE: f64 = 2.0;

/// How much warmer than its air a board is, and how much its load explains, all in °C.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rise {
    /// By its own sensor.
    pub actual: f64,
    /// By its load and what was learned of it.
    pub explained: f64,
    /// Standard deviation of that: large for a load that was never seen.
    pub doubt: f64,
}

impl Rise {
    /// What nothing explains, in °C.
    #[must_use]
    pub fn residual(&self) -> f64 {
        self.actual - self.explained
    }
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The board's own fan, heat sink or dust.
    BoardCooling,
    /// The shelf's fans.
    ShelfCooling,
    /// The shelf's fans or the probe: there is no other zone to compare with.
    ShelfCoolingOrProbe,
    /// The air: the boards are well.
    HotAisle,
    /// The probe says less than the air has.
    ProbeLow,
    /// The probe says more than the air has.
    ProbeHigh,
    /// The board's own sensor says less than it has.
    SocSensor,
    /// The board's sensor or the probe: there is nobody to ask.
    SensorsDisagree,
}

/// A cause with its number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Diagnosis {
    /// What is wrong.
    pub cause: Cause,
    /// What nothing explains of the board's rise, in °C.
    pub residual: f64,
}

/// The air of a board's zone, as its probe tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Air {
    /// State of the zone.
    pub state: ThermalState,
    /// Its inlet.
    pub inlet: MilliCelsius,
    /// The median inlet of the other zones, if there are any.
    pub elsewhere: Option<MilliCelsius>,
}

/// What is wrong with a board of this rise in this air, given the rises of its neighbours; none when all agree. `warm`: by
/// its own sensor it is warm at least, so that a fault matters.
#[must_use]
pub fn diagnose(own: Rise, warm: bool, air: Air, neighbours: &[Rise]) -> Option<Diagnosis> {
    let residual = own.residual();
    let theirs = (neighbours.len() >= ENOUGH_NEIGHBOURS).then(|| median(neighbours));
    let hot_air = air.state >= ThermalState::Hot;
    let sure = residual.abs() > SURE * own.doubt;
    let cause = if residual > TOO_HOT && sure && warm && (!hot_air || theirs.is_some()) {
        match theirs {
            Some(theirs) if theirs > TOO * TOO_HOT => shelf(air),
            Some(_) | None => Cause::BoardCooling,
        }
    } else if residual < TOO_COLD && sure {
        match theirs {
            Some(theirs) if theirs < TOO * TOO_COLD => Cause::ProbeHigh,
            Some(_) => Cause::SocSensor,
            None => Cause::SensorsDisagree,
        }
    } else if hot_air {
        Cause::HotAisle
    } else {
        return None;
    };
    Some(Diagnosis { cause, residual })
}

/// Every board of a shelf is too hot: either nothing moves the air, or it is not what the probe says.
fn shelf(air: Air) -> Cause {
    match air.elsewhere {
        Some(elsewhere) if elsewhere.as_f64() - air.inlet.as_f64() > ODD => Cause::ProbeLow,
        Some(_) => Cause::ShelfCooling,
        None => Cause::ShelfCoolingOrProbe,
    }
}

fn median(rises: &[Rise]) -> f64 {
    let mut residuals: Vec<f64> = rises.iter().map(Rise::residual).collect();
    residuals.sort_by(f64::total_cmp);
    residuals[residuals.len() / 2]
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (more, less) = (self.residual, -self.residual);
        match self.cause {
            Cause::BoardCooling => write!(f, "{more:.1} °C hotter than its load explains: look at its fan"),
            Cause::ShelfCooling => write!(
                f,
                "{more:.1} °C hotter than its load explains, and so are its neighbours: look at the fans of its \
                 shelf"
            ),
            Cause::ShelfCoolingOrProbe => write!(
                f,
                "{more:.1} °C hotter than its load explains, and so are its neighbours: look at the fans of its shelf, or \
                 at its zone's probe"
            ),
            Cause::HotAisle => f.write_str("its air explains its heat: look at the room, not at its fan"),
            Cause::ProbeLow => write!(
                f,
                "{more:.1} °C hotter than its load explains, and so are its neighbours, while other zones are warmer: its \
                 zone's probe reads too low"
            ),
            Cause::ProbeHigh => write!(
                f,
                "{less:.1} °C colder than its load and air explain, and so are its neighbours: its zone's probe reads too \
                 high"
            ),
            Cause::SocSensor => write!(
                f,
                "{less:.1} °C colder than its load and air explain, its neighbours are not: its own sensor reads too low"
            ),
            Cause::SensorsDisagree => {
                write!(f, "{less:.1} °C colder than its load and air explain: its sensor or its zone's probe lies")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ThermalState::{Hot, Nominal};

    const fn rise(actual: f64, explained: f64) -> Rise {
        Rise { actual, explained, doubt: 1.0 }
    }

    /// Three neighbours that explain 15, 25 and 40 °C, off by so much.
    fn off_by(offset: f64) -> Vec<Rise> {
        [15.0, 25.0, 40.0].map(|explained| rise(explained + offset, explained)).to_vec()
    }

    const fn air(state: ThermalState, inlet: i32, elsewhere: Option<i32>) -> Air {
        let elsewhere = match elsewhere {
            Some(elsewhere) => Some(MilliCelsius::whole(elsewhere)),
            None => None,
        };
        Air { state, inlet: MilliCelsius::whole(inlet), elsewhere }
    }

    #[test]
    fn each_cause_is_told_from_the_others() {
        use Cause::{
            BoardCooling, HotAisle, ProbeHigh, ProbeLow, SensorsDisagree, ShelfCooling, ShelfCoolingOrProbe, SocSensor,
        };
        let (cool, hot, alone) = (air(Nominal, 24, Some(24)), air(Hot, 41, Some(40)), air(Nominal, 24, None));
        let (well, lonely) = (off_by(0.0), Vec::new());
        let strange = |actual, explained| Rise { actual, explained, doubt: 10.0 };
        for (what, own, warm, air, neighbours, cause) in [
            ("all is well", rise(27.0, 25.0), true, cool, &well, None),
            ("its fan stopped", rise(50.0, 25.0), true, cool, &well, Some(BoardCooling)),
            ("its fan stopped, and it stands alone", rise(50.0, 25.0), true, cool, &lonely, Some(BoardCooling)),
            ("it is not even warm", rise(42.0, 25.0), false, cool, &well, None),
            ("its fan stopped in a hot aisle", rise(50.0, 25.0), true, hot, &well, Some(BoardCooling)),
            ("the shelf's fans stopped", rise(45.0, 25.0), true, cool, &off_by(20.0), Some(ShelfCooling)),
            ("so they did, in the only zone", rise(45.0, 25.0), true, alone, &off_by(20.0), Some(ShelfCoolingOrProbe)),
            (
                "the probe reads 18 °C too low",
                rise(43.0, 25.0),
                true,
                air(Nominal, 20, Some(38)),
                &off_by(18.0),
                Some(ProbeLow),
            ),
            ("a hot aisle", rise(27.0, 25.0), true, hot, &well, Some(HotAisle)),
            ("a hot aisle, alone", rise(27.0, 25.0), false, hot, &lonely, Some(HotAisle)),
            ("the probe reads 20 °C too high", rise(5.0, 25.0), false, hot, &off_by(-20.0), Some(ProbeHigh)),
            ("so it does without being hot", rise(5.0, 25.0), false, cool, &off_by(-20.0), Some(ProbeHigh)),
            ("its own sensor is stuck low", rise(2.0, 25.0), false, cool, &well, Some(SocSensor)),
            ("it was never seen at this load", strange(41.0, 25.0), true, cool, &well, None),
            ("so it is not called cold either", strange(10.0, 25.0), false, cool, &well, None),
            ("but so hot no board may be", strange(50.0, 25.0), true, cool, &well, Some(BoardCooling)),
            ("one of the two lies", rise(2.0, 25.0), false, cool, &lonely, Some(SensorsDisagree)),
        ] {
            let found = diagnose(own, warm, air, neighbours);
            assert_eq!(found.map(|diagnosis| diagnosis.cause), cause, "{what}");
        }
    }

    #[test]
    fn one_odd_neighbour_does_not_change_the_verdict() {
        let mut neighbours = off_by(0.0);
        neighbours[0].actual += 40.0;
        let found = diagnose(rise(50.0, 25.0), true, air(Nominal, 24, Some(24)), &neighbours);
        assert_eq!(found.unwrap().cause, Cause::BoardCooling);
    }

    #[test]
    fn every_cause_says_where_to_look() {
        for (cause, words) in [
            (Cause::BoardCooling, "20.0 °C hotter than its load explains: look at its fan"),
            (Cause::ShelfCooling, "fans of its shelf"),
            (Cause::ShelfCoolingOrProbe, "or at its zone's probe"),
            (Cause::HotAisle, "the room, not at its fan"),
            (Cause::ProbeLow, "reads too low"),
            (Cause::ProbeHigh, "reads too high"),
            (Cause::SocSensor, "its own sensor"),
            (Cause::SensorsDisagree, "lies"),
        ] {
            let text = Diagnosis { cause, residual: 20.0 }.to_string();
            assert!(text.contains(words), "{text}");
        }
    }
}
