//! Messages on their way: written in the transaction that says receivers were told, ended when the receiver took them.
//!
//! ```text
//!  write ──▶ waiting ── sent ──▶ sent
//!              │  ▲ └── refused, too old, too many ──▶ failed
//!              └──┘ again: later, twice as late each time, never all at the same moment
//! ```
//!
//! A receiver's messages are sent one after the other, oldest first: what is over is never told before it began. One that
//! was sent when the controller died before it could be noted is sent once more, with the same id.

use std::sync::Arc;

use roost_types::{AlertId, DeliveryState, EventKind, Name, NoticeId, NoticeItem, NoticeReason, Severity, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::draft::Draft;
use crate::row::{Kind, Row};

/// Alerts whose whole content a message has: 50 of about 600 bytes are 30 kB.
const MAX_ITEMS: usize = 50;
/// Messages that wait for one receiver; then the oldest gives way.
const MAX_WAITING: usize = 200;
/// Characters kept of what a receiver says.
const MAX_ERROR: usize = 300;
/// Ended messages kept for those who look back.
const KEPT_ENDED: usize = 500;

/// One message about alerts to one receiver, as it is stored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NoticeRow {
    /// Id: the same in every attempt.
    pub id: NoticeId,
    /// To whom.
    pub receiver: Name,
    /// What is told, the worst first.
    pub items: Vec<NoticeItem>,
    /// Alerts that are told by number only, and why.
    #[serde(default)]
    pub more: Vec<(AlertId, NoticeReason)>,
    /// When it was written.
    pub created_at: Timestamp,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// Not tried before.
    pub next_attempt_at: Timestamp,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it was sent or given up.
    pub ended_at: Option<Timestamp>,
}

/// What an attempt to send a message came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The receiver took it.
    Sent,
    /// It may well go better later.
    Again(String),
    /// It will never be taken.
    Refused(String),
}

impl NoticeRow {
    /// Every alert that it tells of, and why.
    pub fn alerts(&self) -> impl Iterator<Item = (AlertId, NoticeReason)> {
        self.items.iter().map(|item| (item.id, item.reason)).chain(self.more.iter().copied())
    }
}

/// Puts a message to a receiver into the outbox. `items` are sorted, the worst first.
pub fn write(draft: &mut Draft, receiver: Name, mut items: Vec<NoticeItem>) {
    let more = items.split_off(items.len().min(MAX_ITEMS));
    let more = more.into_iter().map(|item| (item.id, item.reason)).collect();
    let (id, now) = (draft.notice_id(), draft.now);
    draft.put(Row::Notice(NoticeRow {
        id,
        receiver: receiver.clone(),
        items,
        more,
        created_at: now,
        state: DeliveryState::Waiting,
        attempts: 0,
        next_attempt_at: now,
        error: None,
        ended_at: None,
    }));
    while draft.cluster.outbox.get(&receiver).is_some_and(|waiting| waiting.len() > MAX_WAITING) {
        let Some(oldest) = first(draft, &receiver) else { return };
        fail(draft, oldest, format!("gave way to newer ones: more than {MAX_WAITING} waited"));
    }
}

/// The oldest message that waits for a receiver.
fn first(draft: &Draft, receiver: &Name) -> Option<NoticeRow> {
    draft.cluster.waiting_notices(receiver).next().map(|row| NoticeRow::clone(row))
}

/// Notes what an attempt came to. What has ended meanwhile stays as it ended.
pub fn finish(draft: &mut Draft, id: NoticeId, outcome: &Outcome) {
    let Some(row) = draft.cluster.notices.get(&id).filter(|row| row.state == DeliveryState::Waiting) else { return };
    let (mut row, now, times) = (NoticeRow::clone(row), draft.now, draft.cluster.config.alert_times);
    row.attempts = row.attempts.saturating_add(1);
    match outcome {
        Outcome::Sent => {
            (row.state, row.ended_at, row.error) = (DeliveryState::Sent, Some(now), None);
            draft.put(Row::Notice(row));
            forget(draft);
        }
        Outcome::Refused(why) => fail(draft, row, line(why)),
        Outcome::Again(why) if now.since(row.created_at) >= times.give_up => {
            let why = format!("given up after {} attempts: {}", row.attempts, line(why));
            fail(draft, row, why);
        }
        Outcome::Again(why) => {
            // Four fifths to six fifths, so that receivers that share a server do not come back together.
            let percent = 80 + u32::try_from(draft.next_random() % 41).unwrap_or(20);
            row.next_attempt_at = now.plus(times.retry_after(row.attempts) / 100 * percent);
            row.error = Some(line(why));
            draft.put(Row::Notice(row));
        }
    }
}

/// Gives up what waits for receivers that are no more.
pub fn abandon(draft: &mut Draft) {
    let known: Vec<Name> = draft.cluster.config.alert_receivers.iter().map(|receiver| receiver.name.clone()).collect();
    let of_others = draft.cluster.outbox.keys().filter(|name| !known.contains(name)).cloned();
    for receiver in of_others.collect::<Vec<_>>() {
        while let Some(row) = first(draft, &receiver) {
            fail(draft, row, "this receiver is not in alerts.yaml any more".to_owned());
        }
    }
}

fn fail(draft: &mut Draft, mut row: NoticeRow, why: String) {
    let count = row.items.len() + row.more.len();
    let worst = row.items.iter().map(|item| item.severity).max().unwrap_or(Severity::Warning);
    let (receiver, plural) = (&row.receiver, if count == 1 { "" } else { "s" });
    let message = format!("{receiver} was not told of {count} alert{plural}, the worst {}: {why}", worst.as_str());
    (row.state, row.ended_at, row.error) = (DeliveryState::Failed, Some(draft.now), Some(why));
    draft.put(Row::Notice(row));
    draft.event(EventKind::AlertUndelivered, "/v1/alerts", message);
    forget(draft);
}

/// What a receiver says, on one line that is not too long.
fn line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR).collect()
}

fn forget(draft: &mut Draft) {
    while draft.cluster.ended_notices.len() > KEPT_ENDED {
        let Some((_, oldest)) = draft.cluster.ended_notices.get_min().copied() else { return };
        draft.delete(Kind::Notice, oldest.to_string());
    }
}

impl Cluster {
    /// Messages that wait for a receiver, oldest first.
    pub fn waiting_notices(&self, receiver: &Name) -> impl Iterator<Item = &Arc<NoticeRow>> {
        self.outbox.get(receiver).into_iter().flatten().filter_map(|id| self.notices.get(id))
    }

    /// The message that is to be sent to a receiver now.
    #[must_use]
    pub fn next_notice(&self, receiver: &Name, now: Timestamp) -> Option<&Arc<NoticeRow>> {
        self.waiting_notices(receiver).next().filter(|row| row.next_attempt_at <= now)
    }

    pub(crate) fn put_notice(&mut self, row: &NoticeRow) {
        if row.state == DeliveryState::Waiting {
            self.outbox.entry(row.receiver.clone()).or_default().insert(row.id);
        } else {
            crate::cluster::forget(&mut self.outbox, &row.receiver, &row.id);
        }
        if let Some(at) = row.ended_at {
            self.ended_notices.insert((at, row.id));
        }
        for (alert, _) in row.alerts() {
            self.told_by.entry(alert).or_default().insert(row.id);
        }
        self.notices.insert(row.id, Arc::new(row.clone()));
    }

    pub(crate) fn delete_notice(&mut self, id: NoticeId) {
        let Some(row) = self.notices.remove(&id) else { return };
        crate::cluster::forget(&mut self.outbox, &row.receiver, &id);
        if let Some(at) = row.ended_at {
            self.ended_notices.remove(&(at, id));
        }
        for (alert, _) in row.alerts() {
            crate::cluster::forget(&mut self.told_by, &alert, &id);
        }
    }
}

#[cfg(test)]
mod tests;
