//! Alerts as the API shows them.

use roost_types::{Alert, AlertId, Delivery, DeliveryState};

use super::outbox::NoticeRow;
use super::row::AlertRow;
use crate::cluster::Cluster;

/// Messages shown with an alert.
const SHOWN_DELIVERIES: usize = 10;

impl Cluster {
    /// An alert and the last messages about it.
    #[must_use]
    pub fn alert(&self, row: &AlertRow) -> Alert {
        let (kind, object) = row.kind_and_object();
        let notices = self.told_by.get(&row.id).into_iter().flatten().rev();
        let deliveries = notices.filter_map(|id| delivery(row.id, self.notices.get(id)?)).take(SHOWN_DELIVERIES);
        Alert {
            id: row.id,
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
            first_fired_at: row.first_fired_at.unwrap_or(row.fired_at),
            acknowledged: row.acknowledged.clone(),
            deliveries: deliveries.collect(),
        }
    }
}

fn delivery(alert: AlertId, notice: &NoticeRow) -> Option<Delivery> {
    let (_, reason) = notice.alerts().find(|(id, _)| *id == alert)?;
    let waits = notice.state == DeliveryState::Waiting;
    Some(Delivery {
        notice: notice.id,
        receiver: notice.receiver.clone(),
        reason,
        state: notice.state,
        attempts: notice.attempts,
        created_at: notice.created_at,
        ended_at: notice.ended_at,
        next_attempt_at: waits.then_some(notice.next_attempt_at),
        error: notice.error.clone(),
    })
}
