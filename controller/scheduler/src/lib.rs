//! Which node an instance goes to, and why: a pure function of a snapshot and a request.
//!
//! ```text
//! candidates ─▶ filters (hard, first that applies) ─▶ scores (0..1 each, weighted) ─▶ best, ties by name
//!                      │                                    │
//!                      └─ every node that fell out: which   └─ every score of the best, shown
//!                         filter, with its numbers
//! ```
//!
//! Not here: where the numbers of a candidate come from, and reserving what was chosen.

mod candidate;
mod explain;
mod filter;
mod refusal;
mod score;

pub use candidate::{Candidate, Heat, Request};
pub use explain::{Decision, Ranked, TooLarge, decide, fits_anywhere, schedule};
pub use filter::{collide, filter};
pub use refusal::Refusal;
pub use score::{Scores, score};
