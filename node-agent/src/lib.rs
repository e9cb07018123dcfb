//! The agent of a Roost node: it asks the controller what this board should run, runs it, and tells what it sees.
//!
//! The board dials out and opens no port but that for images ([`images::server`]). What to do next is decided by `roost_allocation`, which is pure; this crate is
//! the shell around it.
//!
//! | to find | look at |
//! |---|---|
//! | the loop that ties it together | [`agent`] |
//! | the conversation with the controller | [`sync`], [`outbox`] |
//! | doing planned work | [`executor`] |
//! | images, layers, snapshots | [`images`], [`layers`] |
//! | whose a layer's files are | `owners` |
//! | files inside a root, trees as archives | [`files`], [`trees`] |
//! | user data | `first_boot` |
//! | published ports, isolation | [`firewall`] |
//! | names | [`names`] |
//! | what somebody changed in the network | [`network`], [`repair`] |
//! | exec, logs, files | [`streams`] |
//! | containers | [`runtime`] |

pub mod agent;
mod cgroup;
pub mod cli;

mod clock;
pub mod config;
pub mod controller;
pub mod errors;
pub mod executor;
pub mod facts;
pub mod files;
pub mod firewall;
mod first_boot;
pub mod images;
pub mod layers;
pub mod names;
pub mod network;
mod node;

pub mod outbox;
mod owners;
mod random;
pub mod repair;
mod resolv_conf;
pub mod runtime;
pub mod store;
pub mod streams;
pub mod sync;
#[cfg(test)]
mod testing;
pub mod trees;
pub mod vitals;
