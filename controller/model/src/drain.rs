//! Emptying nodes: those an operator drains, and those that are hot. One instance at a time, cheapest first.

use std::cmp::Reverse;
use std::sync::Arc;

use roost_types::allocation::AllocationDesired;
use roost_types::{
    Desired, Eligibility, EventKind, InstanceId, MemoryBytes, MilliCelsius, NodeId, NodeStatus, OperationId,
    OperationKind, Severity, ThermalState, Timestamp,
};

use crate::actions::{self, Step};
use crate::brake::many_at_once;
use crate::cluster::{Cluster, NodeLive};
use crate::decide::{node_resource, node_subject};
use crate::draft::Draft;
use crate::row::{AllocationRow, InstanceRow, NodeRow};
use crate::{place, reconcile, snapshots};

/// Takes the next step of every drain.
pub fn step(draft: &mut Draft) {
    hot_nodes(draft);
    asked_for(draft);
}

fn hot_nodes(draft: &mut Draft) {
    let hot = draft.cluster.nodes.keys().filter(|id| is_hot(&draft.cluster, **id)).count();
    brake(draft, hot);
    if draft.cluster.heat_brake {
        return;
    }
    for node in nodes_to_relieve(&draft.cluster) {
        if is_moving(&draft.cluster) || !has_paused(&draft.cluster, draft.now) {
            return;
        }
        let Some(id) = next_to_leave(&draft.cluster, node, draft.now) else { continue };
        let reason = why_hot(&draft.cluster, node, draft.now);
        actions::act(draft, Step::Move(node, id), &reason);
    }
}

/// The instance that should leave a node: the one that is proposed already, as long as that is of use, else the cheapest.
fn next_to_leave(cluster: &Cluster, node: NodeId, now: Timestamp) -> Option<InstanceId> {
    let proposed = actions::proposed_move(cluster, node);
    let rested = |row: &InstanceRow| has_rested(cluster, row, now);
    let again = proposed.and_then(|id| cheapest(cluster, node, now, |row| row.id == id && rested(row)));
    again.or_else(|| cheapest(cluster, node, now, rested)).map(|(id, _)| id)
}

/// The last move because of heat began long enough ago: a rack does not set everything in motion at once.
fn has_paused(cluster: &Cluster, now: Timestamp) -> bool {
    cluster.moved_for_heat.is_none_or(|at| now.since(at) >= cluster.config.move_pause)
}

/// Nodes that are too hot or soon will be, the hottest first, by id among equals. One that is hot and already on its way
/// back is left alone.
fn nodes_to_relieve(cluster: &Cluster) -> Vec<NodeId> {
    let troubled = |(id, live): (&NodeId, &Arc<NodeLive>)| {
        let heat = &live.heat;
        let relieve = live.status == NodeStatus::Ready && (heat.needs_relief().is_some() || heat.is_hot_by_air());
        relieve.then(|| (Reverse((heat.state(), heat.predicted())), *id))
    };
    let mut nodes: Vec<_> = cluster.live.iter().filter_map(troubled).collect();
    nodes.sort();
    nodes.into_iter().map(|(_, id)| id).collect()
}

/// Half of the rack hot at once is a cooling failure: nothing is moved, and a person is told.
fn brake(draft: &mut Draft, hot: usize) {
    let ready = draft.cluster.live.values().filter(|live| live.status == NodeStatus::Ready).count();
    let engaged = many_at_once(hot, ready);
    if engaged == draft.cluster.heat_brake {
        return;
    }
    draft.cluster.heat_brake = engaged;
    draft.make_room();
    if engaged {
        let message =
            format!("{hot} of {ready} nodes are hot at once: cooling has failed; fans go to full and nothing is moved");
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

/// Why a node must be relieved, with every number that it was decided by.
pub fn why_hot(cluster: &Cluster, id: NodeId, now: Timestamp) -> String {
    let (Some(node), Some(live)) = (cluster.nodes.get(&id), cluster.live.get(&id)) else { return String::new() };
    let (state, reason) = (live.heat.state(), live.heat.reason());
    let prediction = match (live.heat.predicted(), live.heat.limits()) {
        (Some(predicted), Some(limits)) if state < ThermalState::Hot => {
            let seconds = cluster.config.thermal.horizon.as_secs();
            format!("; predicted {predicted} ≥ hot {} in {seconds} s", limits.hot)
        }
        _ => String::new(),
    };
    format!("{} is {state}: {reason}{prediction}{}", node.name, air_of(cluster, node, now))
}

/// The air of a node's zone, and how old what is known of it is.
fn air_of(cluster: &Cluster, node: &NodeRow, now: Timestamp) -> String {
    let zone = cluster.zone_of(node).and_then(|zone| Some((&zone.name, cluster.zones.get(&zone.name)?)));
    match zone.and_then(|(name, heat)| Some((name, heat.measured()?, heat.age(now)?))) {
        Some((name, inlet, age)) => format!(", zone {name} inlet {inlet} {:.0} s old", age.as_secs_f64()),
        None => String::new(),
    }
}

/// The instance to move off a node so that least has to be moved: the smallest that is enough to make a hot board safe,
/// the largest while none is; where everything must go the least memory first. By name among equals. One for which no
/// other node has room now is passed over, and so is one that is not `ready` to be moved.
fn cheapest(
    cluster: &Cluster,
    node: NodeId,
    now: Timestamp,
    ready: impl Fn(&InstanceRow) -> bool,
) -> Option<(InstanceId, NodeId)> {
    let movable = cluster.allocations_on(node).filter_map(|allocation| {
        let row = cluster.instances.get(&allocation.spec.instance)?;
        let runs = row.desired == Desired::Running
            && row.allocation == Some(allocation.spec.id)
            && !row.stranded
            && row.halted.is_none()
            && snapshots::is_at_rest(row);
        Some(row.as_ref()).filter(|row| runs && ready(row))
    });
    let mut movable: Vec<(Cost, &InstanceRow)> = movable.map(|row| (cost(cluster, node, row), row)).collect();
    movable.sort_by(|(a, left), (b, right)| (a, &left.name, left.id).cmp(&(b, &right.name, right.id)));
    let has_place = |row: &InstanceRow| place::choose(cluster, row, Some((node, None)), now).node.is_some();
    movable.into_iter().find(|(_, row)| has_place(row)).map(|(_, row)| (row.id, node))
}

/// What it costs to move an instance; the least is moved first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// The board is safe without it.
    Enough(MemoryBytes),
    /// Others must follow: the more it relieves the better.
    NotEnough(Reverse<MilliCelsius>, MemoryBytes),
}

fn cost(cluster: &Cluster, node: NodeId, row: &InstanceRow) -> Cost {
    let memory = row.resources.memory_bytes;
    let heat = cluster.live.get(&node).map(|live| &live.heat);
    let Some((heat, needed)) = heat.and_then(|heat| Some((heat, heat.needs_relief()?))) else {
        return Cost::Enough(memory);
    };
    let relief = heat.rise_of(place::share_of_cores(cluster, node, row));
    if relief >= needed { Cost::Enough(memory) } else { Cost::NotEnough(Reverse(relief), memory) }
}

/// It was not moved because of heat lately.
fn has_rested(cluster: &Cluster, row: &InstanceRow, now: Timestamp) -> bool {
    row.moved_at.is_none_or(|at| now.since(at) >= cluster.config.move_cooldown)
}

/// Nothing of it runs and nobody wants it to: it may stay, with its data, on a node that is being emptied. One that its
/// instance has left must go: until the new one runs, its data is needed.
fn rests(cluster: &Cluster, allocation: &AllocationRow) -> bool {
    let is_present = |row: &Arc<InstanceRow>| row.allocation == Some(allocation.spec.id);
    let stays = cluster.instances.get(&allocation.spec.instance).is_some_and(is_present);
    stays && allocation.spec.desired == AllocationDesired::Stopped && allocation.observed.state.is_settled()
}

/// Drains that an operator asked for: the operation ends when nothing on the node runs.
fn asked_for(draft: &mut Draft) {
    let draining = |node: &&Arc<NodeRow>| node.eligibility == Eligibility::Draining;
    let nodes: Vec<NodeRow> = draft.cluster.nodes.values().filter(draining).map(|n| NodeRow::clone(n)).collect();
    for node in nodes {
        if draft.cluster.allocations_on(node.id).all(|allocation| rests(&draft.cluster, allocation)) {
            finish_drain(draft, &node);
        } else if !is_moving(&draft.cluster) {
            let Some((id, _)) = cheapest(&draft.cluster, node.id, draft.now, |_| true) else { continue };
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
