//! What operators ask of nodes.

use std::sync::Arc;

use roost_types::node::{PatchNode, PowerAction};
use roost_types::{
    Code, Eligibility, EventKind, MilliCelsius, Name, NodeId, NodeStatus, OperationId, OperationKind, OperationStatus,
    Problem, Severity, ThermalState,
};

use crate::cluster::NodeLive;
use crate::command::Reply;
use crate::decide::instances::check_generation;
use crate::draft::Draft;
use crate::row::{Kind, NodeRow, Row};
use crate::{drain, reconcile, validate};

/// How far above the dew point a board must be to be powered on, in thousandths of a degree: below, water may condense.
const DEW_MARGIN: i32 = 2_000;

pub fn subject(name: &Name) -> String {
    format!("/v1/nodes/{name}")
}

pub fn resource(id: NodeId) -> String {
    format!("/v1/nodes/{id}")
}

pub fn register(draft: &mut Draft, name: &Name) -> Result<Reply, Problem> {
    if let Some(id) = draft.cluster.node_names.get(name).copied() {
        stand_where_the_rack_says(draft, id, name);
        return Ok(Reply::Node(id));
    }
    let network = draft.cluster.config.network;
    let taken = |index: &u32| draft.cluster.nodes.values().any(|node| node.network_index == *index);
    let Some(network_index) = (1..=network.nodes()).find(|index| !taken(index)) else {
        let detail = format!("the instance network has room for {} nodes: choose a larger one", network.nodes());
        return Err(Problem::new(Code::Conflict, detail));
    };
    let id = draft.node_id();
    let slot = draft.cluster.config.rack.nodes.get(name).cloned();
    let revision = draft.next_revision();
    draft.put(Row::Node(NodeRow {
        id,
        name: name.clone(),
        network_index,
        eligibility: Eligibility::Eligible,
        slot,
        labels: std::collections::BTreeMap::new(),
        limits: None,
        facts: None,
        monitored: false,
        desired_generation: revision,
        generation: revision,
        created_at: draft.now,
    }));
    draft.cluster.live.insert(id, Arc::new(NodeLive::unheard(draft.now)));
    draft.event(EventKind::NodeJoined, subject(name), format!("node {name} is known"));
    Ok(Reply::Node(id))
}

/// `rack.yaml` says where the nodes it names stand, also after it was changed.
fn stand_where_the_rack_says(draft: &mut Draft, id: NodeId, name: &Name) {
    let slot = draft.cluster.config.rack.nodes.get(name).cloned();
    let known = draft.cluster.nodes.get(&id).and_then(|node| node.slot.clone());
    if slot.is_some() && slot != known {
        draft.edit_node(id, |node| node.slot = slot);
    }
}

pub fn patch(draft: &mut Draft, reference: &str, patch: &PatchNode, if_match: Option<u64>) -> Result<Reply, Problem> {
    let row = NodeRow::clone(draft.cluster.find_node(reference)?);
    check_generation(row.generation, if_match)?;
    check_patch(draft, &row, patch)?;
    let generation = draft.next_revision();
    draft.edit_node(row.id, |node| {
        node.generation = generation;
        node.eligibility = patch.eligibility.unwrap_or(node.eligibility);
        node.slot = patch.slot.clone().or(node.slot.take());
        node.labels = patch.labels.clone().unwrap_or_else(|| node.labels.clone());
        node.limits = patch.limits.or(node.limits);
    });
    if patch.eligibility.is_some() {
        for operation in drain::open_drains(&draft.cluster, row.id) {
            draft.edit_operation(operation, |operation| operation.status = OperationStatus::Cancelled);
        }
    }
    let (kind, what) = match patch.eligibility {
        Some(Eligibility::Eligible) => (EventKind::NodeEligibilityChanged, "may be used"),
        Some(Eligibility::Cordoned | Eligibility::Draining) => {
            (EventKind::NodeEligibilityChanged, "is cordoned: it gets nothing new")
        }
        None => (EventKind::NodeUpdated, "has new settings"),
    };
    draft.event(kind, subject(&row.name), format!("node {} {what}", row.name));
    draft.make_room();
    reconcile::pending(draft);
    Ok(Reply::Node(row.id))
}

fn check_patch(draft: &Draft, row: &NodeRow, patch: &PatchNode) -> Result<(), Problem> {
    let invalid = |field: &str, detail: String| Err(Problem::new(Code::InvalidField, detail).field(field));
    if patch.eligibility == Some(Eligibility::Draining) {
        return invalid("eligibility", "use POST /v1/nodes/{node}/drain to empty a node".to_owned());
    }
    if let Some(labels) = &patch.labels {
        validate::labels("labels", labels)?;
    }
    if let Some(slot) = &patch.slot {
        let other = draft.cluster.nodes.values().find(|node| node.id != row.id && node.slot.as_ref() == Some(slot));
        if let Some(other) = other {
            return invalid("slot", format!("node '{}' stands in slot {slot}", other.name));
        }
    }
    match patch.limits {
        Some(l) if l.warm >= l.hot || l.hot >= l.critical => {
            invalid("limits", "the limits must rise: warm < hot < critical".to_owned())
        }
        Some(_) | None => Ok(()),
    }
}

pub fn drain(draft: &mut Draft, reference: &str) -> Result<Reply, Problem> {
    let row = NodeRow::clone(draft.cluster.find_node(reference)?);
    let operation = draft.open(OperationKind::NodeDrain, resource(row.id));
    let generation = draft.next_revision();
    draft.edit_node(row.id, |node| {
        node.generation = generation;
        node.eligibility = Eligibility::Draining;
    });
    draft.event(EventKind::NodeEligibilityChanged, subject(&row.name), format!("node {} is being emptied", row.name));
    drain::step(draft);
    Ok(Reply::NodeOperation { node: row.id, operation })
}

/// A drain that ended or was cancelled leaves the node cordoned: a person says when it may be used again.
pub fn end_drain(draft: &mut Draft, id: NodeId) {
    draft.edit_node(id, |node| node.eligibility = Eligibility::Cordoned);
}

pub fn delete(draft: &mut Draft, reference: &str) -> Result<Reply, Problem> {
    let row = NodeRow::clone(draft.cluster.find_node(reference)?);
    let status = draft.cluster.live.get(&row.id).map_or(NodeStatus::Joining, |live| live.status);
    if status == NodeStatus::Ready {
        let detail = format!("node '{}' is ready: switch it off first, it would come back at once", row.name);
        return Err(Problem::new(Code::Conflict, detail));
    }
    if draft.cluster.allocations_on(row.id).next().is_some() {
        let detail = format!("node '{}' has instances: drain it or delete them first", row.name);
        return Err(Problem::new(Code::Conflict, detail));
    }
    draft.delete(Kind::Node, row.id.to_string());
    draft.event(EventKind::NodeRemoved, subject(&row.name), format!("node {} was forgotten", row.name));
    Ok(Reply::Node(row.id))
}

pub fn begin_power(
    draft: &mut Draft,
    reference: &str,
    action: PowerAction,
    despite_condensation: bool,
) -> Result<Reply, Problem> {
    let row = NodeRow::clone(draft.cluster.find_node(reference)?);
    let resource = resource(row.id);
    let busy = |id: &OperationId| {
        let operation = draft.cluster.operations.get(id);
        operation.is_some_and(|op| op.kind == OperationKind::NodePower && op.resource == resource)
    };
    if draft.cluster.open_operations.iter().any(busy) {
        return Err(Problem::new(Code::Conflict, format!("the power of node '{}' is being switched", row.name)));
    }
    match action {
        PowerAction::On | PowerAction::Cycle if !despite_condensation => refuse_condensation(draft, &row)?,
        PowerAction::On | PowerAction::Cycle | PowerAction::Off => {}
    }
    let operation = draft.open(OperationKind::NodePower, resource);
    Ok(Reply::NodeOperation { node: row.id, operation })
}

/// The controller restarted: nobody waits for the confirmation of what was being switched.
pub fn abandon_power(draft: &mut Draft) {
    let open: Vec<OperationId> = draft.cluster.open_operations.iter().copied().collect();
    for id in open {
        if draft.cluster.operations.get(&id).is_some_and(|operation| operation.kind == OperationKind::NodePower) {
            let detail = "the controller was restarted while the power was switched: look at the node, and ask again";
            draft.finish(id, Err(Problem::new(Code::PowerUnknown, detail)));
        }
    }
}

/// A board colder than the dew point of its zone is not powered on.
fn refuse_condensation(draft: &Draft, row: &NodeRow) -> Result<(), Problem> {
    let Some(zone) = draft.cluster.zone_of(row).and_then(|zone| draft.cluster.zones.get(&zone.name)) else {
        return Ok(());
    };
    match (zone.measured(), zone.dew_point()) {
        (Some(air), Some(dew)) if zone.state() != ThermalState::Unknown && air.0 < dew.0 + DEW_MARGIN => {
            let detail = format!(
                "water may condense: the air at node '{}' has {air} and its dew point is {dew}; a board is switched on \
                 from {} up: warm or dry the room, or ask with despite_condensation",
                row.name,
                MilliCelsius(dew.0 + DEW_MARGIN)
            );
            Err(Problem::new(Code::Conflict, detail))
        }
        _ => Ok(()),
    }
}

pub fn finish_power(
    draft: &mut Draft,
    operation: OperationId,
    id: NodeId,
    action: PowerAction,
    outcome: Result<(), &str>,
) {
    draft.cluster.power_orders.remove(&operation);
    let Some(row) = draft.cluster.nodes.get(&id).cloned() else { return };
    let alert = format!("power/{}", row.name);
    match outcome {
        Ok(()) => {
            draft.finish(operation, Ok(()));
            draft.resolve(&alert);
            let what = match action {
                PowerAction::On => "is on",
                PowerAction::Off => "is off, confirmed",
                PowerAction::Cycle => "was cycled",
            };
            draft.event(EventKind::NodePowerChanged, subject(&row.name), format!("power of node {} {what}", row.name));
            if action == PowerAction::Off {
                reconcile::node_lost(draft, id, "its power is off", true);
            }
        }
        Err(why) => {
            draft.finish(operation, Err(Problem::new(Code::PowerUnknown, why)));
            let message = format!("the power of node {} is unknown: {why}", row.name);
            draft.fire(&alert, Severity::Critical, &subject(&row.name), &message);
        }
    }
}
