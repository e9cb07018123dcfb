//! The public REST API: one file per resource, every route on one screen in `router`.
//!
//! Handlers read the published snapshot or submit a command; they hold no state and no policy.

mod actions;
mod alerts;
pub mod auth;
mod console;
mod dashboard;
mod dev;
mod events;
mod exec;
pub mod extract;
mod files;
mod images;
mod instances;
mod logs;
mod metrics;
mod nodes;
mod openapi;
mod operations;
mod paging;
mod placements;
pub mod problem;
mod rack;
pub mod router;
mod service;
mod session;
mod snapshots;
mod stats;
mod unread;
mod wait;

pub use openapi::document;
