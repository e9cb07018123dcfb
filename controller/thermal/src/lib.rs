//! How hot a zone and a node are, as a pure state machine: readings in, thermal states and estimates out.
//!
//! ```text
//! readings ─▶ ZoneHeat (inlet scale) ─┐
//!                                     ├─▶ NodeHeat: worse of the two scales, estimate, prediction, diagnosis
//! vitals   ─▶ NodeHeat (SoC scale) ───┘
//! both     ─▶ FanControl: how hard the zone's fans are driven
//!
//!          value ≥ limit: at once                     value < limit − hysteresis for `dwell`
//! nominal ──────────────▶ warm ─▶ hot ─▶ critical ──────────────▶ one level lower
//!    any ── no reading newer than `lost_after` ──▶ unknown ── reading ──▶ where it was, or worse
//! ```
//!
//! Owned here: the limits in force, hysteresis and dwell, what stale and missing data mean, the heating of a board by
//! its own load (learned), the dew point, and the sentence that explains each state. A stale value is taken at its
//! worst case (it has been rising at full slew since), missing data is `unknown`, and `unknown` is never cool.
//!
//! Not here: clocks (`now` is an argument), the mapping of probes to zones, and anything that acts on heat.

mod board;
mod dew;
mod diagnosis;
mod fan;
mod forecast;
mod level;
mod node;
mod policy;
mod trend;
mod zone;

pub use board::BoardModel;
pub use dew::dew_point;
pub use diagnosis::{Air, Cause, Diagnosis, Rise, diagnose};
pub use fan::{Alarm, FULL, FanControl, FanPolicy, Need};
pub use node::{Around, Monitoring, NodeHeat};
pub use policy::{Policy, Scale, TripOffsets};
pub use zone::{ProbeValue, ZoneHeat};

use roost_types::ThermalState;

/// A change of a thermal state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// The state it left.
    pub from: ThermalState,
    /// The state it entered; never the same.
    pub to: ThermalState,
    /// Why, with the numbers of that moment.
    pub reason: String,
}
