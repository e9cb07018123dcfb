//! An alert as it is stored.

use roost_types::{Acknowledgement, AlertId, AlertState, Severity, Timestamp};
use serde::{Deserialize, Serialize};

/// What receivers know of an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The worst severity that they were told since it began.
    pub severity: Severity,
    /// Its state as they know it.
    pub state: AlertState,
    /// When they were last told.
    pub at: Timestamp,
    /// How often they were reminded since.
    pub reminders: u32,
}

/// An alert as it is stored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AlertRow {
    /// Id.
    pub id: AlertId,
    /// `KIND/OBJECT`: one alert for each at a time.
    pub key: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: AlertState,
    /// What it is about, as a path of the API.
    pub subject: String,
    /// A sentence that reads alone, with its numbers.
    pub message: String,
    /// When it began, this time.
    pub fired_at: Timestamp,
    /// When it ended.
    pub resolved_at: Option<Timestamp>,
    /// How often it has begun.
    #[serde(default = "once")]
    pub fires: u32,
    /// When it first began; `fired_at` when not said.
    #[serde(default)]
    pub first_fired_at: Option<Timestamp>,
    /// Who has seen it.
    #[serde(default)]
    pub acknowledged: Option<Acknowledgement>,
    /// What receivers were last told; none if nothing yet.
    #[serde(default)]
    pub told: Option<Told>,
}

const fn once() -> u32 {
    1
}

impl AlertRow {
    /// One that fires for the first time.
    #[must_use]
    pub fn new(id: AlertId, key: &str, severity: Severity, subject: &str, message: &str, now: Timestamp) -> Self {
        Self {
            id,
            key: key.to_owned(),
            severity,
            state: AlertState::Firing,
            subject: subject.to_owned(),
            message: message.to_owned(),
            fired_at: now,
            resolved_at: None,
            fires: 1,
            first_fired_at: Some(now),
            acknowledged: None,
            told: None,
        }
    }

    /// Condition and object, the two parts of its key.
    #[must_use]
    pub fn kind_and_object(&self) -> (&str, &str) {
        self.key.split_once('/').unwrap_or((&self.key, ""))
    }
}
