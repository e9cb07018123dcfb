//! Alerts: a condition that a person should know of, for as long as it lasts.

use serde::{Deserialize, Serialize};

use crate::{AlertId, Timestamp};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Severity {
    /// Someone should look today.
    Warning,
    /// Someone must act now.
    Critical,
}

/// Where it is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AlertState {
    /// The condition holds.
    Firing,
    /// It holds and a person has seen it.
    Acknowledged,
    /// It is over.
    Resolved,
}

/// An alert as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alert {
    /// Id.
    pub id: AlertId,
    /// The same condition on the same subject has the same key.
    pub key: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: AlertState,
    /// What it is about: `/v1/nodes/n01`, `/v1/rack/zones/shelf-1`.
    pub subject: String,
    /// A sentence that reads alone, with its numbers.
    pub message: String,
    /// When it began.
    pub fired_at: Timestamp,
    /// When it ended.
    pub resolved_at: Option<Timestamp>,
}
