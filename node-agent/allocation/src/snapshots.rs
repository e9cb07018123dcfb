//! The snapshots of one allocation: which are there, which are wished, and what follows.
//!
//! A snapshot that could not be made is not tried again: its failure is reported, and the controller stops wishing it. A
//! restore is tried once for each number; the shell knows by the number that it was done before an agent was killed.

use std::collections::BTreeMap;

use roost_types::snapshot::{RestoreReport, RestoreWish, SnapshotOutcome, SnapshotReport};
use roost_types::{AllocationId, AllocationSpec, MemoryBytes, SnapshotId, Timestamp};

use crate::backoff::Backoff;
use crate::work::Work;

/// What is known of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots {
    known: BTreeMap<SnapshotId, SnapshotOutcome>,
    restored: Option<RestoreReport>,
    /// Deleting one failed.
    backoff: Backoff,
}

impl Snapshots {
    /// These, and no others, are there. What could not be made is remembered.
    pub(crate) fn seen(&mut self, held: &[(SnapshotId, MemoryBytes)]) {
        self.known.retain(|_, outcome| matches!(outcome, SnapshotOutcome::Failed(_)));
        self.known.extend(held.iter().map(|(id, bytes)| (*id, SnapshotOutcome::Held(*bytes))));
    }

    /// Nothing is left of the allocation.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What failed and is not wished any more is forgotten.
    pub(crate) fn wish(&mut self, spec: &AllocationSpec) {
        let wished = |id: &SnapshotId| spec.snapshots.iter().any(|wish| wish.id == *id);
        self.known.retain(|id, outcome| matches!(outcome, SnapshotOutcome::Held(_)) || wished(id));
    }

    /// Deletes what is not wished, then makes what is. `has_files`: there is something to keep.
    pub(crate) fn next_work(
        &self,
        id: AllocationId,
        spec: &AllocationSpec,
        has_files: bool,
        now: Timestamp,
    ) -> Option<Work> {
        let wished = |id: &SnapshotId| spec.snapshots.iter().any(|wish| wish.id == *id);
        let extra = self.known.iter().find(|(id, outcome)| {
            matches!(outcome, SnapshotOutcome::Held(_)) && !wished(id) && self.backoff.is_due(now)
        });
        if let Some((snapshot, _)) = extra {
            return Some(Work::DropSnapshot { id, snapshot: *snapshot });
        }
        let missing = spec.snapshots.iter().find(|wish| wish.make && !self.known.contains_key(&wish.id));
        missing.filter(|_| has_files).map(|wish| Work::Snapshot { id, snapshot: wish.id })
    }

    /// The restore that is wished and was not tried.
    pub(crate) fn restore_due(&self, spec: &AllocationSpec) -> Option<RestoreWish> {
        spec.restore.filter(|wish| self.restored.as_ref().is_none_or(|done| done.number != wish.number))
    }

    pub(crate) fn made(&mut self, id: SnapshotId, outcome: SnapshotOutcome) {
        self.known.insert(id, outcome);
    }

    pub(crate) fn dropped(&mut self, id: SnapshotId) {
        self.known.remove(&id);
        self.backoff.reset();
    }

    pub(crate) fn drop_failed(&mut self, now: Timestamp) {
        self.backoff.fail(now);
    }

    pub(crate) fn restored(&mut self, number: u64, error: Option<String>) {
        self.restored = Some(RestoreReport { number, error });
    }

    pub(crate) fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.backoff.waits_until(now)
    }

    pub(crate) fn report(&self) -> Vec<SnapshotReport> {
        self.known.iter().map(|(id, outcome)| SnapshotReport { id: *id, outcome: outcome.clone() }).collect()
    }

    pub(crate) fn restore_report(&self, spec: &AllocationSpec) -> Option<RestoreReport> {
        let wish = spec.restore?;
        self.restored.clone().filter(|report| report.number == wish.number)
    }
}
