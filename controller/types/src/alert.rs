//! Alerts: a condition that a person should know of, for as long as it lasts, and who was told of it.

use serde::{Deserialize, Serialize};

use crate::{AlertId, Name, NoticeId, Timestamp};

/// Longest name of who acknowledges, in characters.
pub const MAX_BY: usize = 64;
/// Longest comment of who acknowledges, in characters.
pub const MAX_COMMENT: usize = 500;

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
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

impl Severity {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl AlertState {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// That a person has seen it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Acknowledgement {
    /// When.
    pub at: Timestamp,
    /// Who, as they call themselves.
    pub by: Option<String>,
    /// What they say.
    pub comment: Option<String>,
}

/// The body of an acknowledgement; may be left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcknowledgeAlert {
    /// Who acknowledges, at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What others should know, at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Why a receiver is told of an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NoticeReason {
    /// It fires.
    Fired,
    /// It fires and has become worse.
    Worsened,
    /// It still fires and nobody has acknowledged it.
    Reminder,
    /// A person has seen it.
    Acknowledged,
    /// It is over.
    Resolved,
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DeliveryState {
    /// It is still to be sent, for the first time or again.
    Waiting,
    /// The receiver took it.
    Sent,
    /// It was given up.
    Failed,
}

/// A message about an alert to one receiver.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delivery {
    /// The message; it may tell of other alerts too.
    pub notice: NoticeId,
    /// To whom, as `alerts.yaml` names it.
    pub receiver: Name,
    /// Why it was told.
    pub reason: NoticeReason,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was sent or given up.
    pub ended_at: Option<Timestamp>,
    /// When it is tried next, while it waits.
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// An alert as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alert {
    /// Id.
    pub id: AlertId,
    /// The same condition of the same object has the same key: `KIND/OBJECT`.
    pub key: String,
    /// Which condition: `heat`, `zone`, `node`, `hub`, `power`, …
    #[serde(default)]
    pub kind: String,
    /// Of which object: the name of a node, zone, hub, …
    #[serde(default)]
    pub object: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: AlertState,
    /// What it is about: `/v1/nodes/n01`, `/v1/rack/zones/shelf-1`.
    pub subject: String,
    /// A sentence that reads alone, with its numbers.
    pub message: String,
    /// When it began, this time.
    pub fired_at: Timestamp,
    /// When it ended.
    pub resolved_at: Option<Timestamp>,
    /// How often it has begun since `first_fired_at`: more than once when it comes and goes.
    #[serde(default)]
    pub fires: u32,
    /// When it first began.
    #[serde(default)]
    pub first_fired_at: Timestamp,
    /// Who has seen it.
    #[serde(default)]
    pub acknowledged: Option<Acknowledgement>,
    /// The last messages about it, newest first.
    #[serde(default)]
    pub deliveries: Vec<Delivery>,
}

/// Asks for a test message to the receivers of alerts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TestAlerts {
    /// To this receiver only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Name>,
}

/// What became of a test message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TestResult {
    /// To whom.
    pub receiver: Name,
    /// Whether the receiver took it.
    pub delivered: bool,
    /// What the receiver, or the way to it, said.
    pub detail: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// What became of the test messages, one for each receiver that was asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TestResults {
    /// In the order of `alerts.yaml`.
    pub items: Vec<TestResult>,
}
