//! Alerts alone on a clock of their own, for the tests of this module.

use std::time::Duration;

use roost_types::{AcknowledgeAlert, AlertState, DeliveryState, Name, NoticeReason, Severity, Timestamp};

use super::{AlertReceiver, NoticeRow, Outcome, acknowledge, finish, step};
use crate::cluster::Cluster;
use crate::command::Context;
use crate::config::Config;
use crate::draft::Draft;

pub const START: Timestamp = Timestamp(1_800_000_000_000);

/// A cluster in which only alerts happen, and everything that happens is stored.
pub struct Desk {
    pub cluster: Cluster,
    pub now: Timestamp,
    seed: u64,
    /// Messages are taken as soon as they are there.
    pub prompt: bool,
}

/// Seconds after the start, receiver, and of each alert that a message tells: key, why, severity.
pub type Told = (u64, String, Vec<(String, NoticeReason, Severity)>);

impl Desk {
    /// `receivers`: names and the least severity that they are told.
    pub fn new(receivers: &[(&str, Severity)]) -> Self {
        let receiver = |(name, least): &(&str, Severity)| AlertReceiver { name: name.parse().unwrap(), least: *least };
        let config = Config { alert_receivers: receivers.iter().map(receiver).collect(), ..Config::default() };
        Self { cluster: Cluster::new(config), now: START, seed: 7, prompt: true }
    }

    /// Decides, and takes over only what was stored: the gathering goes on in memory.
    pub fn decide<T>(&mut self, decision: impl FnOnce(&mut Draft) -> T) -> T {
        self.seed += 1;
        let mut draft = Draft::new(&self.cluster, &Context { now: self.now, seed: self.seed });
        let answer = decision(&mut draft);
        let mut stored = self.cluster.clone();
        draft.changes.iter().for_each(|change| stored.apply(change));
        assert_eq!(stored.alerts, draft.cluster.alerts, "what is not stored is lost with the controller");
        assert_eq!(stored.notices, draft.cluster.notices);
        self.cluster = draft.cluster;
        answer
    }

    pub fn fire(&mut self, key: &str, severity: Severity) {
        self.decide(|draft| draft.fire(key, severity, "/v1/rack", &format!("{key} is {}", severity.as_str())));
    }

    pub fn resolve(&mut self, key: &str) {
        self.decide(|draft| draft.resolve(key));
    }

    pub fn acknowledge(&mut self, key: &str) {
        let said = AcknowledgeAlert { by: Some("ann".into()), comment: None };
        self.decide(|draft| acknowledge(draft, key, &said)).unwrap();
    }

    pub fn state(&self, key: &str) -> AlertState {
        self.cluster.last_alert(key).unwrap().state
    }

    /// Lets time pass, a tick a second.
    pub fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.plus(Duration::from_secs(1));
            self.decide(step);
            while let Some(id) = self.next().filter(|_| self.prompt) {
                self.decide(|draft| finish(draft, id, &Outcome::Sent));
            }
        }
    }

    fn next(&self) -> Option<roost_types::NoticeId> {
        let receivers: Vec<Name> = self.cluster.outbox.keys().cloned().collect();
        receivers.iter().find_map(|name| Some(self.cluster.next_notice(name, self.now)?.id))
    }

    /// The controller ends and starts again: only rows are left.
    pub fn restart(&mut self) {
        let rows = |cluster: &Cluster| {
            let alerts = cluster.alerts.values().map(|row| crate::row::Row::Alert(super::AlertRow::clone(row)));
            let notices = cluster.notices.values().map(|row| crate::row::Row::Notice(NoticeRow::clone(row)));
            let events = cluster.events.iter().map(|row| crate::row::Row::Event(roost_types::Event::clone(row)));
            alerts.chain(notices).chain(events).collect::<Vec<_>>()
        };
        self.cluster = Cluster::load(self.cluster.config.as_ref().clone(), rows(&self.cluster), self.now);
    }

    pub fn notices(&self) -> Vec<NoticeRow> {
        self.cluster.notices.values().map(|row| NoticeRow::clone(row)).collect()
    }

    /// Every message there was.
    pub fn told(&self) -> Vec<Told> {
        let told = |row: &NoticeRow| {
            assert!(!self.prompt || row.state == DeliveryState::Sent);
            let items = row.items.iter().map(|item| (item.key.clone(), item.reason, item.severity));
            (row.created_at.since(START).as_secs(), row.receiver.to_string(), items.collect())
        };
        self.notices().iter().map(told).collect()
    }
}
