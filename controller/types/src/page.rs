//! One page of a list.

use serde::{Deserialize, Serialize};

/// The most items a page may have.
pub const MAX_LIMIT: usize = 1000;
/// The items of a page when the caller names no limit.
pub const DEFAULT_LIMIT: usize = 100;

/// One page of a list and where the next begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items, ordered by creation.
    pub items: Vec<T>,
    /// Hand this back as `cursor` for the next page; absent on the last.
    pub next_cursor: Option<String>,
}
