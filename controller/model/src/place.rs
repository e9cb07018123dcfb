//! Asking the scheduler: what it is told of nodes and instances, and what becomes of its answer.

use std::collections::{BTreeMap, BTreeSet};

use roost_scheduler::{Candidate, Heat, Request, fits_anywhere, schedule};
use roost_thermal::{Monitoring, NodeHeat};
use roost_types::allocation::{AllocationDesired, Strain};
use roost_types::node::Amounts;
use roost_types::placement::Filter;
use roost_types::rack::IdRanges;
use roost_types::snapshot::SnapshotWish;
use roost_types::{
    AllocationId, AllocationReport, AllocationSpec, AllocationState, Code, ImageDigest, MemoryBytes, MilliCelsius,
    Name, NodeId, NodeStatus, NodeUse, Placement, Problem, SnapshotId, SnapshotState, ThermalState, Timestamp,
};

use crate::cluster::Cluster;
use crate::draft::Draft;
use crate::features;
use crate::row::{AllocationRow, InstanceRow, NodeRow, Row, Source};

/// Host ids of an instance, or of a project whose instances share them.
const IDS: u32 = 65_536;
/// Ranges of so many ids: the first is the board's own, and the last holds the id that means none.
const RANGES: std::ops::RangeInclusive<u32> = 1..=65_534;
/// How far below hot a board in hot air must be predicted to stay to take work when the whole rack is hot.
const HOT_AIR_HEADROOM: MilliCelsius = MilliCelsius::whole(5);

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
    // Moving work to where it will soon have to leave again helps nobody; a person may know better.
    let headroom = match leaving {
        Some((_, None)) => cluster.config.thermal.soc.hysteresis,
        Some((_, Some(_))) | None => MilliCelsius(0),
    };
    Some(Request {
        arch: image.arch,
        resources: row.resources,
        constraints: &row.constraints,
        only: leaving.and_then(|(_, to)| to),
        not: leaving.map(|(from, _)| from),
        headroom,
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

/// Chooses a node for an instance that has none, and with it the image of that node's instruction set: the best placement
/// of any variant, an earlier one where several are as good.
pub fn choose_first(
    cluster: &Cluster,
    row: &InstanceRow,
    leaving: Option<(NodeId, Option<NodeId>)>,
    now: Timestamp,
) -> (ImageDigest, Placement) {
    let mut best = (row.digest.clone(), choose(cluster, row, leaving, now));
    for variant in variants(row).skip(1) {
        let placement = choose(cluster, &variant, leaving, now);
        if score(&placement) > score(&best.1) {
            best = (variant.digest, placement);
        }
    }
    best
}

/// The instance as it would be with each image it may have, the present one first.
fn variants(row: &InstanceRow) -> impl Iterator<Item = InstanceRow> {
    let digests = std::iter::once(&row.digest).chain(&row.variants);
    digests.map(|digest| InstanceRow { digest: digest.clone(), ..row.clone() })
}

/// How good a placement is; none when there is no node.
fn score(placement: &Placement) -> Option<f64> {
    let node = placement.node.as_ref()?;
    placement.candidates.iter().find(|candidate| candidate.node == *node).map(|candidate| candidate.total)
}

/// Refuses what no node could ever hold, and what every node that could run it has given out: a port, all addresses;
/// whichever image is taken.
///
/// # Errors
/// `too_large` with the dimension as field; `port_taken`; `no_address`; `conflict` with the network as field.
pub fn check_possible(cluster: &Cluster, row: &InstanceRow) -> Result<(), Problem> {
    let mut checked: Vec<_> = variants(row).map(|variant| check_variant(cluster, &variant)).collect();
    if checked.iter().any(Result::is_ok) { Ok(()) } else { checked.pop().unwrap_or(Ok(())) }
}

fn check_variant(cluster: &Cluster, row: &InstanceRow) -> Result<(), Problem> {
    check_size(cluster, row)?;
    let Some(request) = request(cluster, row, None) else { return Ok(()) };
    let nodes = candidates(cluster, row);
    check_fits(&nodes, &request, row)?;
    let unlimited = nowhere_enforced(cluster, row);
    let any_will_do = row.publish.is_empty() && !request.lan && unlimited.is_none();
    if any_will_do && nodes.iter().all(|node| node.free_addresses > 0) {
        return Ok(());
    }
    let placement = schedule(&nodes, &request, row.created_at);
    if let (Some(field), Some(detail)) = (unlimited, all_refused(&placement, Filter::Feature)) {
        let detail = format!("no node that could run it can enforce this{detail}");
        return Err(Problem::new(Code::Conflict, detail).field(field));
    }
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
    let missing = missing(cluster, node, row);
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
        heat: heat(cluster, node, row),
        zone: cluster.zone_of(node).map(|zone| &zone.name),
        capacity,
        allocated: allocated(cluster, node.id),
        missing_limit: missing,
        lan: node.has(features::LAN),
        ports,
        free_addresses: (hosts.end - hosts.start).saturating_sub(used),
        has_image: node.facts.as_ref().is_some_and(|facts| facts.images.contains(&row.digest)),
        same_image,
        same_app,
    }
}

/// What to do about the first limit or feature that the instance needs and the node does not have.
fn missing<'a>(cluster: &Cluster, node: &'a NodeRow, row: &InstanceRow) -> Option<&'a str> {
    let limit = features::NEEDED_LIMITS.iter().find_map(|limit| node.denies(limit));
    let disk = || node.denies(features::DISK_LIMIT).filter(|_| row.disk_asked);
    let says_how = || cluster.images.get(&row.digest).is_some_and(|image| image.startup.says_how());
    let more = || features::needed_by(&row.resources.limits).find_map(|(feature, _)| node.lacks(feature));
    limit.or_else(disk).or_else(more).or_else(|| node.lacks(features::RUN_AS).filter(|_| says_how()))
}

/// The field of a limit that no node at all can enforce.
fn nowhere_enforced(cluster: &Cluster, row: &InstanceRow) -> Option<&'static str> {
    let mut needed = features::needed_by(&row.resources.limits);
    needed.find(|(feature, _)| cluster.nodes.values().all(|node| !node.has(feature))).map(|(_, field)| field)
}

fn heat<'a>(cluster: &'a Cluster, node: &NodeRow, row: &InstanceRow) -> Heat<'a> {
    let policy = &cluster.config.thermal;
    let Some(live) = cluster.live.get(&node.id) else {
        return Heat {
            state: ThermalState::Unknown,
            reason: "",
            predicted: None,
            hot: policy.soc.limits.hot,
            lost: false,
        };
    };
    let predicted = live.heat.predict_with(share_of_cores(cluster, node.id, row));
    let hot = live.heat.limits().unwrap_or(policy.soc.limits).hot;
    let monitoring = live.heat.monitoring();
    Heat {
        state: placeable_state(cluster, &live.heat, predicted, hot),
        reason: live.heat.reason(),
        predicted,
        hot,
        lost: monitoring == Monitoring::Lost || (monitoring == Monitoring::Never && node.monitored),
    }
}

/// The load that an instance can put on a node, 0 to 1: its share of the cores there are, not of what is given out of
/// them.
pub fn share_of_cores(cluster: &Cluster, node: NodeId, row: &InstanceRow) -> f64 {
    let facts = cluster.nodes.get(&node).and_then(|node| node.facts.as_ref());
    let cores = facts.map_or(1, |facts| facts.cpu_millis.max(1));
    (f64::from(row.resources.cpu_millis) / f64::from(cores)).min(1.0)
}

/// The state that counts for placement. In a rack that is hot all over, air alone keeps no board from working whose own
/// sensor says, and is predicted to say with the request on it, that it is far from hot: there is no cooler place.
fn placeable_state(
    cluster: &Cluster,
    heat: &NodeHeat,
    predicted: Option<MilliCelsius>,
    hot: MilliCelsius,
) -> ThermalState {
    let far_from_hot = predicted.is_some_and(|at| at.0 <= hot.0 - HOT_AIR_HEADROOM.0);
    match heat.state() {
        ThermalState::Hot if cluster.heat_brake && heat.is_hot_by_air() && far_from_hot => ThermalState::Warm,
        state => state,
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
    let (uid_base, quota_id) = ids(&draft.cluster, &row.project, node, host)?;
    let own = || image.init.clone().map(|init| vec![init]);
    let said = || Some(image.startup.command.clone()).filter(|command| !command.is_empty());
    let command = row.command.clone().or_else(own).or_else(said)?;
    let mut env = image.startup.env.clone();
    env.extend(row.env.clone());
    let system = row.command.is_none() && image.init.is_some();
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
        system,
        env,
        user: if system { String::new() } else { image.startup.user.clone() },
        workdir: if system { String::new() } else { image.startup.workdir.clone() },
        stop_signal: image.startup.stop_signal.filter(|_| !system),
        resources: row.resources,
        address: network.address(node_row.network_index, host),
        uid_base,
        quota_id,
        publish: row.publish.clone(),
        network: row.network,
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

/// The first of an instance's ids on a node, and the number that its disk is counted under where that is not unique. `host`
/// is the instance's number in the node's network. Two ranges overlap only as one and the same, and a range is given out
/// again when no allocation is left that had it: the files of one that ended keep it.
fn ids(cluster: &Cluster, project: &Name, node: NodeId, host: u32) -> Option<(u32, Option<u32>)> {
    let shares = cluster.config.rack.projects.get(project).is_some_and(|project| project.ids == IdRanges::Shared);
    let here = || cluster.allocations_on(node).map(|row| &row.spec);
    // Those that had a range of their own when the setting was made keep it to themselves.
    let shared = here().find(|spec| shares && spec.project == *project && spec.quota_id.is_some());
    let base = match shared {
        Some(sibling) => sibling.uid_base,
        None => {
            let taken: BTreeSet<u32> = here().map(|spec| spec.uid_base).collect();
            let numbers = (host..=*RANGES.end()).chain(*RANGES.start()..host);
            numbers.map(|number| number * IDS).find(|base| !taken.contains(base))?
        }
    };
    Some((base, shares.then_some(base + host)))
}

fn snapshots_to_carry(row: &InstanceRow) -> Vec<SnapshotWish> {
    let ready = row.snapshots.iter().filter(|snapshot| snapshot.state == SnapshotState::Ready);
    ready.map(|snapshot| SnapshotWish { id: snapshot.id, make: false }).collect()
}
