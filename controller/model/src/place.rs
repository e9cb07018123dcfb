//! Asking the scheduler: what it is told of nodes and instances, and what becomes of its answer.

use std::collections::BTreeMap;

use roost_scheduler::{Candidate, Heat, Request, fits_anywhere, schedule};
use roost_thermal::Monitoring;
use roost_types::allocation::{AllocationDesired, Strain};
use roost_types::node::Amounts;
use roost_types::placement::Filter;
use roost_types::snapshot::SnapshotWish;
use roost_types::{
    AllocationId, AllocationReport, AllocationSpec, AllocationState, Code, MemoryBytes, NodeId, NodeStatus, NodeUse,
    Placement, Problem, SnapshotId, SnapshotState, Timestamp,
};

use crate::cluster::Cluster;
use crate::draft::Draft;
use crate::row::{AllocationRow, InstanceRow, NodeRow, Row, Source};

/// Host ids of an instance: 65,536, by its number in the node's network, so no two on a node overlap.
const IDS_PER_INSTANCE: u32 = 65_536;
/// Limits that every instance has, by the names of the features that carry them.
const NEEDED_LIMITS: [&str; 2] = ["memory_limit", "pids_limit"];

/// Chooses a node. `leaving`: the node to leave, and the one to go to if a person chose it.
pub fn choose(
    cluster: &Cluster,
    row: &InstanceRow,
    leaving: Option<(NodeId, Option<NodeId>)>,
    now: Timestamp,
) -> Placement {
    let Some(request) = request(cluster, row, leaving) else {
        return nowhere(now, format!("image {} is not in the store any more", row.image));
    };
    if row.source.is_some() && source(cluster, row).is_none() {
        return nowhere(now, "the snapshot it was to begin with is not there any more".to_owned());
    }
    let nodes = candidates(cluster, row);
    schedule(&nodes, &request, now)
}

/// The allocation that has the snapshot the instance is to begin with.
fn source(cluster: &Cluster, row: &InstanceRow) -> Option<(AllocationId, SnapshotId)> {
    let Source { instance, snapshot } = row.source?;
    let owner = cluster.instances.get(&instance)?;
    let ready = owner.snapshots.iter().any(|own| own.id == snapshot && own.state == SnapshotState::Ready);
    owner.allocation.filter(|_| ready).map(|allocation| (allocation, snapshot))
}

fn nowhere(now: Timestamp, message: String) -> Placement {
    Placement {
        node: None,
        decided_at: now,
        message,
        evaluated: 0,
        filtered_by: BTreeMap::new(),
        candidates: Vec::new(),
        filtered: Vec::new(),
    }
}

fn request<'a>(
    cluster: &Cluster,
    row: &'a InstanceRow,
    leaving: Option<(NodeId, Option<NodeId>)>,
) -> Option<Request<'a>> {
    let image = cluster.images.get(&row.digest)?;
    Some(Request {
        arch: image.arch,
        resources: row.resources,
        constraints: &row.constraints,
        only: leaving.and_then(|(_, to)| to),
        not: leaving.map(|(from, _)| from),
        publish: &row.publish,
    })
}

/// Refuses what no node could ever hold.
///
/// # Errors
/// `too_large` with the dimension as field.
pub fn check_size(cluster: &Cluster, row: &InstanceRow) -> Result<(), Problem> {
    let Some(request) = request(cluster, row, None) else { return Ok(()) };
    fits_anywhere(&candidates(cluster, row), &request)
        .map_err(|large| Problem::new(Code::TooLarge, large.detail).field(size_field(row, large.dimension)))
}

/// Refuses what no node could ever hold, and a port that is taken wherever it could run.
///
/// # Errors
/// `too_large` with the dimension as field; `port_taken`.
pub fn check_possible(cluster: &Cluster, row: &InstanceRow) -> Result<(), Problem> {
    check_size(cluster, row)?;
    let Some(request) = request(cluster, row, None).filter(|_| !row.publish.is_empty()) else { return Ok(()) };
    let nodes = candidates(cluster, row);
    let placement = schedule(&nodes, &request, row.created_at);
    let by_port = placement.filtered_by.get(&Filter::Port).copied().unwrap_or(0);
    let by_wish = placement.filtered_by.get(&Filter::Constraint).copied().unwrap_or(0);
    if by_port > 0 && by_port + by_wish == placement.evaluated {
        let detail = placement.filtered.iter().find(|node| node.filter == Filter::Port).map(|node| &node.detail);
        let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
        let detail = format!("the port is taken on every node that could run it{detail}; publish another");
        return Err(Problem::new(Code::PortTaken, detail).field("publish"));
    }
    Ok(())
}

/// The field a user can change: the named size, if that is what was given.
fn size_field<'a>(row: &InstanceRow, dimension: &'a str) -> &'a str {
    if row.size.is_some() { "size" } else { dimension }
}

fn candidates<'a>(cluster: &'a Cluster, row: &InstanceRow) -> Vec<Candidate<'a>> {
    cluster.nodes.values().map(|node| candidate(cluster, node, row)).collect()
}

fn candidate<'a>(cluster: &'a Cluster, node: &'a NodeRow, row: &InstanceRow) -> Candidate<'a> {
    let live = cluster.live.get(&node.id);
    let capacity = capacity(cluster, node);
    let disk_limit = if row.disk_asked { missing_disk_limit(node) } else { None };
    let missing = NEEDED_LIMITS.iter().find_map(|limit| missing_limit(node, limit)).or(disk_limit);
    let app = row.labels.get("app");
    let mut ports = Vec::new();
    let (mut same_image, mut same_app, mut used) = (0, 0, 0);
    for allocation in cluster.allocations_on(node.id) {
        ports.extend_from_slice(&allocation.spec.publish);
        used += 1;
        same_image += u32::from(allocation.spec.image == row.digest);
        let other = cluster.instances.get(&allocation.spec.instance).filter(|other| other.id != row.id);
        same_app += u32::from(app.is_some() && other.is_some_and(|other| other.labels.get("app") == app));
    }
    let hosts = cluster.config.network.hosts();
    Candidate {
        id: node.id,
        name: &node.name,
        status: live.map_or(NodeStatus::Joining, |live| live.status),
        eligibility: node.eligibility,
        used_for: if used == 0 { NodeUse::Idle } else { NodeUse::Containers },
        arch: node.facts.as_ref().map(|facts| facts.arch),
        labels: &node.labels,
        heat: heat(cluster, node, row, capacity),
        zone: cluster.zone_of(node).map(|zone| &zone.name),
        capacity,
        allocated: allocated(cluster, node.id),
        missing_limit: missing,
        ports,
        free_addresses: (hosts.end - hosts.start).saturating_sub(used),
        has_image: node.facts.as_ref().is_some_and(|facts| facts.images.contains(&row.digest)),
        same_image,
        same_app,
    }
}

/// What to do about a limit that the node cannot enforce.
fn missing_limit<'a>(node: &'a NodeRow, limit: &str) -> Option<&'a str> {
    let features = &node.facts.as_ref()?.features;
    features.iter().find(|feature| !feature.supported && feature.name == limit).map(|feature| feature.advice.as_str())
}

/// What to do about a node that cannot enforce disk limits.
pub fn missing_disk_limit(node: &NodeRow) -> Option<&str> {
    missing_limit(node, "disk_limit")
}

fn heat<'a>(cluster: &'a Cluster, node: &NodeRow, row: &InstanceRow, capacity: Amounts) -> Heat<'a> {
    let policy = &cluster.config.thermal;
    let Some(live) = cluster.live.get(&node.id) else {
        return Heat {
            state: roost_types::ThermalState::Unknown,
            reason: "",
            predicted: None,
            hot: policy.soc.limits.hot,
            lost: false,
        };
    };
    let extra = f64::from(row.resources.cpu_millis) / f64::from(capacity.cpu_millis.max(1));
    let monitoring = live.heat.monitoring();
    Heat {
        state: live.heat.state(),
        reason: live.heat.reason(),
        predicted: live.heat.predict_with(extra),
        hot: live.heat.limits().unwrap_or(policy.soc.limits).hot,
        lost: monitoring == Monitoring::Lost || (monitoring == Monitoring::Never && node.monitored),
    }
}

/// What a node can give out.
pub fn capacity(cluster: &Cluster, node: &NodeRow) -> Amounts {
    let Some(facts) = &node.facts else { return Amounts::default() };
    let reserve = cluster.config.memory_reserve.0;
    Amounts {
        cpu_millis: facts.cpu_millis.saturating_mul(cluster.config.cpu_percent) / 100,
        memory_bytes: MemoryBytes(facts.memory_bytes.0.saturating_sub(reserve)),
    }
}

/// What a node has given out: to everything it has, running or not, until nothing is left of it.
pub fn allocated(cluster: &Cluster, node: NodeId) -> Amounts {
    cluster.allocations_on(node).fold(Amounts::default(), |sum, row| Amounts {
        cpu_millis: sum.cpu_millis + row.spec.resources.cpu_millis,
        memory_bytes: MemoryBytes(sum.memory_bytes.0 + row.spec.resources.memory_bytes.0),
    })
}

/// Gives the instance a place on a node: an allocation with an address and ids of its own. `after`: the allocation on
/// another node that must end first and whose data it takes over. None when the image or every address is gone.
pub fn allocate(
    draft: &mut Draft,
    row: &InstanceRow,
    node: NodeId,
    after: Option<AllocationId>,
) -> Option<AllocationId> {
    let image = draft.cluster.images.get(&row.digest)?.clone();
    let node_row = draft.cluster.nodes.get(&node)?.clone();
    let network = draft.cluster.config.network;
    let taken: Vec<_> = draft.cluster.allocations_on(node).map(|other| other.spec.address).collect();
    let host = network.hosts().find(|host| !taken.contains(&network.address(node_row.network_index, *host)))?;
    let command = row.command.clone().or_else(|| image.init.clone().map(|init| vec![init]))?;
    let begin = if after.is_some() { None } else { source(&draft.cluster, row) };
    let id = draft.allocation_id();
    let generation = draft.next_revision();
    let spec = AllocationSpec {
        id,
        instance: row.id,
        name: row.name.clone(),
        project: row.project.clone(),
        generation,
        desired: AllocationDesired::Running,
        epoch: row.epoch,
        image: row.digest.clone(),
        format: image.format,
        image_bytes: image.size_bytes,
        command,
        system: row.command.is_none(),
        env: row.env.clone(),
        resources: row.resources,
        address: network.address(node_row.network_index, host),
        uid_base: host * IDS_PER_INSTANCE,
        publish: row.publish.clone(),
        restart: row.restart,
        seed_from: after.or(begin.map(|(allocation, _)| allocation)),
        seed_snapshot: begin.map(|(_, snapshot)| snapshot),
        snapshots: after.map_or_else(Vec::new, |_| snapshots_to_carry(row)),
        restore: None,
        stop_seconds: None,
        first_boot: draft.cluster.first_boots.contains_key(&row.id),
    };
    let observed = AllocationReport {
        id,
        generation: 0,
        state: AllocationState::Pending,
        reason: String::new(),
        restarts: 0,
        started_at: None,
        exit: None,
        strain: Strain::default(),
        snapshots: Vec::new(),
        restore: None,
    };
    draft.put(Row::Allocation(AllocationRow {
        spec,
        node,
        held: after.is_some(),
        observed,
        wish_generation: Some(generation),
        created_at: draft.now,
    }));
    if after.is_none() {
        draft.touch_node(node);
    }
    Some(id)
}

fn snapshots_to_carry(row: &InstanceRow) -> Vec<SnapshotWish> {
    let ready = row.snapshots.iter().filter(|snapshot| snapshot.state == SnapshotState::Ready);
    ready.map(|snapshot| SnapshotWish { id: snapshot.id, make: false }).collect()
}
