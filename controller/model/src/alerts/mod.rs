//! Alerts: the one owner of their state, and of who has to be told.
//!
//! ```text
//!                 fire                       resolve, quiet for long: a later fire is another alert
//!     (none) ───────────▶ firing ───────────▶ resolved
//!                          │  ▲ ▲                │
//!              acknowledge │  │ └────────────────┘ fire, soon after: the same alert again
//!                          ▼  │ worse
//!                      acknowledged
//!
//!  what is true (the row) ≠ what receivers were told (`told`) ──▶ due ──▶ a notice per receiver ──▶ outbox
//! ```
//!
//! Every transition is stored in the transaction of what caused it, and `told` is stored with the notices in theirs: a
//! controller that dies between the two finds the difference again, so nothing is forgotten and nothing is told twice.
//!
//! Find your way: `row` (what is stored), `life` (transitions), `telling` (what is due, and in which message), `outbox`
//! (messages on their way), `times` (every interval), `shown` (what the API shows). The shell sends; it decides nothing.

#[cfg(test)]
mod desk;
mod life;
mod outbox;
mod row;
mod shown;
mod telling;
mod times;

use roost_types::alert::{MAX_BY, MAX_COMMENT};
use roost_types::{AcknowledgeAlert, Acknowledgement, AlertId, AlertState, Code, EventKind, Problem, Severity};

pub use outbox::{NoticeRow, Outcome, abandon, finish};
pub use row::{AlertRow, Told};
pub use telling::{Telling, step};
pub use times::{AlertReceiver, AlertTimes};

use crate::cluster::not_found;
use crate::command::Reply;
use crate::draft::Draft;
use crate::row::Row;

impl Draft {
    /// Fires the alert of a condition. `key` is `KIND/OBJECT`: what fires already stays the same alert, and takes over
    /// another severity with its message.
    pub(crate) fn fire(&mut self, key: &str, severity: Severity, subject: &str, message: &str) {
        let times = self.cluster.config.alert_times;
        let known = self.cluster.last_alert(key).filter(|row| life::goes_on(row, &times, self.now));
        let Some(mut row) = known.map(|row| AlertRow::clone(row)) else {
            let id = self.alert_id();
            self.put(Row::Alert(AlertRow::new(id, key, severity, subject, message, self.now)));
            self.event(EventKind::AlertFired, subject, format!("alert: {message}"));
            return;
        };
        let Some(change) = life::fire(&mut row, severity, message, &times, self.now) else { return };
        subject.clone_into(&mut row.subject);
        let (kind, text) = match change {
            life::Fired::Again => (EventKind::AlertFired, format!("alert, {} times by now: {message}", row.fires)),
            life::Fired::Worse => (EventKind::AlertChanged, format!("alert, critical now: {message}")),
            life::Fired::Better => (EventKind::AlertChanged, format!("alert, less severe now: {message}")),
        };
        self.put(Row::Alert(row));
        self.event(kind, subject, text);
    }

    /// Says of an alert that fires what is true of it now, without an event.
    pub(crate) fn amend(&mut self, key: &str, message: &str) {
        let open = self.cluster.open_alert(key).filter(|row| row.message != message);
        if let Some(mut row) = open.map(|row| AlertRow::clone(row)) {
            message.clone_into(&mut row.message);
            self.put(Row::Alert(row));
        }
    }

    /// Resolves the alert of a condition if it fires.
    pub(crate) fn resolve(&mut self, key: &str) {
        let Some(row) = self.cluster.open_alert(key) else { return };
        let mut row = AlertRow::clone(row);
        life::resolve(&mut row, self.now);
        let (subject, message) = (row.subject.clone(), format!("resolved: {}", row.message));
        self.put(Row::Alert(row));
        self.event(EventKind::AlertResolved, subject, message);
    }
}

/// A person has seen an alert, named by its id or, while it fires, by its key.
///
/// # Errors
/// `not_found`; `invalid_field` for a name or comment that is too long.
pub fn acknowledge(draft: &mut Draft, reference: &str, said: &AcknowledgeAlert) -> Result<Reply, Problem> {
    let row = draft.cluster.find_alert(reference)?;
    let said = Acknowledgement {
        at: draft.now,
        by: said_in("by", said.by.as_deref(), MAX_BY)?,
        comment: said_in("comment", said.comment.as_deref(), MAX_COMMENT)?,
    };
    let id = row.id;
    if row.state == AlertState::Firing {
        let mut row = AlertRow::clone(row);
        let by = said.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let comment = said.comment.as_ref().map(|comment| format!(" ({comment})")).unwrap_or_default();
        let (subject, message) = (row.subject.clone(), format!("alert seen{by}{comment}: {}", row.message));
        life::acknowledge(&mut row, said);
        draft.put(Row::Alert(row));
        draft.event(EventKind::AlertAcknowledged, subject, message);
    }
    Ok(Reply::Alert(id))
}

/// A person's words on one line; none when there are none.
fn said_in(field: &str, text: Option<&str>, most: usize) -> Result<Option<String>, Problem> {
    let text = text.unwrap_or_default().trim();
    if text.chars().count() > most {
        let detail = format!("'{field}' has {} characters: {most} at most", text.chars().count());
        return Err(Problem::new(Code::InvalidField, detail).field(field));
    }
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Ok(Some(line).filter(|line| !line.is_empty()))
}

impl crate::cluster::Cluster {
    /// The newest alert of a condition, whether it fires or not.
    fn last_alert(&self, key: &str) -> Option<&std::sync::Arc<AlertRow>> {
        self.alert_keys.get(key).and_then(|id| self.alerts.get(id))
    }

    /// The alert of a condition, if it fires.
    fn open_alert(&self, key: &str) -> Option<&std::sync::Arc<AlertRow>> {
        self.last_alert(key).filter(|row| row.state != AlertState::Resolved)
    }

    /// An alert by its id or, while it fires, by its key.
    ///
    /// # Errors
    /// `not_found`.
    pub fn find_alert(&self, reference: &str) -> Result<&std::sync::Arc<AlertRow>, Problem> {
        let by_id = || self.alerts.get(&reference.parse::<AlertId>().ok()?);
        by_id().or_else(|| self.open_alert(reference)).ok_or_else(|| not_found("alert", reference))
    }
}
