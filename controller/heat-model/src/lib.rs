//! A rack simulator: air, fans, boards and their sensors, with real time constants. Pure: time and seed are arguments.
//!
//! ```text
//!            room ──────────┐ (room temperature, water in the air)
//!                           ▼
//!  exhaust below ─▶ inlet of a shelf ─▶ boards side by side ─▶ exhaust ─▶ back to the room
//!                     ▲         heat = watts ÷ (flow · ρ · cp)     │
//!                     └──────── recirculation ◀────────────────────┘ (more when the shelf's fans stand still)
//!
//!  watts ─▶ die ─R─▶ heat sink ─R(flow)─▶ air beside it        (two masses: seconds, minutes)
//!    ▲        └ above its trip point it throttles ┐
//!    └────────────────────────────────────────────┘
//! ```
//!
//! `roost dev` feeds simulated sensor chips and boards from it, with the clock made faster; the heat trials compare
//! policies on it. The constants are those of a Pi-class board with a small heat sink on a shelf with two small fans;
//! each names where it comes from. They are not to be changed to make a policy look good.
//!
//! Not here: what runs on the boards (loads are arguments), and every decision.

mod board;
mod rack;
mod random;
mod sensor;
mod shelf;

pub use board::TRIP;
pub use rack::{Hold, Rack};
pub use random::Random;
pub use sensor::{Lie, Sensor};
pub use shelf::{DESIGN_DUTY, FANS};
