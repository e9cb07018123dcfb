//! thermal.
