//! What a webhook that receives alerts is sent.

use serde::{Deserialize, Serialize};

use crate::alert::Acknowledgement;
use crate::{AlertId, AlertState, NoticeId, NoticeReason, Severity, Timestamp};

/// `type` of a message about alerts.
pub const ALERTS: &str = "roost.alerts";
/// `type` of a test message.
pub const TEST: &str = "roost.test";

/// An alert at the moment at which receivers were told of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NoticeItem {
    /// Id: the same for as long as the alert is the same.
    pub id: AlertId,
    /// Why it is told.
    pub reason: NoticeReason,
    /// `KIND/OBJECT`.
    pub key: String,
    /// Which condition.
    pub kind: String,
    /// Of which object.
    pub object: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: AlertState,
    /// What it is about, as a path of the API.
    pub subject: String,
    /// A sentence that reads alone, with its numbers.
    pub message: String,
    /// When it began.
    pub fired_at: Timestamp,
    /// When it ended.
    pub resolved_at: Option<Timestamp>,
    /// How often it has begun.
    pub fires: u32,
    /// Who has seen it.
    pub acknowledged: Option<Acknowledgement>,
}

/// The body of a webhook's request.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WebhookBody {
    /// [`ALERTS`] or [`TEST`].
    #[serde(rename = "type")]
    pub kind: String,
    /// When the message was written: the same in every attempt.
    pub timestamp: Timestamp,
    /// All of it in words, as chats show it.
    pub text: String,
    /// All of it for programs.
    pub data: NoticeData,
}

/// All of a message for programs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NoticeData {
    /// The message's id: the same in every attempt, so that one which comes twice can be told.
    pub id: NoticeId,
    /// Alerts, the worst first, at most 50.
    pub alerts: Vec<NoticeItem>,
    /// How many more alerts the message is about.
    pub more: usize,
}
