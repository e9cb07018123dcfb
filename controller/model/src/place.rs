//! Asking the scheduler: what it is told of nodes and instances, and what becomes of its answer.

use std::collections::BTreeMap;

use roost_scheduler::{Candidate, Heat, Request, fits_anywhere, schedule};
use roost_thermal::Monitoring;
use roost_types::allocation::{AllocationDesired, Strain};
use roost_types::node::Amounts;
use roost_types::placement::Filter;
use roost_types::{
    AllocationId, AllocationReport, AllocationSpec, AllocationState, Code, MemoryBytes, NodeId, NodeStatus, NodeUse,
    Placement, Problem, Timestamp,
};

use crate::cluster::Cluster;
use crate::draft::Draft;
use crate::row::{AllocationRow, InstanceRow, NodeRow, Row};

/// Host ids of an instance: 65,536, by its number in the node's network, so no two on a node overlap.
const IDS_PER_INSTANCE: u32 = 65_536;
/// Limits that every instance has, by the names of the features that carry them.
const NEEDED_LIMITS: [&str; 2] = ["memory_limit", "pids_limit"];

/// The feature of a node that can put instances on its LAN.
const LAN: &str = "lan";

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
    let nodes = candidates(cluster, row);
    schedule(&nodes, &request, now)
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
        lan: !row.network.is_bridge(),
    })
}

/// Refuses what no node could ever hold.
///
/// # Errors
/// `too_large` with the dimension as field.
pub fn check_size(cluster: &Cluster, row: &InstanceRow) -> Result<(), Problem> {
    let Some(request) = request(cluster, row, None) else { return Ok(()) };
    check_fits(&candidates(cluster, row), &request, row)
}

fn check_fits(nodes: &[Candidate<'_>], request: &Request<'_>, row: &InstanceRow) -> Result<(), Problem> {
    fits_anywhere(nodes, request)
        .map_err(|large| Problem::new(Code::TooLarge, large.detail).field(size_field(row, large.dimension)))
}

/// Refuses what no node could ever hold, and what every node that could run it has given out: a port, all addresses.
///
/// # Errors
/// `too_large` with the dimension as field; `port_taken`; `no_address`; `conflict` with the network as field.
pub fn check_possible(cluster: &Cluster, row: &InstanceRow) -> Result<(), Problem> {
    let Some(request) = request(cluster, row, None) else { return Ok(()) };
    let nodes = candidates(cluster, row);
    check_fits(&nodes, &request, row)?;
    if row.publish.is_empty() && !request.lan && nodes.iter().all(|node| node.free_addresses > 0) {
        return Ok(());
    }
    let placement = schedule(&nodes, &request, row.created_at);
    if let Some(detail) = all_refused(&placement, Filter::Feature).filter(|_| request.lan) {
        let detail = format!("no node that could run it can put it on a LAN{detail}");
        return Err(Problem::new(Code::Conflict, detail).field("network"));
    }
    if let Some(detail) = all_refused(&placement, Filter::Port) {
        let detail = format!("the port is taken on every node that could run it{detail}; publish another");
        return Err(Problem::new(Code::PortTaken, detail).field("publish"));
    }
    if let Some(detail) = all_refused(&placement, Filter::Address) {
        let detail = format!("no address is free on any node that could run it{detail}; delete instances there");
        return Err(Problem::new(Code::NoAddress, detail));
    }
    Ok(())
}

/// The first node's words, if this filter is what keeps the instance from every node that the wish allows.
fn all_refused(placement: &Placement, filter: Filter) -> Option<String> {
    let count = |filter| placement.filtered_by.get(&filter).copied().unwrap_or(0);
    let all = count(filter) > 0 && count(filter) + count(Filter::Constraint) == placement.evaluated;
    let first = || placement.filtered.iter().find(|node| node.filter == filter);
    all.then(|| first().map_or_else(String::new, |node| format!(": {}", node.detail)))
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
        lan: node.facts.as_ref().is_some_and(|facts| facts.features.iter().any(|f| f.name == LAN && f.supported)),
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
        network: row.network,
        restart: row.restart,
        seed_from: after,
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
    };
    draft.put(Row::Allocation(AllocationRow { spec, node, held: after.is_some(), observed, created_at: draft.now }));
    if after.is_none() {
        draft.touch_node(node);
    }
    Some(id)
}
