//! The real firmware in simavr, with simulated chips, fans and relays, read and commanded over its pty with this crate.
//!
//! Needs avr-gcc, the Arduino core and simavr. Where they are missing this says so and passes, except when `CI=true`.

mod chips;
mod fits;
mod outputs;
mod rig;
