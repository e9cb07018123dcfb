//! What holds for every rack.

mod rack;

use proptest::prelude::*;
use rack::{Condition, Rack};
use roost_scheduler::{Candidate, filter, schedule, score};
use roost_types::{Eligibility, NodeStatus, ThermalState, Timestamp};

fn condition() -> impl Strategy<Value = Condition> {
    let status = prop_oneof![6 => Just(NodeStatus::Ready), 1 => Just(NodeStatus::Unreachable)];
    let eligibility = prop_oneof![6 => Just(Eligibility::Eligible), 1 => Just(Eligibility::Draining)];
    let state = prop_oneof![
        4 => Just(ThermalState::Nominal),
        1 => Just(ThermalState::Warm),
        1 => Just(ThermalState::Hot),
        1 => Just(ThermalState::Critical),
        1 => Just(ThermalState::Unknown),
    ];
    // Coarse temperatures, so that ties happen.
    let heat = (state, prop::option::of((3..9_i32).prop_map(|tens| tens * 10_000)), any::<bool>());
    (status, eligibility, heat, 0..928_u64, any::<bool>(), 0..3_u32, 0..3_u32).prop_map(
        |(status, eligibility, (state, predicted, lost), used_mib, has_image, same_app, same_image)| Condition {
            status,
            eligibility,
            state,
            predicted,
            lost,
            used_mib: used_mib / 200 * 200,
            has_image,
            same_app,
            same_image,
        },
    )
}

proptest! {
    #[test]
    fn the_choice_is_the_best_of_those_that_pass_every_filter(conditions in prop::collection::vec(condition(), 0..150)) {
        let rack = Rack::new(conditions.len());
        let request = rack.request();
        let nodes: Vec<Candidate<'_>> = conditions.iter().enumerate().map(|(n, c)| rack.candidate(n, c)).collect();
        let placement = schedule(&nodes, &request, Timestamp(1));

        // The same by the simplest means: sort all that pass.
        let mut passing: Vec<&Candidate<'_>> = nodes.iter().filter(|node| filter(node, &request).is_none()).collect();
        passing.sort_by(|a, b| {
            let (left, right) = (score(a, &request).total(), score(b, &request).total());
            right.total_cmp(&left).then_with(|| a.name.cmp(b.name))
        });
        prop_assert_eq!(placement.node.as_ref(), passing.first().map(|node| node.name));
        let shown: Vec<_> = placement.candidates.iter().map(|candidate| &candidate.node).collect();
        prop_assert_eq!(shown, passing.iter().take(20).map(|node| node.name).collect::<Vec<_>>());
        for node in passing {
            prop_assert!(!matches!(node.heat.state, ThermalState::Hot | ThermalState::Critical));
            prop_assert!(!(node.heat.state == ThermalState::Unknown && node.heat.lost));
            prop_assert!((node.status, node.eligibility) == (NodeStatus::Ready, Eligibility::Eligible));
        }
    }

    #[test]
    fn every_node_is_accounted_for(conditions in prop::collection::vec(condition(), 0..150)) {
        let rack = Rack::new(conditions.len());
        let request = rack.request();
        let nodes: Vec<Candidate<'_>> = conditions.iter().enumerate().map(|(n, c)| rack.candidate(n, c)).collect();
        let placement = schedule(&nodes, &request, Timestamp(1));
        let passing = nodes.iter().filter(|node| filter(node, &request).is_none()).count();
        let removed: u32 = placement.filtered_by.values().sum();
        prop_assert_eq!(usize::try_from(removed).unwrap() + passing, nodes.len());
        prop_assert_eq!(placement.filtered.len(), (nodes.len() - passing).min(100));
        for candidate in &placement.candidates {
            prop_assert!((0.0..=1.0).contains(&candidate.total) && candidate.scores.len() == 5);
        }
    }

    #[test]
    fn the_order_of_the_nodes_does_not_matter(conditions in prop::collection::vec(condition(), 0..60)) {
        let rack = Rack::new(conditions.len());
        let request = rack.request();
        let mut nodes: Vec<Candidate<'_>> = conditions.iter().enumerate().map(|(n, c)| rack.candidate(n, c)).collect();
        let forward = schedule(&nodes, &request, Timestamp(1));
        nodes.reverse();
        let backward = schedule(&nodes, &request, Timestamp(1));
        prop_assert_eq!(forward.candidates, backward.candidates);
        prop_assert_eq!((forward.node, forward.message, forward.filtered_by),
            (backward.node, backward.message, backward.filtered_by));
    }
}
