//! The cluster as one value, and every decision about it as a pure function.
//!
//! ```text
//!  command ──▶ decide(&Cluster, &Command, &Context) ──▶ Decision { changes, reply, cluster }
//!                        │                                   │         │        └ the state the next command sees
//!                        └ no clock, no I/O, no randomness   │         └ what the caller is told
//!                                                            └ rows to make durable, in order
//! ```
//!
//! The shell (crate `roost-controller`) owns the one `Cluster`, runs commands one after the other on a speculative copy,
//! makes the changes of all that waited durable in one transaction, and only then answers. Copies are cheap: every
//! collection is a persistent map.
//!
//! What is not durable lives in the `Cluster` too and is simply absent after a restart: who was last heard when, what
//! the probes say, how hot things are. That is why an idle cluster writes nothing.
//!
//! Find your way: `command` (what can be asked), `decide/` (one file per noun), `reconcile` (the life of an instance),
//! `snapshots` (the life of its snapshots), `swarm` (which node fetches an image from which), `place` (asking the
//! scheduler), `features` (what a node can), `drain` (emptying nodes), `critical` (what stops first), `actions` (done, or
//! proposed), `alerts` (what a
//! person must know, and who is told), `cooling` (fans), `relays` (power), `names` (what names mean on a node), `view` (what the API shows).

mod actions;
mod alerts;
mod brake;
mod cluster;
mod command;
mod config;
mod cooling;
mod critical;
mod decide;
mod draft;
mod drain;
pub mod features;
mod names;
mod place;
mod read;
mod reconcile;
mod relays;
mod row;
mod snapshots;
mod swarm;
mod validate;
pub mod view;

pub use alerts::{AlertReceiver, AlertRow, AlertTimes, NoticeRow, Outcome, Told};
pub use cluster::{Cluster, HubLive, NodeLive};
pub use command::{Command, Context, FanValues, HubNews, Idempotency, ProbeValues, RelayValues, Reply};
pub use config::{Config, InstanceNetwork};
pub use cooling::{FanLive, HubWish};
pub use decide::{Decision, decide};
pub use relays::RelayLive;
pub use row::{AllocationRow, Change, FirstBootRow, Halt, InstanceRow, Kind, MetaRow, Move, NodeRow, Row, Source};
pub use swarm::Supply;
