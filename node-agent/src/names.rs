//! Names on the instance network: a small DNS answerer for the instances of this node.
//!
//! It listens on the bridge's own address only, and only to instances whose source address is pinned there. What it
//! knows by itself are the instances of the asker's project over the whole rack; everything else it passes to the
//! board's own resolvers and back, unread.
//!
//! ```text
//!   question ─▶ message: whole and well formed? ─▶ directory: ours? ─┬▶ answer
//!                                                                    └▶ upstream: the board's resolvers ─▶ relayed
//! ```
//!
//! | asked | answered |
//! |---|---|
//! | `NAME`, `NAME.PROJECT`, `NAME.PROJECT.roost.internal` of the asker's project | its address |
//! | another name below `roost.internal`, another name of one label | no such name |
//! | an address of the instance network | `NAME.PROJECT.roost.internal`, if of the asker's project |
//! | anything else | what the board's resolvers say |
//!
//! Everything is bounded: sizes, questions and connections at once and of one instance, and time.

mod directory;
mod kept;
mod message;
mod server;
mod turns;
mod upstream;

pub use kept::Kept;
pub use server::{Plans, serve};

#[cfg(test)]
mod tests;
