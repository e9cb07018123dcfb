//! Emptying nodes: those an operator drains, and those that are hot. One instance at a time, cheapest first.

use std::sync::Arc;

use roost_types::allocation::AllocationDesired;
use roost_types::{
    Desired, Eligibility, EventKind, InstanceId, NodeId, NodeStatus, OperationId, OperationKind, Severity,
    ThermalState, Timestamp,
};

use crate::brake::many_at_once;
use crate::cluster::Cluster;
use crate::decide::{node_resource, node_subject};
use crate::draft::Draft;
use crate::row::{AllocationRow, InstanceRow, NodeRow};
use crate::{reconcile, snapshots};

/// Takes the next step of every drain.
pub fn step(draft: &mut Draft) {
    hot_nodes(draft);
    asked_for(draft);
}

fn hot_nodes(draft: &mut Draft) {
    let hot: Vec<NodeId> = draft.cluster.nodes.keys().copied().filter(|id| is_hot(&draft.cluster, *id)).collect();
    brake(draft, hot.len());
    if hot.is_empty() || draft.cluster.heat_brake || is_moving(&draft.cluster) {
        return;
    }
    let rested = |row: &InstanceRow| has_rested(&draft.cluster, row, draft.now);
    let Some((id, node)) = cheapest(&draft.cluster, &hot, draft.now, rested) else { return };
    let reason = why_hot(&draft.cluster, node);
    if reconcile::begin_move(draft, id, None, &reason).is_ok() {
        let now = draft.now;
        draft.edit_instance(id, |row| row.moved_at = Some(now));
    }
}

/// Half of the rack hot at once is a cooling failure: nothing is moved, and a person is told.
fn brake(draft: &mut Draft, hot: usize) {
    let ready = draft.cluster.live.values().filter(|live| live.status == NodeStatus::Ready).count();
    let engaged = many_at_once(hot, ready);
    if engaged == draft.cluster.heat_brake {
        return;
    }
    draft.cluster.heat_brake = engaged;
    if engaged {
        let message = format!("{hot} of {ready} nodes are hot at once: cooling has failed; nothing is moved");
        draft.event(EventKind::BrakeEngaged, "/v1/rack", &message);
        draft.fire("rack/heat", Severity::Critical, "/v1/rack", &message);
    } else {
        draft.resolve("rack/heat");
        draft.event(EventKind::BrakeReleased, "/v1/rack", format!("{hot} of {ready} nodes are hot: drains go on"));
    }
}

/// An instance is on its way because of heat or a drain: one at a time.
fn is_moving(cluster: &Cluster) -> bool {
    !cluster.moving.is_empty()
}

fn is_hot(cluster: &Cluster, id: NodeId) -> bool {
    let state = cluster.live.get(&id).filter(|live| live.status == NodeStatus::Ready).map(|live| live.heat.state());
    matches!(state, Some(ThermalState::Hot | ThermalState::Critical))
}

fn why_hot(cluster: &Cluster, id: NodeId) -> String {
    let (Some(node), Some(live)) = (cluster.nodes.get(&id), cluster.live.get(&id)) else { return String::new() };
    format!("{} is {}: {}", node.name, live.heat.state(), live.heat.reason())
}

/// The instance that costs least to move: the least memory, by name among equals. One for which no other node has room
/// now is passed over, and so is one that is not `ready` to be moved.
fn cheapest(
    cluster: &Cluster,
    nodes: &[NodeId],
    now: Timestamp,
    ready: impl Fn(&InstanceRow) -> bool,
) -> Option<(InstanceId, NodeId)> {
    let mut movable: Vec<(&InstanceRow, NodeId)> = nodes
        .iter()
        .flat_map(|node| cluster.allocations_on(*node))
        .filter_map(|allocation| {
            let row = cluster.instances.get(&allocation.spec.instance)?;
            let runs = row.desired == Desired::Running
                && row.allocation == Some(allocation.spec.id)
                && !row.stranded
                && snapshots::is_at_rest(row);
            Some((row.as_ref(), allocation.node)).filter(|(row, _)| runs && ready(row))
        })
        .collect();
    movable.sort_by(|(a, _), (b, _)| {
        (a.resources.memory_bytes, &a.name, a.id).cmp(&(b.resources.memory_bytes, &b.name, b.id))
    });
    let has_place =
        |row: &InstanceRow, from| crate::place::choose(cluster, row, Some((from, None)), now).node.is_some();
    let (row, node) = movable.into_iter().find(|(row, node)| has_place(row, *node))?;
    Some((row.id, node))
}

/// It was not moved because of heat lately.
fn has_rested(cluster: &Cluster, row: &InstanceRow, now: Timestamp) -> bool {
    row.moved_at.is_none_or(|at| now.since(at) >= cluster.config.move_cooldown)
}

/// Nothing of it runs and nobody wants it to: it may stay, with its data, on a node that is being emptied.
fn rests(allocation: &AllocationRow) -> bool {
    allocation.spec.desired == AllocationDesired::Stopped && allocation.observed.state.is_settled()
}

/// Drains that an operator asked for: the operation ends when nothing on the node runs.
fn asked_for(draft: &mut Draft) {
    let draining = |node: &&Arc<NodeRow>| node.eligibility == Eligibility::Draining;
    let nodes: Vec<NodeRow> = draft.cluster.nodes.values().filter(draining).map(|n| NodeRow::clone(n)).collect();
    for node in nodes {
        if draft.cluster.allocations_on(node.id).all(|allocation| rests(allocation)) {
            finish_drain(draft, &node);
        } else if !is_moving(&draft.cluster) {
            let Some((id, _)) = cheapest(&draft.cluster, &[node.id], draft.now, |_| true) else { continue };
            let reason = format!("{} is being emptied", node.name);
            // `cheapest` found a place for it in this very state.
            let _ = reconcile::begin_move(draft, id, None, &reason);
        }
    }
}

fn finish_drain(draft: &mut Draft, node: &NodeRow) {
    for operation in open_drains(&draft.cluster, node.id) {
        draft.finish(operation, Ok(()));
    }
    crate::decide::end_drain(draft, node.id);
    let stay = draft.cluster.allocations_on(node.id).count();
    let stay = if stay == 0 { String::new() } else { format!(" ({stay} stopped instances stay with their data)") };
    let message = format!("nothing runs on node {} any more{stay}; it stays cordoned", node.name);
    draft.event(EventKind::NodeEligibilityChanged, node_subject(&node.name), message);
}

/// Drains of a node that have not ended.
pub fn open_drains(cluster: &Cluster, node: NodeId) -> Vec<OperationId> {
    let on_it = cluster.open_on.get(&node_resource(node)).into_iter().flatten();
    let is_drain =
        |id: &&OperationId| cluster.operations.get(*id).is_some_and(|op| op.kind == OperationKind::NodeDrain);
    on_it.filter(is_drain).copied().collect()
}
