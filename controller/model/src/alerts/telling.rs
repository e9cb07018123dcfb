//! Who has to be told of what, and when: the difference between what is true and what receivers know, gathered into few
//! messages.

use std::cmp::Reverse;
use std::sync::Arc;

use roost_types::{AlertState, NoticeItem, NoticeReason, Severity, Timestamp};

use super::life::is_quiet;
use super::outbox;
use super::row::{AlertRow, Told};
use super::times::AlertTimes;
use crate::draft::Draft;
use crate::row::{Kind, Row};

/// Resolved alerts kept for those who look back.
const KEPT_RESOLVED: usize = 500;

/// What the gathering remembers from one tick to the next. Lost with the controller: then it begins to gather anew.
#[derive(Clone, Copy, Default, Debug)]
pub struct Telling {
    /// Since when something is due.
    since: Option<Timestamp>,
    /// Since when something critical is due.
    urgent_since: Option<Timestamp>,
    /// When receivers were last told of anything.
    told_at: Option<Timestamp>,
}

/// Tells what is due, once enough has been waited for more, and forgets what is long over.
pub fn step(draft: &mut Draft) {
    if !draft.cluster.config.alert_receivers.is_empty() {
        tell(draft);
    }
    forget(draft);
}

fn tell(draft: &mut Draft) {
    let (times, now) = (draft.cluster.config.alert_times, draft.now);
    let alerts = draft.cluster.alerts.values();
    let mut found: Vec<(Arc<AlertRow>, NoticeReason)> =
        alerts.filter_map(|row| Some((Arc::clone(row), due(row, &times, now)?))).collect();
    let urgent = found.iter().any(|(row, reason)| is_urgent(row, *reason));
    let telling = &mut draft.cluster.telling;
    telling.since = if found.is_empty() { None } else { telling.since.or(Some(now)) };
    telling.urgent_since = if urgent { telling.urgent_since.or(Some(now)) } else { None };
    let rested = |pause| telling.told_at.is_none_or(|at| now.since(at) >= pause);
    let waited = |since: Option<Timestamp>| since.is_some_and(|at| now.since(at) >= times.group_wait);
    let urgently = waited(telling.urgent_since) && rested(times.urgent_pause);
    if !(urgently || waited(telling.since) && rested(times.pause)) {
        return;
    }
    *telling = Telling { since: None, urgent_since: None, told_at: Some(now) };
    found.sort_by_key(|(row, _)| (row.state == AlertState::Resolved, Reverse(row.severity), row.id));
    for receiver in draft.cluster.config.alert_receivers.clone() {
        let concerns = |row: &AlertRow| worst_told(row).max(row.severity) >= receiver.least;
        let items: Vec<NoticeItem> =
            found.iter().filter(|(row, _)| concerns(row)).map(|(row, reason)| item(row, *reason)).collect();
        if !items.is_empty() {
            outbox::write(draft, receiver.name, items);
        }
    }
    for (row, reason) in found {
        let mut row = AlertRow::clone(&row);
        row.told = Some(told(&row, reason, now));
        draft.put(Row::Alert(row));
    }
}

/// Why receivers have to be told of an alert now; none while they know enough.
fn due(row: &AlertRow, times: &AlertTimes, now: Timestamp) -> Option<NoticeReason> {
    let Some(told) = &row.told else {
        // What was over, or seen, before anybody was told needs no message.
        return (row.state == AlertState::Firing).then_some(NoticeReason::Fired);
    };
    match (row.state, told.state) {
        (AlertState::Firing, AlertState::Resolved) => Some(NoticeReason::Fired),
        (AlertState::Firing, AlertState::Firing | AlertState::Acknowledged) if row.severity > told.severity => {
            Some(NoticeReason::Worsened)
        }
        (AlertState::Firing, AlertState::Acknowledged) => Some(NoticeReason::Fired),
        (AlertState::Firing, AlertState::Firing) => {
            let forgotten = now.since(told.at) >= times.reminder_after(told.reminders);
            forgotten.then_some(NoticeReason::Reminder)
        }
        (AlertState::Acknowledged, AlertState::Firing) => Some(NoticeReason::Acknowledged),
        (AlertState::Acknowledged, AlertState::Acknowledged | AlertState::Resolved) => None,
        (AlertState::Resolved, AlertState::Firing | AlertState::Acknowledged) => {
            is_quiet(row, times, now).then_some(NoticeReason::Resolved)
        }
        (AlertState::Resolved, AlertState::Resolved) => None,
    }
}

/// Something critical that receivers do not know of.
fn is_urgent(row: &AlertRow, reason: NoticeReason) -> bool {
    match reason {
        NoticeReason::Fired | NoticeReason::Worsened => row.severity == Severity::Critical,
        NoticeReason::Reminder | NoticeReason::Acknowledged | NoticeReason::Resolved => false,
    }
}

/// The worst that receivers were told of it.
fn worst_told(row: &AlertRow) -> Severity {
    row.told.filter(|told| told.state != AlertState::Resolved).map_or(row.severity, |told| told.severity)
}

/// What receivers know once they have been told.
fn told(row: &AlertRow, reason: NoticeReason, at: Timestamp) -> Told {
    let reminders = match reason {
        NoticeReason::Reminder => row.told.map_or(0, |told| told.reminders).saturating_add(1),
        NoticeReason::Fired | NoticeReason::Worsened | NoticeReason::Acknowledged | NoticeReason::Resolved => 0,
    };
    Told { severity: worst_told(row).max(row.severity), state: row.state, at, reminders }
}

fn item(row: &AlertRow, reason: NoticeReason) -> NoticeItem {
    let (kind, object) = row.kind_and_object();
    NoticeItem {
        id: row.id,
        reason,
        key: row.key.clone(),
        kind: kind.to_owned(),
        object: object.to_owned(),
        severity: row.severity,
        state: row.state,
        subject: row.subject.clone(),
        message: row.message.clone(),
        fired_at: row.fired_at,
        resolved_at: row.resolved_at,
        fires: row.fires,
        acknowledged: row.acknowledged.clone(),
    }
}

/// Forgets resolved alerts, those that have been over for longest first: the ones over the limit, and the old ones. None
/// whose end is still to be told.
fn forget(draft: &mut Draft) {
    let (times, now) = (draft.cluster.config.alert_times, draft.now);
    let tells = !draft.cluster.config.alert_receivers.is_empty();
    while let Some((at, id)) = draft.cluster.over.get_min().copied() {
        let Some(row) = draft.cluster.alerts.get(&id) else { return };
        let too_many = draft.cluster.over.len() > KEPT_RESOLVED;
        let untold = tells && row.told.is_some_and(|told| told.state != AlertState::Resolved);
        if untold || !too_many && now.since(at) < times.kept {
            return;
        }
        draft.delete(Kind::Alert, id.to_string());
    }
}

#[cfg(test)]
mod tests;
