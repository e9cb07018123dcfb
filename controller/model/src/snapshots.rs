//! The life of snapshots: from what is wished and what the node says to the next step.
//!
//! ```text
//!   create ──▶ making ──▶ ready ──▶ deleting ──▶ gone
//!                 └ the node could not ──▶ gone, and the operation has failed
//!   restore: the allocation is stopped ──▶ its files are put back ──▶ it is again what was wished
//! ```
//!
//! A snapshot lies on the node of its instance. A move carries it; what is lost with a node is lost here too.

use roost_types::snapshot::SnapshotOutcome;
use roost_types::{Code, EventKind, InstanceId, Problem, Snapshot, SnapshotId, SnapshotState};

use crate::cluster::{Cluster, not_found};
use crate::decide::{instance_resource, instance_subject};
use crate::draft::Draft;
use crate::reconcile::open_operations;
use crate::row::{AllocationRow, InstanceRow};

/// Path of a snapshot, as operations name it.
pub fn resource(instance: InstanceId, snapshot: SnapshotId) -> String {
    format!("{}/snapshots/{snapshot}", instance_resource(instance))
}

/// A snapshot by name or id.
///
/// # Errors
/// `not_found`.
pub fn find<'a>(row: &'a InstanceRow, reference: &str) -> Result<&'a Snapshot, Problem> {
    let wanted = |snapshot: &&Snapshot| snapshot.name.as_str() == reference || snapshot.id.to_string() == reference;
    row.snapshots.iter().find(wanted).ok_or_else(|| not_found("snapshot", reference))
}

/// A snapshot that is whole.
///
/// # Errors
/// `not_found`; `conflict` while it is being made or deleted.
pub fn find_ready<'a>(row: &'a InstanceRow, reference: &str) -> Result<&'a Snapshot, Problem> {
    let snapshot = find(row, reference)?;
    match snapshot.state {
        SnapshotState::Ready => Ok(snapshot),
        SnapshotState::Making => {
            Err(Problem::new(Code::Conflict, format!("snapshot '{}' is still being made", snapshot.name)))
        }
        SnapshotState::Deleting => {
            Err(Problem::new(Code::Conflict, format!("snapshot '{}' is being deleted", snapshot.name)))
        }
    }
}

/// Sets the state of one of the instance's snapshots.
pub fn set_state(row: &mut InstanceRow, id: SnapshotId, state: SnapshotState) {
    row.snapshots.iter_mut().filter(|snapshot| snapshot.id == id).for_each(|snapshot| snapshot.state = state);
}

/// Instances that have yet to begin with a snapshot of this instance: with this one, or with any.
pub fn beginning_with(
    cluster: &Cluster,
    instance: InstanceId,
    snapshot: Option<SnapshotId>,
) -> impl Iterator<Item = &InstanceRow> {
    let uses = move |row: &&InstanceRow| {
        let source = row.source.filter(|source| source.instance == instance);
        source.is_some_and(|source| snapshot.is_none_or(|id| source.snapshot == id))
    };
    cluster.beginning.iter().filter_map(|id| cluster.instances.get(id)).map(AsRef::as_ref).filter(uses)
}

/// Nothing is done to the instance's files, and they are there, so that they can go to another node.
pub fn is_at_rest(row: &InstanceRow) -> bool {
    row.restoring.is_none()
        && row.source.is_none()
        && row.snapshots.iter().all(|snapshot| snapshot.state != SnapshotState::Making)
}

/// Takes the next step of every snapshot of an instance, and of its restore.
pub fn step(draft: &mut Draft, id: InstanceId) {
    let Some(row) = draft.cluster.instances.get(&id).cloned() else { return };
    let allocation = row.allocation.and_then(|id| draft.cluster.allocations.get(&id)).cloned();
    for snapshot in &row.snapshots {
        step_one(draft, &row, snapshot, allocation.as_deref());
    }
    if let Some(allocation) = &allocation {
        finish_restore(draft, &row, allocation);
    }
    let has_started = allocation.is_some_and(|allocation| allocation.observed.started_at.is_some());
    if row.source.is_some() && has_started {
        draft.edit_instance(id, |row| row.source = None);
    }
}

fn step_one(draft: &mut Draft, row: &InstanceRow, snapshot: &Snapshot, allocation: Option<&AllocationRow>) {
    let found = allocation.and_then(|row| row.observed.snapshots.iter().find(|report| report.id == snapshot.id));
    let has_acted = allocation.is_none_or(|row| row.observed.generation >= row.spec.generation);
    match (snapshot.state, found.map(|report| &report.outcome)) {
        (SnapshotState::Making, Some(SnapshotOutcome::Held(bytes))) => {
            draft.edit_instance(row.id, |row| {
                for own in row.snapshots.iter_mut().filter(|own| own.id == snapshot.id) {
                    (own.state, own.size_bytes) = (SnapshotState::Ready, Some(*bytes));
                }
            });
            keep(draft, allocation, snapshot.id, true);
            finish(draft, row, snapshot, Ok(()));
            tell(draft, EventKind::SnapshotCreated, row, snapshot, "is whole");
        }
        (SnapshotState::Making, Some(SnapshotOutcome::Failed(why))) => {
            fail(draft, row, snapshot, &format!("could not be made: {why}"));
            keep(draft, allocation, snapshot.id, false);
        }
        (SnapshotState::Deleting, None) if has_acted => {
            forget(draft, row, snapshot.id);
            finish(draft, row, snapshot, Ok(()));
            tell(draft, EventKind::SnapshotDeleted, row, snapshot, "was deleted");
        }
        (SnapshotState::Making | SnapshotState::Deleting, None)
        | (SnapshotState::Deleting, Some(_))
        | (SnapshotState::Ready, _) => {}
    }
}

/// Tells the node to keep what it has made, or that it need not try again.
fn keep(draft: &mut Draft, allocation: Option<&AllocationRow>, id: SnapshotId, kept: bool) {
    let Some(allocation) = allocation else { return };
    draft.edit_spec(allocation.spec.id, |row| {
        row.spec.snapshots.retain(|wish| kept || wish.id != id);
        row.spec.snapshots.iter_mut().filter(|wish| wish.id == id).for_each(|wish| wish.make = false);
    });
}

fn forget(draft: &mut Draft, row: &InstanceRow, id: SnapshotId) {
    draft.edit_instance(row.id, |row| row.snapshots.retain(|snapshot| snapshot.id != id));
}

fn fail(draft: &mut Draft, row: &InstanceRow, snapshot: &Snapshot, what: &str) {
    forget(draft, row, snapshot.id);
    let detail = format!("snapshot '{}' of '{}' {what}", snapshot.name, row.name);
    finish(draft, row, snapshot, Err(Problem::new(Code::SnapshotFailed, detail)));
    tell(draft, EventKind::SnapshotFailed, row, snapshot, what);
}

fn finish(draft: &mut Draft, row: &InstanceRow, snapshot: &Snapshot, outcome: Result<(), Problem>) {
    for operation in draft.cluster.open_on.get(&resource(row.id, snapshot.id)).cloned().into_iter().flatten() {
        draft.finish(operation, outcome.clone());
    }
}

fn tell(draft: &mut Draft, kind: EventKind, row: &InstanceRow, snapshot: &Snapshot, what: &str) {
    let message = format!("snapshot {} of instance {} {what}", snapshot.name, row.name);
    draft.event(kind, instance_subject(&row.project, &row.name), message);
}

/// The node has put the files back, or could not: then they are as they were. The instance goes on as wished.
fn finish_restore(draft: &mut Draft, row: &InstanceRow, allocation: &AllocationRow) {
    let Some(wish) = row.restoring else { return };
    let Some(report) = allocation.observed.restore.clone().filter(|report| report.number == wish.number) else {
        return;
    };
    draft.edit_instance(row.id, |row| row.restoring = None);
    draft.edit_spec(allocation.spec.id, |row| row.spec.restore = None);
    let name = row.snapshots.iter().find(|snapshot| snapshot.id == wish.snapshot);
    let name = name.map_or_else(|| wish.snapshot.to_string(), |snapshot| snapshot.name.to_string());
    match report.error {
        None => {
            let message = format!("instance {} has the files of snapshot {name} again", row.name);
            draft.event(EventKind::SnapshotRestored, instance_subject(&row.project, &row.name), message);
        }
        Some(why) => fail_operations(draft, row, &format!("snapshot '{name}' could not be restored: {why}")),
    }
}

fn fail_operations(draft: &mut Draft, row: &InstanceRow, detail: &str) {
    for operation in open_operations(&draft.cluster, row.id) {
        draft.finish(operation, Err(Problem::new(Code::SnapshotFailed, detail)));
    }
}

/// The instance's node is lost: a restore there cannot be waited for.
pub fn abandon_restore(draft: &mut Draft, row: &InstanceRow) {
    if row.restoring.is_none() {
        return;
    }
    fail_operations(draft, row, "its node was lost before the snapshot was restored");
    draft.edit_instance(row.id, |row| row.restoring = None);
    if let Some(allocation) = row.allocation {
        draft.edit_spec(allocation, |row| row.spec.restore = None);
    }
}

/// The instance's files are given up with their node, and its snapshots with them.
pub fn lose_all(draft: &mut Draft, id: InstanceId) {
    let Some(row) = draft.cluster.instances.get(&id).cloned() else { return };
    for snapshot in &row.snapshots {
        match snapshot.state {
            SnapshotState::Making | SnapshotState::Ready => fail(draft, &row, snapshot, "was lost with its node"),
            SnapshotState::Deleting => {
                forget(draft, &row, snapshot.id);
                finish(draft, &row, snapshot, Ok(()));
            }
        }
    }
}

/// Nothing is left of the instance: ends what was still asked of its snapshots.
pub fn end_operations(draft: &mut Draft, row: &InstanceRow) {
    for snapshot in &row.snapshots {
        let outcome = match snapshot.state {
            SnapshotState::Deleting => Ok(()),
            SnapshotState::Making | SnapshotState::Ready => {
                Err(Problem::new(Code::Conflict, "the instance was deleted"))
            }
        };
        finish(draft, row, snapshot, outcome);
    }
}

/// The instance has arrived on another node: those who have yet to begin with its snapshots find them there.
pub fn follow(draft: &mut Draft, id: InstanceId) {
    let Some(new) = draft.cluster.instances.get(&id).and_then(|row| row.allocation) else { return };
    let users: Vec<_> = beginning_with(&draft.cluster, id, None).filter_map(|row| row.allocation).collect();
    for user in users {
        draft.edit_spec(user, |row| row.spec.seed_from = row.spec.seed_from.and(Some(new)));
    }
}
