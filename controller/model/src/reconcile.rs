//! The life of an instance: from its wish and what is seen of its allocations to the next step.
//!
//! ```text
//!              no allocation                    allocation runs            wish: stopped
//!   wish ───────────────────▶ place ──▶ agent ─────────────────▶ running ───────────────▶ stopped
//!                               ▲                                  │ move (heat, drain, user)
//!     stranded: its node is lost│        old stops ◀───────────────┘
//!     ──────────────────────────┘          │ then, and only then, the new one is released and seeded with its data
//!                                          ▼
//!                                   new runs ──▶ old is deleted
//! ```
//!
//! A stranded instance keeps its allocation, and with it its files, until another node really takes it: if its own node
//! comes back first, it goes on there.
//!
//! A moving instance has its new place reserved (`held`) before the old allocation is told to stop, and never has two
//! allocations that may run.

use roost_types::allocation::AllocationDesired;
use roost_types::{
    AllocationId, AllocationState, Code, Desired, EventKind, InstanceId, NodeId, NodeLossPolicy, NodeStatus,
    OperationId, OperationKind, OperationStatus, Problem,
};

use crate::cluster::Cluster;
use crate::decide::{instance_resource, instance_subject};
use crate::draft::Draft;
use crate::place;
use crate::row::{AllocationRow, InstanceRow, Kind, Move};
use crate::snapshots;

/// Takes the next step of one instance, whatever it is; doing it again does nothing.
pub fn instance(draft: &mut Draft, id: InstanceId) {
    snapshots::step(draft, id);
    let Some(row) = draft.cluster.instances.get(&id).cloned() else { return };
    match row.desired {
        Desired::Deleted => remove(draft, &row),
        Desired::Running | Desired::Stopped if row.restoring.is_some() => {}
        Desired::Stopped => {
            abandon_move(draft, &row);
            want(draft, id, AllocationDesired::Stopped);
        }
        Desired::Running if row.moving.is_some() => advance_move(draft, &row),
        Desired::Running if row.allocation.is_none() || row.stranded => try_to_place(draft, id),
        Desired::Running if row.halted.is_some() => want(draft, id, AllocationDesired::Stopped),
        Desired::Running => want(draft, id, AllocationDesired::Running),
    }
    settle(draft, id);
}

/// Tries every instance that waits for a node, if any node may have become able to take one.
pub fn pending(draft: &mut Draft) {
    if draft.cluster.tried == draft.cluster.room {
        return;
    }
    draft.cluster.tried = draft.cluster.room;
    let waiting: Vec<InstanceId> = draft.cluster.pending.iter().copied().collect();
    for id in waiting {
        instance(draft, id);
    }
}

/// The present allocation has ended, so that starting means starting it anew.
pub fn has_settled(cluster: &Cluster, row: &InstanceRow) -> bool {
    row.allocation.and_then(|id| cluster.allocations.get(&id)).is_some_and(|a| a.observed.state.is_settled())
}

/// Open operations on an instance, oldest first.
pub fn open_operations(cluster: &Cluster, id: InstanceId) -> Vec<OperationId> {
    cluster.open_on.get(&instance_resource(id)).into_iter().flatten().copied().collect()
}

/// Tells the present allocation what is wanted of it, if it has not been told.
fn want(draft: &mut Draft, id: InstanceId, desired: AllocationDesired) {
    let Some(row) = draft.cluster.instances.get(&id).cloned() else { return };
    let Some(allocation) = row.allocation.and_then(|id| draft.cluster.allocations.get(&id)).cloned() else { return };
    let stop_seconds = if desired == AllocationDesired::Stopped { row.stop_seconds } else { None };
    let told = (allocation.spec.desired, allocation.spec.epoch, allocation.spec.stop_seconds);
    if told != (desired, row.epoch, stop_seconds) {
        draft.edit_spec(allocation.spec.id, |allocation| {
            allocation.spec.desired = desired;
            allocation.spec.epoch = row.epoch;
            allocation.spec.stop_seconds = stop_seconds;
        });
    }
}

fn try_to_place(draft: &mut Draft, id: InstanceId) {
    let Some(mut row) = draft.cluster.instances.get(&id).map(|row| InstanceRow::clone(row)) else { return };
    let old = row.allocation.and_then(|id| draft.cluster.allocations.get(&id)).cloned();
    if old.as_ref().is_some_and(|old| draft.cluster.brake || !is_down(&draft.cluster, old.node)) {
        return;
    }
    let leaving = old.as_ref().map(|old| (old.node, None));
    let (digest, placement) = place::choose_first(&draft.cluster, &row, leaving, draft.now);
    let chosen = placement.node.as_ref().and_then(|name| draft.cluster.node_names.get(name)).copied();
    match chosen {
        Some(node) => {
            let message =
                format!("instance {} goes to {}: {}", row.name, draft.cluster.node_name(node), placement.message);
            if let Some(old) = old {
                discard(draft, old.spec.id);
                snapshots::lose_all(draft, id);
                row.epoch += 1;
            }
            // From now on it has binaries of that instruction set in its files.
            (row.digest, row.variants) = (digest, Vec::new());
            let allocation = place::allocate(draft, &row, node, None);
            draft.edit_instance(id, |new| {
                new.epoch = row.epoch;
                (new.digest, new.variants) = (row.digest.clone(), Vec::new());
                new.allocation = allocation;
                new.stranded = false;
                new.placement = Some(placement);
            });
            draft.event(EventKind::InstancePlaced, instance_subject(&row.project, &row.name), message);
        }
        None => {
            let known = draft.cluster.waiting.get(&id);
            let news = known.is_none_or(|old| old.filtered_by != placement.filtered_by);
            if news {
                let message = format!("instance {} waits: {}", row.name, placement.message);
                draft.event(EventKind::InstanceUnplaced, instance_subject(&row.project, &row.name), message);
            }
            draft.cluster.waiting.insert(id, std::sync::Arc::new(placement));
        }
    }
}

/// Deletes every allocation; when none is left (or those left are on nodes that are down), the instance is gone.
fn remove(draft: &mut Draft, row: &InstanceRow) {
    let allocations: Vec<_> = draft.cluster.allocations_of(row.id).cloned().collect();
    let mut reachable = false;
    for allocation in allocations {
        discard(draft, allocation.spec.id);
        let kept = draft.cluster.allocations.contains_key(&allocation.spec.id);
        reachable |= kept && !is_down(&draft.cluster, allocation.node);
    }
    if reachable {
        return;
    }
    snapshots::end_operations(draft, row);
    draft.delete(Kind::Instance, row.id.to_string());
    if draft.cluster.first_boots.contains_key(&row.id) {
        draft.delete(Kind::FirstBoot, row.id.to_string());
    }
    draft.event(
        EventKind::InstanceDeleted,
        instance_subject(&row.project, &row.name),
        format!("instance {} is gone", row.name),
    );
    draft.make_room();
    for operation in open_operations(&draft.cluster, row.id) {
        draft.finish(operation, Ok(()));
    }
}

/// Tells the agent to leave nothing of an allocation; one it was never told of is simply forgotten.
fn discard(draft: &mut Draft, id: AllocationId) {
    let Some(row) = draft.cluster.allocations.get(&id).cloned() else { return };
    if row.held {
        draft.delete(Kind::Allocation, id.to_string());
        draft.make_room();
    } else if row.spec.desired != AllocationDesired::Deleted {
        draft.edit_spec(id, |row| row.spec.desired = AllocationDesired::Deleted);
    }
}

/// Begins to take an instance to another node: reserves the place, then stops what runs.
///
/// # Errors
/// `conflict` when it does not run, moves already, or no other node can take it.
pub fn begin_move(draft: &mut Draft, id: InstanceId, to: Option<NodeId>, reason: &str) -> Result<(), Problem> {
    let conflict = |detail: String| Err(Problem::new(Code::Conflict, detail));
    let Some(row) = draft.cluster.instances.get(&id).cloned() else { return Ok(()) };
    let Some(from) = row.allocation.filter(|_| row.desired == Desired::Running) else {
        return conflict(format!("instance '{}' does not run: start it, and the scheduler chooses its node", row.name));
    };
    if row.moving.is_some() {
        return conflict(format!("instance '{}' is already on its way to another node", row.name));
    }
    if row.stranded {
        let detail = "its node is lost: it is placed elsewhere as soon as another node can take it";
        return conflict(format!("instance '{}' cannot move: {detail}", row.name));
    }
    if !snapshots::is_at_rest(&row) {
        let detail = "its files are being copied: try again when that is done";
        return conflict(format!("instance '{}' cannot move: {detail}", row.name));
    }
    let Some(old) = draft.cluster.allocations.get(&from).cloned() else { return Ok(()) };
    if to == Some(old.node) {
        return conflict(format!("instance '{}' is on node '{}' already", row.name, draft.cluster.node_name(old.node)));
    }
    let placement = place::choose(&draft.cluster, &row, Some((old.node, to)), draft.now);
    let Some(node) = placement.node.as_ref().and_then(|name| draft.cluster.node_names.get(name)).copied() else {
        return conflict(format!("instance '{}' cannot move: {}", row.name, placement.message));
    };
    let allocation = place::allocate(draft, &row, node, Some(from));
    let at = draft.now;
    draft.edit_instance(id, |row| {
        row.allocation = allocation;
        row.moving = Some(Move { from, reason: reason.to_owned(), at });
        row.placement = Some(placement);
    });
    draft.edit_spec(from, |old| old.spec.desired = AllocationDesired::Stopped);
    let message = format!(
        "instance {} moves from {} to {}: {reason}",
        row.name,
        draft.cluster.node_name(old.node),
        draft.cluster.node_name(node)
    );
    draft.event(EventKind::InstanceMoved, instance_subject(&row.project, &row.name), message);
    instance(draft, id);
    Ok(())
}

/// Releases the new allocation once the old one has stopped; deletes the old one once the new one runs; turns back
/// when the new one cannot run.
fn advance_move(draft: &mut Draft, row: &InstanceRow) {
    let Some(Move { from, .. }) = row.moving.clone() else { return };
    let Some(new) = row.allocation.and_then(|id| draft.cluster.allocations.get(&id)).cloned() else { return };
    let old = draft.cluster.allocations.get(&from).cloned();
    let has_stopped = old.as_ref().is_none_or(|old| is_over(old));
    if new.held && has_stopped {
        draft.edit_spec(new.spec.id, |new| new.held = false);
    } else if is_over(&new) && new.observed.state == AllocationState::Failed && old.is_some() {
        turn_back(draft, row, (&new, &new.observed.reason), from);
    } else if !new.held && is_up(&new) {
        discard(draft, from);
        let now = draft.now;
        draft.edit_instance(row.id, |row| {
            let begun = row.moving.take().map(|moving| moving.at);
            // A move because of heat: it rests from now on, not from when it set out.
            if row.moved_at == begun {
                row.moved_at = begun.map(|_| now);
            }
        });
        snapshots::follow(draft, row.id);
    }
}

/// The new allocation cannot run (and why) while the old one's data is still there: run that again.
fn turn_back(draft: &mut Draft, row: &InstanceRow, (new, why): (&AllocationRow, &str), from: AllocationId) {
    discard(draft, new.spec.id);
    draft.edit_instance(row.id, |row| {
        row.allocation = Some(from);
        row.moving = None;
        row.epoch += 1;
    });
    let detail = format!("could not run on {}: {why}", draft.cluster.node_name(new.node));
    for operation in open_operations(&draft.cluster, row.id) {
        draft.finish(operation, Err(Problem::new(Code::InstanceFailed, detail.clone())));
    }
    let message = format!("instance {} stays where it was: it {detail}", row.name);
    draft.event(EventKind::InstanceMoved, instance_subject(&row.project, &row.name), message);
    want(draft, row.id, AllocationDesired::Running);
}

/// A move that is no longer wanted: the old allocation, which has the data, counts again. A new one that had run would
/// have ended the move.
fn abandon_move(draft: &mut Draft, row: &InstanceRow) {
    let Some(Move { from, .. }) = row.moving.clone() else { return };
    if let Some(new) = row.allocation {
        discard(draft, new);
    }
    draft.edit_instance(row.id, |row| {
        row.allocation = Some(from);
        row.moving = None;
    });
}

/// The agent has acted on the present wish and nothing of the allocation runs.
fn is_over(row: &AllocationRow) -> bool {
    row.has_acted() && row.observed.state.is_settled()
}

/// The agent has acted on the present wish and the allocation runs.
fn is_up(row: &AllocationRow) -> bool {
    row.has_acted() && row.observed.state == AllocationState::Running
}

fn is_down(cluster: &Cluster, node: NodeId) -> bool {
    cluster.live.get(&node).is_none_or(|live| matches!(live.status, NodeStatus::Down | NodeStatus::Retired))
}

/// Ends the operations whose goal is reached or out of reach.
fn settle(draft: &mut Draft, id: InstanceId) {
    let Some(row) = draft.cluster.instances.get(&id).cloned() else { return };
    let allocation = row.allocation.and_then(|id| draft.cluster.allocations.get(&id)).cloned();
    for operation in open_operations(&draft.cluster, id) {
        let Some(kind) = draft.cluster.operations.get(&operation).map(|operation| operation.kind) else { continue };
        match outcome(kind, &row, allocation.as_deref()) {
            Outcome::Waiting => draft.edit_operation(operation, |op| op.status = OperationStatus::Pending),
            Outcome::Going => draft.edit_operation(operation, |op| op.status = OperationStatus::Running),
            Outcome::Done => draft.finish(operation, Ok(())),
            Outcome::Failed(why) => draft.finish(operation, Err(Problem::new(Code::InstanceFailed, why))),
        }
    }
}

enum Outcome {
    Waiting,
    Going,
    Done,
    Failed(String),
}

fn outcome(kind: OperationKind, row: &InstanceRow, allocation: Option<&AllocationRow>) -> Outcome {
    match kind {
        OperationKind::InstanceCreate
        | OperationKind::InstanceStart
        | OperationKind::InstanceRestart
        | OperationKind::InstanceMove => match allocation {
            None => Outcome::Waiting,
            Some(_) if row.stranded || row.halted.is_some() => Outcome::Waiting,
            Some(_) if row.moving.is_some() || row.restoring.is_some() => Outcome::Going,
            Some(allocation) if is_up(allocation) => Outcome::Done,
            Some(allocation) if is_over(allocation) => Outcome::of_end(allocation),
            Some(_) => Outcome::Going,
        },
        OperationKind::InstanceStop => match allocation {
            Some(allocation) if !is_over(allocation) && !row.stranded => Outcome::Going,
            Some(_) | None => Outcome::Done,
        },
        OperationKind::SnapshotRestore => match (row.desired, allocation) {
            _ if row.restoring.is_some() => Outcome::Going,
            (Desired::Running, Some(_)) if row.stranded => Outcome::Waiting,
            (Desired::Running, Some(allocation)) if is_over(allocation) => Outcome::of_end(allocation),
            (Desired::Running, Some(allocation)) if !is_up(allocation) => Outcome::Going,
            (Desired::Stopped, Some(allocation)) if !is_over(allocation) => Outcome::Going,
            (Desired::Running | Desired::Stopped | Desired::Deleted, _) => Outcome::Done,
        },
        OperationKind::SnapshotCreate
        | OperationKind::SnapshotDelete
        | OperationKind::InstanceDelete
        | OperationKind::NodeDrain
        | OperationKind::NodePower
        | OperationKind::ImageImport => Outcome::Going,
    }
}

impl Outcome {
    /// A command that ran to its end at once and well has done what was asked.
    fn of_end(allocation: &AllocationRow) -> Self {
        match allocation.observed.exit {
            Some(exit) if exit.code == 0 && allocation.observed.state == AllocationState::Stopped => Self::Done,
            Some(_) | None => Self::Failed(allocation.observed.reason.clone()),
        }
    }
}

/// A node is down. `confirmed`: its power is off, so nothing on it can run any more.
pub fn node_lost(draft: &mut Draft, id: NodeId, why: &str, confirmed: bool) {
    let Some(node) = draft.cluster.nodes.get(&id).cloned() else { return };
    let was = draft.edit_live(id, |live| std::mem::replace(&mut live.status, NodeStatus::Down));
    if was != NodeStatus::Down {
        let subject = format!("/v1/nodes/{}", node.name);
        let message = format!("node {} is down: {why}", node.name);
        draft.event(EventKind::NodeDown, &subject, &message);
        draft.fire(&format!("node/{}", node.name), roost_types::Severity::Warning, &subject, &message);
    }
    let allocations: Vec<_> = draft.cluster.allocations_on(id).cloned().collect();
    for allocation in allocations {
        lose(draft, &allocation, confirmed);
    }
}

/// What becomes of an allocation whose node is down.
fn lose(draft: &mut Draft, allocation: &AllocationRow, confirmed: bool) {
    let Some(row) = draft.cluster.instances.get(&allocation.spec.instance).cloned() else { return };
    let may_move = confirmed || row.stranded || row.node_loss == NodeLossPolicy::Replace;
    let present = row.allocation == Some(allocation.spec.id);
    let from = row.moving.as_ref().map(|moving| moving.from);
    match (row.desired, from.and_then(|from| draft.cluster.allocations.get(&from)).cloned()) {
        (Desired::Deleted, _) => instance(draft, row.id),
        (Desired::Stopped, _) => {}
        (Desired::Running, Some(old)) if present && may_move => {
            turn_back(draft, &row, (allocation, "that node is lost"), old.spec.id);
        }
        (Desired::Running, None) if present && may_move => {
            snapshots::abandon_restore(draft, &row);
            draft.edit_instance(row.id, |row| {
                row.stranded = true;
                row.halted = None;
                row.moving = None;
            });
            draft.make_room();
            instance(draft, row.id);
        }
        (Desired::Running, _) if from == Some(allocation.spec.id) && confirmed => {
            // What it wrote is out of reach: the new allocation starts from the image.
            discard(draft, allocation.spec.id);
            if let Some(new) = row.allocation {
                draft.edit_spec(new, |new| {
                    new.held = false;
                    new.spec.seed_from = None;
                    new.spec.snapshots.clear();
                });
            }
            snapshots::lose_all(draft, row.id);
            draft.edit_instance(row.id, |row| row.moving = None);
            instance(draft, row.id);
        }
        (Desired::Running, _) => {}
    }
}

/// A node that was down answers again: what was not placed elsewhere meanwhile goes on there, with its files.
pub fn node_returned(draft: &mut Draft, id: NodeId) {
    let allocations: Vec<_> = draft.cluster.allocations_on(id).cloned().collect();
    for allocation in allocations {
        let row = draft.cluster.instances.get(&allocation.spec.instance);
        if row.is_some_and(|row| row.stranded && row.allocation == Some(allocation.spec.id)) {
            draft.edit_instance(allocation.spec.instance, |row| row.stranded = false);
            instance(draft, allocation.spec.instance);
        }
    }
}
