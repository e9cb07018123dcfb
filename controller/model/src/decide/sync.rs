//! What agents say. A report can only speak of the node's own allocations, and an old one is dropped.

use roost_types::sync::MAX_REPAIRS;
use roost_types::{
    AllocationId, AllocationReport, AllocationState, EventKind, NodeFacts, NodeId, NodeStatus, Problem, SyncRequest,
};

use crate::cluster::not_found;
use crate::command::Reply;
use crate::decide::nodes::subject;
use crate::draft::Draft;
use crate::row::{AllocationRow, Kind, NodeRow, Row};
use crate::{reconcile, swarm};

pub fn sync(draft: &mut Draft, id: NodeId, request: &SyncRequest) -> Result<Reply, Problem> {
    let row = draft.cluster.nodes.get(&id).cloned().ok_or_else(|| not_found("node", &id.to_string()))?;
    let heard = hear(draft, &row, request);
    if heard.stale {
        return Ok(Reply::Synced { stale: true, want_full: false, gone: Vec::new() });
    }
    repairs(draft, &row, request);
    facts(draft, &row, request);
    if let Some(traffic) = &request.images {
        swarm::heard(draft, id, traffic);
    }
    if heard.want_full {
        return Ok(Reply::Synced { stale: false, want_full: true, gone: Vec::new() });
    }
    let mut touched = Vec::new();
    for report in &request.allocations {
        touched.extend(observe(draft, id, report));
    }
    let gone = gone(draft, id, request);
    for id in &gone {
        let Some(row) = draft.cluster.allocations.get(id).cloned() else { continue };
        draft.delete(Kind::Allocation, id.to_string());
        draft.make_room();
        touched.push(row.spec.instance);
    }
    touched.dedup();
    for instance in touched {
        reconcile::instance(draft, instance);
    }
    reconcile::pending(draft);
    Ok(Reply::Synced { stale: false, want_full: false, gone })
}

/// Only news has an order that matters. Polls travel on a connection of their own and may overtake it.
fn carries_news(request: &SyncRequest) -> bool {
    let of_allocations = !request.allocations.is_empty() || !request.gone.is_empty();
    request.full || request.facts.is_some() || of_allocations || !request.repairs.is_empty()
}

struct Heard {
    stale: bool,
    want_full: bool,
}

/// Notes that the node was heard, and whether this request can be believed.
fn hear(draft: &mut Draft, row: &NodeRow, request: &SyncRequest) -> Heard {
    let now = draft.now;
    let known =
        draft.edit_live(row.id, |live| (live.agent_id.clone(), live.boot_id.clone(), live.last_seq, live.status));
    let (agent_id, boot_id, last_seq, status) = known;
    let same_agent = agent_id == request.agent_id;
    if same_agent && carries_news(request) && request.seq <= last_seq {
        return Heard { stale: true, want_full: false };
    }
    let want_full = !same_agent && !request.full || row.facts.is_none() && request.facts.is_none();
    draft.edit_live(row.id, |live| {
        live.last_seen = Some(now);
        live.status = NodeStatus::Ready;
        if want_full {
            return;
        }
        live.agent_id.clone_from(&request.agent_id);
        live.boot_id.clone_from(&request.boot_id);
        if carries_news(request) {
            live.last_seq = request.seq;
        }
        live.applied_generation = request.applied_generation;
        if let Some(vitals) = &request.vitals {
            live.heat.observe_vitals(now, vitals.soc, vitals.soc_trip, vitals.load);
            live.vitals = Some(vitals.clone());
        }
    });
    let has_soc = request.vitals.as_ref().is_some_and(|vitals| vitals.soc.is_some());
    if has_soc && !row.monitored {
        draft.edit_node(row.id, |node| node.monitored = true);
    }
    if status != NodeStatus::Ready {
        draft.resolve(&format!("node/{}", row.name));
        draft.event(EventKind::NodeReady, subject(&row.name), format!("node {} is ready", row.name));
        draft.make_room();
        reconcile::node_returned(draft, row.id);
    }
    if !boot_id.is_empty() && boot_id != request.boot_id && !want_full {
        draft.edit_live(row.id, |live| live.heat.powered_on());
        draft.event(EventKind::NodeRestarted, subject(&row.name), format!("node {} was powered on anew", row.name));
    }
    Heard { stale: false, want_full }
}

/// Tells of what the agent put back.
fn repairs(draft: &mut Draft, row: &NodeRow, request: &SyncRequest) {
    for repair in request.repairs.iter().take(MAX_REPAIRS) {
        let message = format!("node {} repaired its network: {}", row.name, crate::validate::shorten(repair));
        draft.event(EventKind::NodeRepaired, subject(&row.name), message);
    }
}

/// Takes over what the node says of itself; a new address changes the routes of every node.
fn facts(draft: &mut Draft, row: &NodeRow, request: &SyncRequest) {
    let is_news = |facts: &&NodeFacts| row.facts.as_ref().is_none_or(|known| differ(known, facts));
    let Some(facts) = request.facts.as_ref().filter(is_news) else { return };
    let moved = row.facts.as_ref().and_then(|old| old.address) != facts.address;
    draft.edit_node(row.id, |node| node.facts = Some(facts.clone()));
    draft.make_room();
    if moved {
        let others: Vec<NodeId> = draft.cluster.nodes.keys().copied().collect();
        for other in others {
            draft.touch_node(other);
        }
    }
}

/// Free disk space changes all the time and is not worth a write until it has changed by a sixteenth.
fn differ(known: &NodeFacts, told: &NodeFacts) -> bool {
    let near = known.disk_bytes.0.abs_diff(told.disk_bytes.0) < known.disk_bytes.0 / 16;
    let rounded = NodeFacts { disk_bytes: if near { known.disk_bytes } else { told.disk_bytes }, ..told.clone() };
    *known != rounded
}

/// Takes over what was seen of one allocation, and says whose it is when that changed anything.
fn observe(draft: &mut Draft, node: NodeId, report: &AllocationReport) -> Option<roost_types::InstanceId> {
    let old = draft.cluster.allocations.get(&report.id).filter(|row| row.node == node)?.clone();
    if report.generation < old.spec.generation || report.generation < old.observed.generation {
        return None;
    }
    let observed = AllocationReport { reason: crate::validate::shorten(&report.reason), ..report.clone() };
    if observed == old.observed {
        return None;
    }
    announce(draft, &old, &observed);
    announce_strain(draft, &old, &observed);
    draft.put(Row::Allocation(AllocationRow { observed, ..AllocationRow::clone(&old) }));
    Some(old.spec.instance)
}

/// The events of an allocation's life.
fn announce(draft: &mut Draft, old: &AllocationRow, new: &AllocationReport) {
    let name = &old.spec.name;
    let subject = super::instances::subject(&old.spec.project, name);
    let node = draft.cluster.node_name(old.node);
    if new.state == AllocationState::Running && new.started_at != old.observed.started_at {
        let again = new.restarts > old.observed.restarts;
        let kind = if again { EventKind::InstanceRestarted } else { EventKind::InstanceStarted };
        let how = if again { "was started again" } else { "runs" };
        draft.event(kind, subject, format!("instance {name} {how} on {node} at {}", old.spec.address));
    } else if new.state == AllocationState::Failed && old.observed.state != AllocationState::Failed {
        draft.event(EventKind::InstanceFailed, subject, format!("instance {name} failed on {node}: {}", new.reason));
    } else if new.state == AllocationState::Stopped && old.observed.state != AllocationState::Stopped {
        draft.event(EventKind::InstanceStopped, subject, format!("instance {name} stopped on {node}"));
    }
}

/// The events of what its limits do to a running instance.
fn announce_strain(draft: &mut Draft, old: &AllocationRow, new: &AllocationReport) {
    let name = &old.spec.name;
    let (before, now) = (old.observed.strain, new.strain);
    // A new start counts from zero.
    let killed = if new.started_at == old.observed.started_at {
        now.oom_kills.saturating_sub(before.oom_kills)
    } else {
        now.oom_kills
    };
    if killed > 0 {
        let limit = old.spec.resources.memory_bytes.0 >> 20;
        let what = if killed == 1 { "a process".to_owned() } else { format!("{killed} processes") };
        let message =
            format!("the kernel killed {what} of instance {name} for want of memory: it may have {limit} MiB");
        draft.event(EventKind::InstanceOomKilled, super::instances::subject(&old.spec.project, name), message);
    }
    for (was, is, lack) in [
        (before.cpu_throttled, now.cpu_throttled, "processor time"),
        (before.memory_pressure, now.memory_pressure, "memory"),
        (before.io_pressure, now.io_pressure, "disk time"),
    ] {
        if was != is {
            let verb = if is { "lacks" } else { "no longer lacks" };
            let message = format!("instance {name} {verb} {lack}");
            draft.event(EventKind::InstanceStrained, super::instances::subject(&old.spec.project, name), message);
        }
    }
}

/// Allocations to be deleted of which the node says, by name or by leaving them out of a full report, that nothing is
/// left.
fn gone(draft: &Draft, node: NodeId, request: &SyncRequest) -> Vec<AllocationId> {
    let named = |row: &AllocationRow| {
        let id = row.spec.id;
        request.gone.contains(&id) || request.full && !request.allocations.iter().any(|report| report.id == id)
    };
    let unwanted = |row: &AllocationRow| row.spec.desired == roost_types::allocation::AllocationDesired::Deleted;
    draft.cluster.allocations_on(node).filter(|row| unwanted(row) && named(row)).map(|row| row.spec.id).collect()
}
