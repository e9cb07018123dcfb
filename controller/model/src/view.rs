//! What the API shows: derived from rows and live state, never stored.

use std::time::Duration;

use roost_thermal::Monitoring;
use roost_types::instance::{CreateInstance, Instance};
use roost_types::name::reference;
use roost_types::node::{Node, NodeHeat};
use roost_types::rack::{Hub, Probe, ProbeId, Quality, RackView, SlotNode, SlotView, Zone, ZoneConfig};
use roost_types::sync::{DesiredSet, NodeNetwork, PeerRoute};
use roost_types::{
    AllocationState, Desired, InstanceId, InstanceState, Name, NodeStatus, NodeUse, OperationId, Placement, Problem,
    ThermalState, Timestamp,
};

use crate::cluster::{Cluster, HubLive};
use crate::row::{AllocationRow, InstanceRow, NodeRow};
use crate::{cooling, place, validate};

/// An instance.
#[must_use]
pub fn instance(cluster: &Cluster, row: &InstanceRow) -> Instance {
    let allocation = row.allocation.and_then(|id| cluster.allocations.get(&id));
    let node = allocation.and_then(|allocation| cluster.nodes.get(&allocation.node));
    let (state, state_reason) = state(cluster, row);
    Instance {
        id: row.id,
        name: row.name.clone(),
        project: row.project.clone(),
        kind: row.kind,
        image: row.image.clone(),
        image_digest: row.digest.to_string(),
        size: row.size,
        cpu_millis: row.resources.cpu_millis,
        memory_bytes: row.resources.memory_bytes,
        disk_bytes: row.resources.disk_bytes,
        limits: row.resources.limits,
        command: row.command.clone(),
        state,
        state_reason,
        desired: row.desired,
        node: node.map(|node| node.name.clone()),
        allocation: row.allocation,
        network: row.network,
        address: allocation.filter(|_| row.network.is_bridge()).map(|allocation| allocation.spec.address),
        publish: row.publish.clone(),
        restart: row.restart,
        restarts: allocation.map_or(0, |allocation| allocation.observed.restarts),
        node_loss: row.node_loss,
        priority: row.priority,
        exit_status: allocation.and_then(|allocation| allocation.observed.exit),
        created_at: row.created_at,
        started_at: allocation.and_then(|allocation| allocation.observed.started_at),
        generation: row.generation,
        labels: row.labels.clone(),
    }
}

/// The state shown, and why.
fn state(cluster: &Cluster, row: &InstanceRow) -> (InstanceState, String) {
    let allocation = row.allocation.and_then(|id| cluster.allocations.get(&id));
    let Some(allocation) = allocation else { return without_allocation(cluster, row) };
    if row.stranded {
        return stranded(cluster, row, allocation);
    }
    if let Some(silent) = silent(cluster, allocation) {
        return silent;
    }
    if row.desired == Desired::Deleted {
        return (InstanceState::Stopping, "it is being deleted".to_owned());
    }
    if row.restoring.is_some() {
        return (InstanceState::Stopping, "its files are put back to those of a snapshot".to_owned());
    }
    if let Some(halt) = row.halted.as_ref().filter(|_| row.desired == Desired::Running) {
        return (InstanceState::Pending, format!("halted until its board has cooled: {}", halt.reason));
    }
    if let Some(moving) = &row.moving {
        let state = if allocation.held { InstanceState::Stopping } else { InstanceState::Starting };
        return (state, format!("it moves: {}", moving.reason));
    }
    (of_allocation(row.desired, allocation), allocation.observed.reason.clone())
}

fn without_allocation(cluster: &Cluster, row: &InstanceRow) -> (InstanceState, String) {
    match row.desired {
        Desired::Running => {
            let why = cluster.waiting.get(&row.id).map_or_else(String::new, |placement| placement.message.clone());
            (InstanceState::Pending, why)
        }
        Desired::Stopped => (InstanceState::Stopped, String::new()),
        Desired::Deleted => (InstanceState::Stopping, "it is being deleted".to_owned()),
    }
}

/// Its node is lost, and with it its files until that node comes back or another one takes it anew.
fn stranded(cluster: &Cluster, row: &InstanceRow, allocation: &AllocationRow) -> (InstanceState, String) {
    let lost = format!("node {} is lost", cluster.node_name(allocation.node));
    let waits = cluster.waiting.get(&row.id).map_or_else(String::new, |placement| format!("; {}", placement.message));
    match row.desired {
        Desired::Running => (InstanceState::Pending, format!("{lost}{waits}")),
        Desired::Stopped => (InstanceState::Stopped, lost),
        Desired::Deleted => (InstanceState::Stopping, "it is being deleted".to_owned()),
    }
}

/// A node that does not answer hides what became of the allocation.
fn silent(cluster: &Cluster, allocation: &AllocationRow) -> Option<(InstanceState, String)> {
    let status = cluster.live.get(&allocation.node).map_or(NodeStatus::Down, |live| live.status);
    let name = cluster.node_name(allocation.node);
    match status {
        NodeStatus::Unreachable | NodeStatus::Down | NodeStatus::Retired if !allocation.observed.state.is_settled() => {
            Some((InstanceState::Unreachable, format!("node {name} is {}", status.as_str())))
        }
        NodeStatus::Joining | NodeStatus::Ready | NodeStatus::Unreachable | NodeStatus::Down | NodeStatus::Retired => {
            None
        }
    }
}

fn of_allocation(desired: Desired, allocation: &AllocationRow) -> InstanceState {
    let acted = allocation.has_acted();
    match allocation.observed.state {
        AllocationState::Running if acted => InstanceState::Running,
        AllocationState::Running if desired == Desired::Stopped => InstanceState::Stopping,
        AllocationState::Running => InstanceState::Starting,
        AllocationState::Stopping => InstanceState::Stopping,
        AllocationState::Stopped if desired == Desired::Stopped || acted => InstanceState::Stopped,
        AllocationState::Failed | AllocationState::Lost if desired == Desired::Stopped || acted => {
            InstanceState::Failed
        }
        AllocationState::Pending
        | AllocationState::Preparing
        | AllocationState::Starting
        | AllocationState::Stopped
        | AllocationState::Failed
        | AllocationState::Lost => InstanceState::Starting,
    }
}

/// A node.
#[must_use]
pub fn node(cluster: &Cluster, row: &NodeRow, now: Timestamp) -> Node {
    let live = cluster.live.get(&row.id);
    let network = cluster.config.network;
    let instances = u32::try_from(cluster.allocations_on(row.id).count()).unwrap_or(u32::MAX);
    Node {
        id: row.id,
        name: row.name.clone(),
        status: status(cluster, row),
        eligibility: row.eligibility,
        thermal: heat(cluster, row, now),
        used_for: if instances == 0 { NodeUse::Idle } else { NodeUse::Containers },
        slot: row.slot.clone(),
        labels: row.labels.clone(),
        limits: row.limits,
        power: cluster.power_of(&row.name, now),
        address: row.facts.as_ref().and_then(|facts| facts.address),
        prefix: format!("{}/{}", network.address(row.network_index, 0), network.node_prefix_len),
        capacity: place::capacity(cluster, row),
        allocated: place::allocated(cluster, row.id),
        load: live.and_then(|live| live.vitals.as_ref()).map(|vitals| vitals.load),
        instances,
        facts: row.facts.clone(),
        last_seen_at: live.and_then(|live| live.last_seen),
        created_at: row.created_at,
        generation: row.generation,
    }
}

fn status(cluster: &Cluster, row: &NodeRow) -> NodeStatus {
    cluster.live.get(&row.id).map_or(NodeStatus::Joining, |live| live.status)
}

fn heat(cluster: &Cluster, row: &NodeRow, now: Timestamp) -> NodeHeat {
    let zone = cluster.zone_of(row);
    let air = zone.and_then(|zone| cluster.zones.get(&zone.name));
    let own = cluster.live.get(&row.id).map(|live| &live.heat);
    let ages = [own.and_then(|own| own.soc_age(now)), air.and_then(|air| air.age(now))];
    NodeHeat {
        state: own.map_or(ThermalState::Unknown, |own| own.state()),
        estimate: own.and_then(|own| own.estimate()),
        predicted: own.and_then(|own| own.predicted()),
        soc: own.and_then(|own| own.soc()),
        zone: zone.map(|zone| zone.name.clone()),
        inlet: air.and_then(|air| air.inlet()),
        age_ms: ages.into_iter().flatten().min().map(milliseconds),
        unmonitored: !row.monitored && own.is_none_or(|own| own.monitoring() == Monitoring::Never),
        reason: own.map_or_else(String::new, |own| own.explanation()),
        diagnosis: own.and_then(|own| own.diagnosis()).map(|diagnosis| diagnosis.to_string()),
        learned: own.and_then(|own| own.learned()),
    }
}

fn milliseconds(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// The rack as it stands.
#[must_use]
pub fn rack(cluster: &Cluster, now: Timestamp) -> RackView {
    let zones: Vec<Zone> = cluster.config.rack.zones.iter().map(|config| zone(cluster, config, now)).collect();
    let placed = |row: &NodeRow| cluster.zone_of(row).is_some();
    let elsewhere = cluster.nodes.values().filter(|row| !placed(row)).map(|row| slot_node(cluster, row)).collect();
    RackView {
        at: now,
        zones,
        elsewhere,
        hubs: hubs(cluster, now),
        pending: u32::try_from(cluster.pending.len()).unwrap_or(u32::MAX),
        mode: cluster.config.rack.mode,
    }
}

fn zone(cluster: &Cluster, config: &ZoneConfig, now: Timestamp) -> Zone {
    let heat = cluster.zones.get(&config.name);
    let slots = config.slots.iter().map(|slot| {
        let node = cluster.nodes.values().find(|row| row.slot.as_ref() == Some(slot));
        SlotView { slot: slot.clone(), node: node.map(|row| slot_node(cluster, row)) }
    });
    Zone {
        name: config.name.clone(),
        thermal: heat.map_or(ThermalState::Unknown, |heat| heat.state()),
        reason: heat.map_or_else(String::new, |heat| heat.reason().to_owned()),
        temperature: heat.and_then(|heat| heat.inlet()),
        humidity: heat.filter(|heat| heat.inlet().is_some()).and_then(|heat| heat.humidity()),
        dew_point: heat.filter(|heat| heat.inlet().is_some()).and_then(|heat| heat.dew_point()),
        age_ms: heat.and_then(|heat| heat.age(now)).map(milliseconds),
        limits: cluster.config.thermal.inlet_limits(config.limits.as_ref()),
        probes: config.probes.clone(),
        fans: cluster.fans_of(config, now).collect(),
        fans_reason: cooling::reason(cluster, config),
        slots: slots.collect(),
    }
}

fn slot_node(cluster: &Cluster, row: &NodeRow) -> SlotNode {
    let live = cluster.live.get(&row.id);
    let mut instances: Vec<String> =
        cluster.allocations_on(row.id).map(|a| reference(&a.spec.project, &a.spec.name)).collect();
    instances.sort();
    SlotNode {
        name: row.name.clone(),
        status: status(cluster, row),
        eligibility: row.eligibility,
        thermal: live.map_or(ThermalState::Unknown, |live| live.heat.state()),
        temperature: live.and_then(|live| live.heat.estimate()),
        load: live.and_then(|live| live.vitals.as_ref()).map(|vitals| vitals.load),
        instances,
    }
}

/// The hubs and what their probes say.
#[must_use]
pub fn hubs(cluster: &Cluster, now: Timestamp) -> Vec<Hub> {
    let config = cluster.config.rack.hubs.iter();
    config
        .map(|config| {
            let live = cluster.hubs.get(&config.name).map(|live| HubLive::clone(live)).unwrap_or_default();
            let probes = live.probes.keys().map(|number| probe(cluster, &config.name, *number, &live, now));
            Hub {
                name: config.name.clone(),
                path: config.path.clone(),
                connected: live.connected,
                firmware: live.firmware.clone(),
                counters: live.counters,
                last_frame_at: live.last_frame,
                probes: probes.collect(),
            }
        })
        .collect()
}

fn probe(cluster: &Cluster, hub: &Name, number: u8, live: &HubLive, now: Timestamp) -> Probe {
    let id = ProbeId { hub: hub.clone(), number };
    let last = live.probes.get(&number).and_then(|samples| samples.last());
    let age = last.map(|sample| now.since(sample.at));
    let fresh = live.connected && age.is_some_and(|age| age <= cluster.config.thermal.stale_after);
    Probe {
        zone: cluster.config.rack.zones.iter().find(|zone| zone.probes.contains(&id)).map(|zone| zone.name.clone()),
        temperature: last.and_then(|sample| sample.temperature),
        humidity: last.and_then(|sample| sample.humidity),
        quality: if fresh { Quality::Ok } else { Quality::Stale },
        age_ms: age.map(milliseconds),
        id,
    }
}

/// Everything the node should have, and its network.
#[must_use]
pub fn desired_set(cluster: &Cluster, row: &NodeRow) -> DesiredSet {
    let network = cluster.config.network;
    let others = cluster.nodes.values().filter(|other| other.id != row.id);
    let routes = others.filter_map(|other| {
        let via = other.facts.as_ref()?.address?;
        let network_of = network.address(other.network_index, 0);
        Some(PeerRoute { network: network_of, prefix_len: network.node_prefix_len, via })
    });
    DesiredSet {
        network: NodeNetwork {
            gateway: network.address(row.network_index, 1),
            prefix_len: network.node_prefix_len,
            routes: routes.collect(),
        },
        allocations: cluster.allocations_on(row.id).filter(|a| !a.held).map(|a| a.spec.clone()).collect(),
    }
}

/// Why an instance is where it is, or why it waits.
///
/// # Errors
/// `not_found`; `conflict` for one that is stopped and was never placed.
pub fn placement(cluster: &Cluster, reference: &str) -> Result<Placement, Problem> {
    let row = cluster.find_instance(reference)?;
    let waiting = cluster.waiting.get(&row.id).map(|placement| Placement::clone(placement));
    waiting.or_else(|| row.placement.clone()).ok_or_else(|| {
        let detail = format!("instance '{}' has not been placed: start it first", row.name);
        Problem::new(roost_types::Code::Conflict, detail)
    })
}

/// Where a request would go now, without anything being done.
///
/// # Errors
/// What the request itself would be refused for.
pub fn dry_run(cluster: &Cluster, request: &CreateInstance, now: Timestamp) -> Result<Placement, Problem> {
    let name = validate::name(request)?.unwrap_or_else(validate::default_project);
    let nothing = [0; 10];
    let (id, operation) = (InstanceId::mint(0, nothing), OperationId::mint(0, nothing));
    let row = validate::row(cluster, request, name, id, operation, now)?;
    place::check_possible(cluster, &row)?;
    Ok(place::choose_first(cluster, &row, None, now).1)
}
