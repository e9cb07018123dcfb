//! A quarter of a second has passed: who is silent, what got hot, who can be placed now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use roost_thermal::{Around, NodeHeat, Rise};
use roost_types::{EventKind, MilliCelsius, Name, NodeId, NodeStatus, Severity, ThermalState};

use crate::brake::many_at_once;
use crate::cluster::Cluster;
use crate::decide::nodes::subject;
use crate::draft::Draft;
use crate::row::NodeRow;
use crate::{actions, alerts, cooling, critical, drain, reconcile};

/// The brake is let go when it has had no reason for so long.
const BRAKE_HOLD: Duration = Duration::from_secs(60);

pub fn tick(draft: &mut Draft) {
    let nodes: Vec<Arc<NodeRow>> = draft.cluster.nodes.values().cloned().collect();
    silence(draft, &nodes);
    zones(draft);
    heats(draft, &nodes);
    drain::step(draft);
    critical::step(draft);
    actions::expire(draft);
    cooling::step(draft, &nodes);
    reconcile::pending(draft);
    alerts::step(draft);
}

/// How long a node has been silent: since it was last heard, or since this controller began to listen.
fn silent_for(draft: &Draft, id: NodeId) -> (NodeStatus, Duration) {
    match draft.cluster.live.get(&id) {
        None => (NodeStatus::Joining, Duration::ZERO),
        Some(live) => (live.status, draft.now.since(live.last_seen.unwrap_or(live.since))),
    }
}

fn silence(draft: &mut Draft, nodes: &[Arc<NodeRow>]) {
    brake(draft, nodes);
    let (unreachable_after, down_after) = (draft.cluster.config.unreachable_after, draft.cluster.config.down_after);
    for node in nodes {
        let (status, silent) = silent_for(draft, node.id);
        match status {
            NodeStatus::Ready if silent >= unreachable_after => {
                draft.edit_live(node.id, |live| live.status = NodeStatus::Unreachable);
                let message = format!("node {} has been silent for {:.0} s", node.name, silent.as_secs_f64());
                draft.event(EventKind::NodeUnreachable, subject(&node.name), message);
            }
            NodeStatus::Unreachable | NodeStatus::Joining if silent >= down_after && node.facts.is_some() => {
                let why = format!("silent for {:.0} s", silent.as_secs_f64());
                reconcile::node_lost(draft, node.id, &why, false);
            }
            NodeStatus::Joining
            | NodeStatus::Ready
            | NodeStatus::Unreachable
            | NodeStatus::Down
            | NodeStatus::Retired => {}
        }
    }
}

/// Many nodes silent at once: nothing is moved until they are back.
fn brake(draft: &mut Draft, nodes: &[Arc<NodeRow>]) {
    let known = nodes.iter().filter(|node| node.facts.is_some()).count();
    let silent = nodes
        .iter()
        .filter(|node| {
            let (status, silent) = silent_for(draft, node.id);
            let newly = matches!(status, NodeStatus::Ready | NodeStatus::Unreachable);
            newly && silent >= draft.cluster.config.unreachable_after
        })
        .count();
    let engaged = many_at_once(silent, known);
    if engaged {
        draft.cluster.brake_at = draft.now;
    }
    if engaged && !draft.cluster.brake {
        draft.cluster.brake = true;
        let message = format!("{silent} of {known} nodes fell silent at once: nothing is moved");
        draft.event(EventKind::BrakeEngaged, "/v1/nodes", &message);
        draft.fire("nodes/brake", Severity::Critical, "/v1/nodes", &message);
    } else if !engaged && draft.cluster.brake && draft.now.since(draft.cluster.brake_at) >= BRAKE_HOLD {
        draft.cluster.brake = false;
        draft.resolve("nodes/brake");
        draft.make_room();
        draft.event(EventKind::BrakeReleased, "/v1/nodes", format!("{silent} of {known} nodes are silent"));
    }
}

/// Zones change as soon as their probes speak or fall silent, not only by the clock.
pub fn zones(draft: &mut Draft) {
    let config = Arc::clone(&draft.cluster.config);
    for zone in &config.rack.zones {
        let now = draft.now;
        let Some(heat) = draft.cluster.zones.get_mut(&zone.name) else { continue };
        let heat = Arc::make_mut(heat);
        let Some(change) = heat.step(now, &config.thermal, zone.limits.as_ref()) else { continue };
        let path = format!("/v1/rack/zones/{}", zone.name);
        let message = format!("zone {} is {}: {}", zone.name, change.to, change.reason);
        draft.event(EventKind::ZoneThermalChanged, &path, &message);
        alert(draft, &format!("zone/{}", zone.name), &path, change.to, &message);
    }
}

/// Steps every node's heat, each compared with its neighbours as they were at the last step.
fn heats(draft: &mut Draft, nodes: &[Arc<NodeRow>]) {
    let mut rises: BTreeMap<Name, Vec<(NodeId, Rise)>> = BTreeMap::new();
    let zone_of = |cluster: &Cluster, node: &NodeRow| cluster.zone_of(node).map(|zone| zone.name.clone());
    let zones: Vec<Option<Name>> = nodes.iter().map(|node| zone_of(&draft.cluster, node)).collect();
    for (node, zone) in nodes.iter().zip(&zones) {
        let rise = draft.cluster.live.get(&node.id).and_then(|live| live.heat.rise());
        if let (Some(zone), Some(rise)) = (zone, rise) {
            rises.entry(zone.clone()).or_default().push((node.id, rise));
        }
    }
    let inlets: Vec<(Name, MilliCelsius)> = inlets(&draft.cluster);
    for (node, zone) in nodes.iter().zip(zones) {
        let others = zone.as_ref().and_then(|zone| rises.get(zone)).into_iter().flatten();
        let neighbours: Vec<Rise> = others.filter(|(id, _)| *id != node.id).map(|(_, rise)| *rise).collect();
        let elsewhere = median(inlets.iter().filter(|(name, _)| Some(name) != zone.as_ref()));
        let zone = zone.and_then(|name| draft.cluster.zones.get(&name).cloned());
        heat(draft, node, &Around { zone: zone.as_deref(), neighbours: &neighbours, elsewhere });
    }
}

/// Every zone that has an inlet temperature, the coolest first.
fn inlets(cluster: &Cluster) -> Vec<(Name, MilliCelsius)> {
    let zones = cluster.zones.iter().filter_map(|(name, zone)| Some((name.clone(), zone.inlet()?)));
    let mut inlets: Vec<_> = zones.collect();
    inlets.sort_by_key(|(_, inlet)| *inlet);
    inlets
}

/// The middle of sorted values.
fn median<'a>(sorted: impl Iterator<Item = &'a (Name, MilliCelsius)>) -> Option<MilliCelsius> {
    let values: Vec<MilliCelsius> = sorted.map(|(_, inlet)| *inlet).collect();
    values.get(values.len() / 2).copied()
}

fn heat(draft: &mut Draft, node: &NodeRow, around: &Around<'_>) {
    let config = Arc::clone(&draft.cluster.config);
    let now = draft.now;
    let (change, cooler) = draft.edit_live(node.id, |live| {
        let before = live.heat.predicted();
        let change = live.heat.step(now, &config.thermal, node.limits.as_ref(), around);
        (change, has_cooled(before, &live.heat))
    });
    if cooler {
        draft.make_room();
    }
    let Some(change) = change else { return };
    let message = format!("node {} is {}: {}", node.name, change.to, change.reason);
    draft.event(EventKind::NodeThermalChanged, subject(&node.name), &message);
    alert(draft, &format!("heat/{}", node.name), &subject(&node.name), change.to, &message);
    draft.make_room();
}

/// A warm board's prediction has fallen below another two degrees: it may be able to take what waits.
fn has_cooled(before: Option<MilliCelsius>, heat: &NodeHeat) -> bool {
    let step = |at: MilliCelsius| at.0 / 2000;
    let was_warm = before.zip(heat.limits()).is_some_and(|(before, limits)| before >= limits.warm);
    was_warm && heat.predicted().zip(before).is_some_and(|(now, before)| step(now) < step(before))
}

/// Fires from hot on, resolves from warm down; `unknown` changes nothing: it may well still be hot.
fn alert(draft: &mut Draft, key: &str, subject: &str, state: ThermalState, message: &str) {
    match state {
        ThermalState::Critical => draft.fire(key, Severity::Critical, subject, message),
        ThermalState::Hot => draft.fire(key, Severity::Warning, subject, message),
        ThermalState::Nominal | ThermalState::Warm => draft.resolve(key),
        ThermalState::Unknown => {}
    }
}
