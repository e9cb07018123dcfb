//! What a node does next for its allocations: desired set and observations in, work and reports out.
//!
//! Pure: no clock (`now` is an argument), no I/O, no async, no randomness. The agent's shell feeds a [`Machine`] with
//! what it sees ([`Observation`]) and with desired sets, asks it for a [`Plan`], does the [`Work`] in it, and tells how
//! that went. Every decision is a value a test can compare; what executes the work holds no policy.
//!
//! ```text
//!                 spec arrives                image + layer here             first process runs,
//!                                                                            the firewall lets it through
//!   pending ───────────────────▶ preparing ─────────────────▶ starting ───────────────────────▶ running
//!                                   ▲ │ fetch failed:           ▲ │ ▲ start failed: again         │ │
//!                                   └─┘ again, backing off      │ └─┘ after a pause               │ │
//!                                                               │                                 │ │
//!              ended by itself and the policy says again        │ ◀── after 1 s, 2 s … 60 s ──────┘ │
//!                                                               │                                   │
//!                                  new epoch: stop, then start ─┤ ◀──────────── stopping ◀──────────┤ wish: stopped,
//!                                                               │                  │                │ or new epoch
//!                 wish: running again, or new epoch             │                  ▼                │
//!   failed ──────────────────────────────────────────────────▶ ─┴─◀─────────── stopped ◀────────────┘ ended with 0
//!     ▲                                                                                               under never or
//!     └── ended with another code under `never`; a command that cannot be executed                    on_failure
//!
//!   from anywhere, absent from the desired set or wish `deleted`:  delete ──▶ gone (no state; listed once as gone)
//! ```
//!
//! Snapshots are made and deleted beside all this, without a change of state; a restore is part of `stopping`.
//!
//! A desired set of an older generation is ignored. A completion that answers no work under way, an exit that is older
//! than the current start, and anything said twice change nothing.
//!
//! It does not decide what a node should run (the controller does), and does not know how a container is made.

mod backoff;
mod entry;
mod machine;
mod snapshots;
mod strain;
#[cfg(test)]
mod tests;
mod work;

pub use backoff::{BACKOFF_FIRST, BACKOFF_LONGEST, STABLE_AFTER};
pub use machine::{Changes, Machine, Plan};
pub use strain::Counters;
pub use work::{Action, FirewallInstance, FirewallPlan, Observation, Outcome, Seen, SeenState, Work};
