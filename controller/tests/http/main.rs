//! The controller over real HTTP: the real binary, its public surface, nothing else.

mod actions;
mod agents;
mod alerts;
mod bad_input;
mod contract;
mod dashboard;
mod durability;
mod events;
mod hubs;
mod inbox;
mod lists;
mod rig;
