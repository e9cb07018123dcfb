//! The agent of a Roost node.

pub mod runtime;
