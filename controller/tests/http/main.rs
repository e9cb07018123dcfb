//! The controller over real HTTP: the real binary, its public surface, nothing else.

mod actions;
mod agents;
mod bad_input;
mod contract;
mod dashboard;
mod durability;
mod events;
mod hubs;
mod lists;
mod rig;
