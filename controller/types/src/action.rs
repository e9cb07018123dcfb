//! Actions against heat: what the controller does by itself, or, where a person decides, proposes.

use serde::{Deserialize, Serialize};

use crate::{ActionId, Timestamp};

/// Who decides on actions against heat; `mode` in `rack.yaml`. Fans are always driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ActingMode {
    /// The controller acts.
    #[default]
    Act,
    /// The controller proposes each action, and acts when a person approves it.
    Recommend,
}

impl ActingMode {
    /// The controller acts by itself.
    #[must_use]
    pub const fn is_act(&self) -> bool {
        matches!(self, Self::Act)
    }
}

/// What is proposed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ActionKind {
    /// An instance goes to a cooler node.
    Move,
    /// An instance is halted until its node has cooled.
    Halt,
    /// A node's power is cut.
    CutPower,
}

/// An action that waits for a person, as the API shows it. It vanishes when it is approved, and when it is no longer of use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Action {
    /// Id.
    pub id: ActionId,
    /// What is proposed.
    pub kind: ActionKind,
    /// What it is done to: `/v1/instances/web`, `/v1/nodes/n01`.
    pub subject: String,
    /// A sentence that reads alone, with the numbers it was proposed for.
    pub message: String,
    /// Since when.
    pub proposed_at: Timestamp,
}
