//! Real containers on Linux.
//!
//! Two processes share the work: the agent (tokio) is the brain and talks to the keeper through [`LinuxRuntime`]; the
//! [`keeper`] is the hands. How a container comes to be:
//!
//! ```text
//! client ── wire ──▶ keeper ─ plan (pure: what it shall be)
//!                      ├─ image_mounts, overlay, userns   its root: one shared image under a layer of its own (shells
//!                      │                                  between them where the kernel does not map ids)
//!                      ├─ cgroup                          its limits
//!                      ├─ netlink, bridge                 its cable, the node's network
//!                      └─ clone3 ─▶ child ─ mounts, caps, seccomp ─▶ init (app) or the image's own init (system)
//! ```
//! Everything that must survive is in `STATE/instances/<allocation id>` (`state`, `logs`); everything that must not is in
//! the run directory or belongs to a process.

mod bridge;
mod caps;
mod cgroup;
mod child;
mod client;
mod command;
mod connection;
mod console;
mod container;
mod dev;
mod exec;
mod execs;
mod facilities;
mod features;
mod files;
mod first_boot;
mod holder;
mod identity;
mod image_mounts;
mod init;
mod keeper;
mod logs;
mod mounts;
mod netlink;
mod overlay;
mod plan;
mod quota;
mod seccomp;
mod shells;
mod startup;
mod state;
mod sys;
mod terminal;
mod transit;
mod usage;
mod userns;
mod wire;

pub use client::LinuxRuntime;
pub use connection::LinuxConfig;
pub use facilities::{Facility, UnknownFacility};
pub use features::{cgroup_mode, lan_feature, probe};
pub use netlink::BRIDGE;
pub use plan::{mac, veth_name};
pub use startup::main as keeper_main;
