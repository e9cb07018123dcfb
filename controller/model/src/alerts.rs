//! Alerts: one per condition and subject, fired on the transition into it and resolved on the way out.

use roost_types::{Alert, AlertState, EventKind, Severity};

use crate::cluster::Cluster;
use crate::draft::Draft;
use crate::row::{Kind, Row};

/// Resolved alerts kept for those who look back.
const KEPT_RESOLVED: usize = 200;

impl Draft {
    /// Fires the alert unless it fires already; a worse severity is taken over.
    pub(crate) fn fire(&mut self, key: &str, severity: Severity, subject: &str, message: &str) {
        if let Some(row) = self.cluster.firing.get(key).and_then(|id| self.cluster.alerts.get(id)) {
            if row.severity < severity {
                let mut row = Alert::clone(row);
                row.severity = severity;
                message.clone_into(&mut row.message);
                row.state = AlertState::Firing;
                self.put(Row::Alert(row));
            }
            return;
        }
        let id = self.alert_id();
        self.put(Row::Alert(Alert {
            id,
            key: key.to_owned(),
            severity,
            state: AlertState::Firing,
            subject: subject.to_owned(),
            message: message.to_owned(),
            fired_at: self.now,
            resolved_at: None,
        }));
        self.event(EventKind::AlertFired, subject, format!("alert: {message}"));
    }

    /// Resolves the alert if it fires.
    pub(crate) fn resolve(&mut self, key: &str) {
        let Some(row) = self.cluster.firing.get(key).and_then(|id| self.cluster.alerts.get(id)) else { return };
        let mut row = Alert::clone(row);
        row.state = AlertState::Resolved;
        row.resolved_at = Some(self.now);
        let (subject, message) = (row.subject.clone(), format!("resolved: {}", row.message));
        self.put(Row::Alert(row));
        self.event(EventKind::AlertResolved, subject, message);
        self.forget_old_alerts();
    }

    fn forget_old_alerts(&mut self) {
        while resolved(&self.cluster).count() > KEPT_RESOLVED {
            let Some(oldest) = resolved(&self.cluster).next().map(|alert| alert.id) else { return };
            self.delete(Kind::Alert, oldest.to_string());
        }
    }
}

fn resolved(cluster: &Cluster) -> impl Iterator<Item = &Alert> {
    cluster.alerts.values().map(AsRef::as_ref).filter(|alert| alert.resolved_at.is_some())
}
