//! What the controller does not know yet. Reports of one allocation replace each other; what could not be delivered
//! comes back unless something newer is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use roost_allocation::Changes;
use roost_types::sync::MAX_REPAIRS;
use roost_types::{AllocationId, AllocationReport, NodeFacts};
use tokio::sync::Notify;

/// News for one request.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct News {
    /// `reports` is everything there is.
    pub full: bool,
    /// Facts, when they changed.
    pub facts: Option<NodeFacts>,
    /// Newest report of each allocation that changed.
    pub reports: BTreeMap<AllocationId, AllocationReport>,
    /// Allocations of which nothing is left.
    pub gone: BTreeSet<AllocationId>,
    /// What was put back in the node's network.
    pub repairs: Vec<String>,
}

/// News that wait for the next request.
#[derive(Debug, Default)]
pub struct Outbox {
    news: Mutex<News>,
    arrived: Notify,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what changed.
    pub fn add(&self, changes: Changes) {
        if changes.reports.is_empty() && changes.gone.is_empty() {
            return;
        }
        self.lock().absorb(changes);
        self.arrived.notify_one();
    }

    /// Makes the next request a full one.
    pub fn add_everything(&self, facts: NodeFacts, everything: Changes) {
        let mut news = self.lock();
        news.full = true;
        news.facts = Some(facts);
        news.reports.clear();
        news.absorb(everything);
        drop(news);
        self.arrived.notify_one();
    }

    /// Adds facts that changed.
    pub fn add_facts(&self, facts: NodeFacts) {
        self.lock().facts = Some(facts);
        self.arrived.notify_one();
    }

    /// Adds what was put back in the node's network; of many, the first are told.
    pub fn add_repairs(&self, repairs: Vec<String>) {
        let mut news = self.lock();
        news.repairs.extend(repairs);
        news.repairs.truncate(MAX_REPAIRS);
        drop(news);
        self.arrived.notify_one();
    }

    /// Waits for news and takes all of them.
    pub async fn take(&self) -> News {
        loop {
            let news = std::mem::take(&mut *self.lock());
            if news != News::default() {
                return news;
            }
            self.arrived.notified().await;
        }
    }

    /// `undelivered` did not get through: it goes with the next request, behind what is newer.
    pub fn put_back(&self, undelivered: News) {
        let mut news = self.lock();
        let superseded = news.full;
        news.full |= undelivered.full;
        news.facts = news.facts.take().or(undelivered.facts);
        for (id, report) in undelivered.reports.into_iter().filter(|_| !superseded) {
            if !news.gone.contains(&id) {
                news.reports.entry(id).or_insert(report);
            }
        }
        news.gone.extend(undelivered.gone);
        let newer = std::mem::replace(&mut news.repairs, undelivered.repairs);
        news.repairs.extend(newer);
        news.repairs.truncate(MAX_REPAIRS);
        drop(news);
        self.arrived.notify_one();
    }
}

impl News {
    fn absorb(&mut self, changes: Changes) {
        for report in changes.reports {
            self.gone.remove(&report.id);
            self.reports.insert(report.id, report);
        }
        for id in changes.gone {
            self.reports.remove(&id);
            self.gone.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outbox;
    use crate::testing::{allocation, report};
    use roost_allocation::Changes;
    use roost_types::AllocationState::{Running, Starting};

    #[tokio::test]
    async fn coalesces_and_never_lets_an_older_report_win() {
        let outbox = Outbox::default();
        let changes = |state| Changes { reports: vec![report(1, state)], gone: vec![] };
        outbox.add(changes(Starting));
        let lost = outbox.take().await;
        outbox.add(changes(Running));
        outbox.put_back(lost);
        let news = outbox.take().await;
        assert_eq!(news.reports[&allocation(1)].state, Running);
        outbox.add(Changes { reports: vec![], gone: vec![allocation(1)] });
        outbox.put_back(news);
        let news = outbox.take().await;
        assert!(news.reports.is_empty() && news.gone.contains(&allocation(1)));
    }
}
