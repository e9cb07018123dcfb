//! allocation.
