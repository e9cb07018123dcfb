//! Heat trials: the same rack, the same work and the same faults under different policies.
//!
//! ```text
//!            jobs (seeded) ─────────────┐
//!                                       ▼
//!  rack simulator ── what sensors say ─▶ policy ── start, stop ─▶ boards ── loads ─▶ rack simulator
//!        ▲                                                                                │
//!        └──────────────────────── faults at set times ◀──────── truth ─▶ score ◀─────────┘
//! ```
//!
//! Roost's policy is the real one: `roost-model` with its thermal states, scheduler and drains, driven by commands as the
//! controller drives it, and believed only through what a board would report. The others are rules of the field, with the
//! same boards, the same room for instances and the same cost of a move. The score is taken from the simulator's truth, never
//! from what a policy believes. Everything follows from the seed.
//!
//! Not here: any physics (`roost-heat-model`) and any decision of Roost's.

mod boards;
mod jobs;
mod policy;
mod report;
mod score;
mod trial;

pub use policy::Kind;
pub use report::{Cell, compare, table};
pub use score::Score;
pub use trial::{Fault, Setup, run};
