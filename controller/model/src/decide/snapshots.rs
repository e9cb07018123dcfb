//! What users ask of snapshots. Each verb changes what the instance's node should have and opens an operation;
//! `crate::snapshots` does the rest.

use roost_types::allocation::AllocationDesired;
use roost_types::snapshot::{MAX_SNAPSHOTS, RestoreWish, SnapshotWish};
use roost_types::{AllocationId, Code, Name, NodeStatus, OperationKind, Problem, Snapshot, SnapshotId, SnapshotState};

use super::instances::{find, resource, supersede};
use crate::command::Reply;
use crate::draft::Draft;
use crate::row::InstanceRow;
use crate::{reconcile, snapshots, validate};

pub fn create(draft: &mut Draft, reference: &str, name: Option<&str>) -> Result<Reply, Problem> {
    let row = find(draft, reference)?;
    let allocation = allocation_at_rest(draft, &row)?;
    if row.snapshots.len() >= MAX_SNAPSHOTS {
        let detail = format!("instance '{}' has {MAX_SNAPSHOTS} snapshots, the most: delete one first", row.name);
        return Err(Problem::new(Code::Conflict, detail));
    }
    let name = match name {
        Some(name) => free_name(&row, validate::name_of(name)?)?,
        None => make_name(&row),
    };
    let id = draft.snapshot_id();
    let operation = draft.open(OperationKind::SnapshotCreate, snapshots::resource(row.id, id));
    let created_at = draft.now;
    draft.edit_instance(row.id, |row| {
        row.snapshots.push(Snapshot { id, name, state: SnapshotState::Making, size_bytes: None, created_at });
    });
    draft.edit_spec(allocation, |row| row.spec.snapshots.push(SnapshotWish { id, make: true }));
    Ok(Reply::Snapshot { instance: row.id, snapshot: id, operation })
}

/// The instance's allocation, if its node can be asked now and nothing else is done to its files.
fn allocation_at_rest(draft: &Draft, row: &InstanceRow) -> Result<AllocationId, Problem> {
    let conflict = |detail: &str| Problem::new(Code::Conflict, format!("instance '{}' {detail}", row.name));
    let found = row.allocation.and_then(|id| draft.cluster.allocations.get(&id));
    let allocation = found.ok_or_else(|| conflict("has no files yet: it is on no node"))?;
    if row.moving.is_some() {
        return Err(conflict("is on its way to another node: try again when it has arrived"));
    }
    if row.restoring.is_some() {
        return Err(conflict("is being restored: try again when that is done"));
    }
    match draft.cluster.live.get(&allocation.node).map(|live| live.status) {
        Some(NodeStatus::Ready) => Ok(allocation.spec.id),
        Some(NodeStatus::Joining | NodeStatus::Unreachable | NodeStatus::Down | NodeStatus::Retired) | None => {
            let detail = format!("node '{}' does not answer", draft.cluster.node_name(allocation.node));
            Err(Problem::new(Code::NodeUnreachable, detail))
        }
    }
}

fn free_name(row: &InstanceRow, name: Name) -> Result<Name, Problem> {
    if row.snapshots.iter().any(|snapshot| snapshot.name == name) {
        let detail = format!("'{}' has a snapshot '{name}': choose another name or delete it first", row.name);
        return Err(Problem::new(Code::NameTaken, detail).field("name"));
    }
    Ok(name)
}

/// `s` and the first free number.
fn make_name(row: &InstanceRow) -> Name {
    let names = (1..).filter_map(|number: u32| format!("s{number}").parse::<Name>().ok());
    let mut free = names.filter(|name| row.snapshots.iter().all(|snapshot| snapshot.name != *name));
    free.next().expect("there are more numbers than snapshots")
}

pub fn restore(draft: &mut Draft, reference: &str, snapshot: &str) -> Result<Reply, Problem> {
    let row = find(draft, reference)?;
    let snapshot = snapshots::find_ready(&row, snapshot)?.clone();
    let allocation = allocation_at_rest(draft, &row)?;
    supersede(draft, row.id);
    let operation = draft.open(OperationKind::SnapshotRestore, resource(row.id));
    let number = draft.next_revision();
    let wish = RestoreWish { snapshot: snapshot.id, number };
    draft.edit_instance(row.id, |row| {
        row.generation = number;
        row.restoring = Some(wish);
    });
    draft.edit_spec(allocation, |row| {
        row.spec.desired = AllocationDesired::Stopped;
        row.spec.restore = Some(wish);
    });
    reconcile::instance(draft, row.id);
    Ok(Reply::Instance { instance: row.id, operation })
}

pub fn delete(draft: &mut Draft, reference: &str, snapshot: &str) -> Result<Reply, Problem> {
    let row = find(draft, reference)?;
    let snapshot = snapshots::find(&row, snapshot)?.clone();
    refuse_if_used(draft, &row, &snapshot)?;
    let resource = snapshots::resource(row.id, snapshot.id);
    for operation in draft.cluster.open_on.get(&resource).cloned().into_iter().flatten() {
        let detail = "a later request deletes the snapshot";
        draft.finish(operation, Err(Problem::new(Code::Conflict, detail)));
    }
    let operation = draft.open(OperationKind::SnapshotDelete, resource);
    draft.edit_instance(row.id, |row| snapshots::set_state(row, snapshot.id, SnapshotState::Deleting));
    let having: Vec<AllocationId> = draft.cluster.allocations_of(row.id).map(|row| row.spec.id).collect();
    for allocation in having {
        draft.edit_spec(allocation, |row| row.spec.snapshots.retain(|wish| wish.id != snapshot.id));
    }
    reconcile::instance(draft, row.id);
    Ok(Reply::Snapshot { instance: row.id, snapshot: snapshot.id, operation })
}

fn refuse_if_used(draft: &Draft, row: &InstanceRow, snapshot: &Snapshot) -> Result<(), Problem> {
    if row.restoring.is_some_and(|wish| wish.snapshot == snapshot.id) {
        let detail = format!("instance '{}' is being restored from it", row.name);
        return Err(Problem::new(Code::Conflict, detail));
    }
    refuse_if_source(draft, row, Some(snapshot.id))
}

/// Refuses to take away what another instance has yet to begin with.
pub fn refuse_if_source(draft: &Draft, row: &InstanceRow, snapshot: Option<SnapshotId>) -> Result<(), Problem> {
    match snapshots::beginning_with(&draft.cluster, row.id, snapshot).next() {
        None => Ok(()),
        Some(user) => {
            let detail =
                format!("instance '{}' is being launched from it: wait until that one runs, or delete it", user.name);
            Err(Problem::new(Code::Conflict, detail))
        }
    }
}
