//! The decision with its reasons.

use std::collections::BTreeMap;

use roost_types::placement::{Filter, FilteredNode, ScoredNode};
use roost_types::{MemoryBytes, Placement, Timestamp};

use crate::candidate::{Candidate, Request};
use crate::filter::filter;
use crate::score::{Scores, score, thousandths};

/// Nodes shown that could take the instance.
const SHOWN_CANDIDATES: usize = 20;
/// Nodes shown that could not.
const SHOWN_FILTERED: usize = 100;

/// Chooses the best node, ties by name, and says why, or why none.
#[must_use]
pub fn schedule(nodes: &[Candidate<'_>], request: &Request<'_>, now: Timestamp) -> Placement {
    let mut scored: Vec<(f64, &Candidate<'_>, Scores)> = Vec::new();
    let mut filtered = Vec::new();
    let mut filtered_by: BTreeMap<Filter, u32> = BTreeMap::new();
    for node in nodes {
        match filter(node, request) {
            Some((by, detail)) => {
                *filtered_by.entry(by).or_default() += 1;
                if filtered.len() < SHOWN_FILTERED {
                    filtered.push(FilteredNode { node: node.name.clone(), filter: by, detail });
                }
            }
            None => {
                let scores = score(node, request);
                scored.push((scores.total(), node, scores));
            }
        }
    }
    scored.sort_by(|(a, left, _), (b, right, _)| b.total_cmp(a).then_with(|| left.name.cmp(right.name)));
    Placement {
        node: scored.first().map(|(_, node, _)| node.name.clone()),
        decided_at: now,
        message: message(&scored, &filtered_by, nodes.len()),
        evaluated: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
        filtered_by,
        candidates: scored
            .iter()
            .take(SHOWN_CANDIDATES)
            .map(|(total, node, scores)| shown(*total, node, scores))
            .collect(),
        filtered,
    }
}

fn shown(total: f64, node: &Candidate<'_>, scores: &Scores) -> ScoredNode {
    ScoredNode { node: node.name.clone(), total: thousandths(total), scores: scores.named() }
}

fn message(scored: &[(f64, &Candidate<'_>, Scores)], filtered_by: &BTreeMap<Filter, u32>, nodes: usize) -> String {
    let Some((total, best, _)) = scored.first() else { return refusal(filtered_by, nodes) };
    let heat = match best.heat.predicted {
        Some(predicted) => format!("predicted {predicted}, hot at {}", best.heat.hot),
        None => "no temperature source".to_owned(),
    };
    format!("{} is the best of {} that can take it, score {total:.2}; {heat}", best.name, scored.len())
}

fn refusal(filtered_by: &BTreeMap<Filter, u32>, nodes: usize) -> String {
    if nodes == 0 {
        return "no node has joined yet".to_owned();
    }
    let counts: Vec<String> = filtered_by.iter().map(|(by, count)| format!("{count} by {}", word(*by))).collect();
    format!("none of {nodes} nodes can take it: {}", counts.join(", "))
}

const fn word(filter: Filter) -> &'static str {
    match filter {
        Filter::Status => "status (not ready)",
        Filter::Eligibility => "eligibility (cordoned or draining)",
        Filter::Use => "use (handed out whole)",
        Filter::Arch => "architecture",
        Filter::Constraint => "constraint",
        Filter::Thermal => "heat",
        Filter::SensorLost => "lost sensor",
        Filter::Feature => "missing kernel feature",
        Filter::Port => "taken port",
        Filter::Cpu => "cpu",
        Filter::Memory => "memory",
        Filter::Address => "full network",
    }
}

/// A request that no node could hold even if it were empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TooLarge {
    /// `cpu_millis` or `memory_bytes`.
    pub dimension: &'static str,
    /// What is wrong, with what was asked, the largest node and the most that is free now.
    pub detail: String,
}

/// Whether any node could hold the request if it were empty. Without nodes there is nothing to compare with.
///
/// # Errors
/// The dimension that is too large everywhere.
pub fn fits_anywhere(nodes: &[Candidate<'_>], request: &Request<'_>) -> Result<(), TooLarge> {
    let wanted = request.resources;
    let known: Vec<&Candidate<'_>> = nodes.iter().filter(|node| node.arch.is_some()).collect();
    let fits = |n: &&&Candidate<'_>| {
        n.capacity.cpu_millis >= wanted.cpu_millis && n.capacity.memory_bytes >= wanted.memory_bytes
    };
    if known.is_empty() || known.iter().any(|n| fits(&n)) {
        return Ok(());
    }
    let largest_memory = known.iter().map(|n| n.capacity.memory_bytes).max().unwrap_or_default();
    let free_memory = known.iter().map(|n| n.free().memory_bytes).max().unwrap_or_default();
    let largest_cpu = known.iter().map(|n| n.capacity.cpu_millis).max().unwrap_or_default();
    let free_cpu = known.iter().map(|n| n.free().cpu_millis).max().unwrap_or_default();
    Err(if wanted.memory_bytes > largest_memory {
        too_large_memory(wanted.memory_bytes, largest_memory, free_memory)
    } else {
        let detail = format!(
            "{} m of cpu fit on no node: the largest has {largest_cpu} m, the most that is free now is {free_cpu} m",
            wanted.cpu_millis
        );
        TooLarge { dimension: "cpu_millis", detail }
    })
}

fn too_large_memory(wanted: MemoryBytes, largest: MemoryBytes, free: MemoryBytes) -> TooLarge {
    let detail = format!("{wanted} of memory fit on no node: the largest has {largest}, the most free now is {free}");
    TooLarge { dimension: "memory_bytes", detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::tests::World;
    use roost_types::{MilliCelsius, NodeStatus, ThermalState};

    #[test]
    fn the_coolest_board_wins_and_ties_go_by_name() {
        let (a, b, c) = (World::new("a"), World::new("b"), World::new("c"));
        let mut nodes = vec![c.node(), b.node(), a.node()];
        let request = a.request();
        let choice = |nodes: &[Candidate<'_>]| schedule(nodes, &request, Timestamp(0)).node.unwrap().to_string();
        assert_eq!(choice(&nodes), "a");
        nodes[0].heat.predicted = Some(MilliCelsius::whole(41));
        assert_eq!(choice(&nodes), "c");
    }

    #[test]
    fn a_hot_board_is_never_chosen_and_the_reasons_are_counted() {
        let (a, b) = (World::new("a"), World::new("b"));
        let mut nodes = vec![a.node(), b.node()];
        nodes[0].heat.state = ThermalState::Hot;
        let placement = schedule(&nodes, &a.request(), Timestamp(5));
        assert_eq!(placement.node.unwrap().as_str(), "b");
        assert_eq!(placement.filtered_by, BTreeMap::from([(Filter::Thermal, 1)]));
        nodes[1].status = NodeStatus::Down;
        let placement = schedule(&nodes, &a.request(), Timestamp(5));
        assert_eq!(placement.node, None);
        assert_eq!(placement.message, "none of 2 nodes can take it: 1 by status (not ready), 1 by heat");
    }

    #[test]
    fn a_request_larger_than_every_board_is_told_the_dimension_and_the_largest() {
        let world = World::new("a");
        let mut request = world.request();
        assert_eq!(fits_anywhere(&[world.node()], &request), Ok(()));
        assert_eq!(fits_anywhere(&[], &request), Ok(()));
        request.resources.memory_bytes = MemoryBytes::mib(2048);
        let refused = fits_anywhere(&[world.node()], &request).unwrap_err();
        assert_eq!(refused.dimension, "memory_bytes");
        assert!(refused.detail.contains("928 MiB"), "{}", refused.detail);
    }
}
