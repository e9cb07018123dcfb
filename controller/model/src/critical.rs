//! What is critical: the least important work stops first, one instance at a time; what stays critical loses its power.
//!
//! ```text
//!  critical, with evidence ─▶ halt lowest priority ─dwell─▶ the next … ─▶ none left ─dwell─▶ cut the power
//!                                       │
//!                 no longer hot ◀───────┴─▶ another node has room: it goes on there
//! ```
//!
//! Evidence is the board's own sensor, or two sources that do not depend on each other: a lone probe, whatever it
//! says, stops nothing and powers nothing off. A halted instance keeps the user's wish to run; it waits with its files.

use std::cmp::Reverse;

use roost_types::{
    AllocationState, Desired, EventKind, InstanceId, NodeId, NodeStatus, OperationKind, Severity, ThermalState,
};

use crate::actions::{self, Step};
use crate::cluster::Cluster;
use crate::decide::{instance_subject, node_resource, node_subject};
use crate::draft::Draft;
use crate::row::{Halt, InstanceRow};
use crate::{drain, place, reconcile, snapshots};

/// Takes the next step for every critical board, and lets go on what need not wait any more.
pub fn step(draft: &mut Draft) {
    let halted: Vec<InstanceId> = draft.cluster.halted.iter().copied().collect();
    for id in halted {
        resume(draft, id);
    }
    let nodes: Vec<NodeId> = draft.cluster.live.keys().copied().collect();
    for node in nodes {
        relieve(draft, node);
    }
}

/// The next step for one board, if there is evidence that it is critical and the last step had its time to work.
fn relieve(draft: &mut Draft, id: NodeId) {
    let Some(why) = evidence(&draft.cluster, id, draft.now) else {
        if draft.cluster.live.get(&id).is_some_and(|live| live.critical_since.is_some()) {
            draft.edit_live(id, |live| (live.critical_since, live.relieved_at) = (None, None));
        }
        return;
    };
    let now = draft.now;
    let config = std::sync::Arc::clone(&draft.cluster.config);
    let (since, relieved) = draft.edit_live(id, |live| (*live.critical_since.get_or_insert(now), live.relieved_at));
    let rested = relieved.is_none_or(|at| now.since(at) >= config.halt_dwell);
    if now.since(since) < config.halt_after || !rested {
        return;
    }
    let began = match least_important(&draft.cluster, id) {
        Some(instance) => actions::act(draft, Step::Halt(id, instance), &why),
        None if something_runs(&draft.cluster, id) => false,
        None => last_resort(draft, id, &why),
    };
    if began {
        draft.edit_live(id, |live| live.relieved_at = Some(now));
    }
}

/// Nothing runs on it and it is critical all the same: cuts its power, where anything can.
fn last_resort(draft: &mut Draft, id: NodeId, why: &str) -> bool {
    let Some(node) = draft.cluster.nodes.get(&id).cloned() else { return false };
    let switched = draft.cluster.power_orders.values().any(|other| *other == id);
    if switched || draft.cluster.brake {
        return false;
    }
    if !draft.cluster.config.power_everywhere && !draft.cluster.config.rack.power.contains_key(&node.name) {
        let message =
            format!("node {} is critical with nothing running, and nothing can cut its power: {why}", node.name);
        draft.fire(&format!("power/{}", node.name), Severity::Critical, &node_subject(&node.name), &message);
        return false;
    }
    actions::act(draft, Step::CutPower(id), why)
}

/// Why a board must be relieved at once: its own sensor says so, or its air does and its own sensor agrees that it is hot,
/// or two probes say so where it has no sensor. None otherwise, however hot one probe is.
fn evidence(cluster: &Cluster, id: NodeId, now: roost_types::Timestamp) -> Option<String> {
    let (node, live) = (cluster.nodes.get(&id)?, cluster.live.get(&id)?);
    if live.status != NodeStatus::Ready || live.heat.state() != ThermalState::Critical {
        return None;
    }
    let policy = &cluster.config.thermal;
    let zone = cluster.zone_of(node);
    let air = zone.and_then(|zone| Some((cluster.zones.get(&zone.name)?, policy.inlet_limits(zone.limits.as_ref()))));
    let soc = live.heat.soc().filter(|_| live.heat.soc_age(now).is_some_and(|age| age <= policy.stale_after));
    let limits = live.heat.limits()?;
    let witnesses = air.map_or(0, |(air, limits)| air.witnesses(now, policy, limits.critical));
    let holds = match soc {
        Some(soc) => soc >= limits.critical || (witnesses > 0 && soc >= limits.hot),
        None => witnesses > 1,
    };
    holds.then(|| drain::why_hot(cluster, id, now))
}

/// The running instance of the lowest priority; of several the one that heats most, then by name.
fn least_important(cluster: &Cluster, node: NodeId) -> Option<InstanceId> {
    let running = cluster.allocations_on(node).filter_map(|allocation| {
        let row = cluster.instances.get(&allocation.spec.instance)?;
        let over = allocation.has_acted() && allocation.observed.state.is_settled();
        let runs = !over
            && row.desired == Desired::Running
            && row.allocation == Some(allocation.spec.id)
            && row.halted.is_none()
            && row.moving.is_none()
            && !row.stranded
            && snapshots::is_at_rest(row);
        runs.then_some(row)
    });
    let order = |row: &&std::sync::Arc<InstanceRow>| {
        (row.priority, Reverse(row.resources.cpu_millis), row.name.clone(), row.id)
    };
    running.min_by_key(order).map(|row| row.id)
}

fn something_runs(cluster: &Cluster, node: NodeId) -> bool {
    cluster.allocations_on(node).any(|allocation| match allocation.observed.state {
        AllocationState::Starting | AllocationState::Running | AllocationState::Stopping => true,
        AllocationState::Pending
        | AllocationState::Preparing
        | AllocationState::Stopped
        | AllocationState::Failed
        | AllocationState::Lost => false,
    })
}

/// Halts an instance where it is: it stops, and goes on by itself once it may.
pub fn halt(draft: &mut Draft, node: NodeId, id: InstanceId, why: &str) {
    let Some(row) = draft.cluster.instances.get(&id).cloned() else { return };
    let at = draft.now;
    draft.edit_instance(id, |row| row.halted = Some(Box::new(Halt { reason: why.to_owned(), at })));
    let name = draft.cluster.node_name(node);
    let message = format!("halted {} (priority {}) on {name}: {why}", row.name, row.priority);
    draft.event(EventKind::InstanceHalted, instance_subject(&row.project, &row.name), message);
    reconcile::instance(draft, id);
}

/// Asks for a node's power to be cut: the shell does it and tells the end, confirmed or not.
pub fn cut_power(draft: &mut Draft, id: NodeId, why: &str) {
    let Some(node) = draft.cluster.nodes.get(&id).cloned() else { return };
    let operation = draft.open(OperationKind::NodePower, node_resource(id));
    draft.cluster.power_orders.insert(operation, id);
    let message = format!("cutting the power of {}: nothing runs on it any more and {why}", node.name);
    draft.event(EventKind::NodePowerChanged, node_subject(&node.name), message);
}

/// A halted instance goes on where it is once that board is not hot any more, or on another one that has room.
fn resume(draft: &mut Draft, id: InstanceId) {
    let Some(row) = draft.cluster.instances.get(&id).cloned() else { return };
    let node = row.allocation.and_then(|id| draft.cluster.allocations.get(&id)).map(|allocation| allocation.node);
    let state = node.and_then(|node| draft.cluster.live.get(&node)).map(|live| (live.status, live.heat.state()));
    match state {
        Some((NodeStatus::Ready, ThermalState::Nominal | ThermalState::Warm)) => {
            let message = format!("instance {} goes on: its board has cooled", row.name);
            draft.event(EventKind::InstanceUpdated, instance_subject(&row.project, &row.name), message);
            go_on(draft, &row);
        }
        Some((NodeStatus::Ready, _)) if may_leave(&draft.cluster, &row) => {
            // `try_elsewhere` in vain changes nothing; it is tried again when something has room.
            let _ = try_elsewhere(draft, &row);
        }
        Some(_) | None => {}
    }
}

fn go_on(draft: &mut Draft, row: &InstanceRow) {
    let settled = reconcile::has_settled(&draft.cluster, row);
    draft.edit_instance(row.id, |row| {
        row.halted = None;
        row.epoch += u64::from(settled);
    });
    reconcile::instance(draft, row.id);
}

/// Some node may have room since it was last looked for, and nothing else is on its way.
fn may_leave(cluster: &Cluster, row: &InstanceRow) -> bool {
    !cluster.heat_brake && cluster.moving.is_empty() && cluster.tried != cluster.room && row.moving.is_none()
}

fn try_elsewhere(draft: &mut Draft, row: &InstanceRow) -> Result<(), roost_types::Problem> {
    let node = row.allocation.and_then(|id| draft.cluster.allocations.get(&id)).map(|allocation| allocation.node);
    let leaving = node.map(|node| (node, None));
    if place::choose(&draft.cluster, row, leaving, draft.now).node.is_none() {
        return Ok(());
    }
    let reason = row.halted.as_ref().map(|halt| halt.reason.clone()).unwrap_or_default();
    draft.edit_instance(row.id, |row| row.halted = None);
    reconcile::begin_move(draft, row.id, None, &format!("it was halted: {reason}"))
}
