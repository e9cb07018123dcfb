//! The controller: REST API, dashboard, agents' side, sensors and store around the pure `roost-model`.
//!
//! ```text
//!  api ─────┐                        ┌─▶ store (SQLite)
//!  agents ──┼──▶ core (one owner) ───┤
//!  sensors ─┘        │ decide, load  └─▶ snapshots, events, wakes
//!                    ▼
//!               roost-model (pure)
//! ```
//!
//! Find your way: `run` (what starts and stops in which order), `core` (group commit), `store` (SQL), `api/router`
//! (every public route), `agents` (what nodes call), `sensors` (serial lines), `images` (files), `alerts` (telling people),
//! `power`, `dev`.

mod agents;
mod alerts;
mod api;
pub mod cli;
mod clock;
mod config;
mod core;
mod credentials;
mod dev;
mod feed;
mod images;
mod power;
mod random;
pub mod run;
mod sensors;
mod server;
mod state;
mod store;
#[cfg(test)]
mod testing;

pub use api::document;
