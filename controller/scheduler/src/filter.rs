//! Why a node cannot take an instance: hard rules, the first that applies.

use roost_types::instance::Transport;
use roost_types::placement::Filter;
use roost_types::{Eligibility, NodeStatus, NodeUse, Publish, ThermalState};

use crate::candidate::{Candidate, Request};

/// The first rule that keeps the node from taking the instance, with its numbers. Order as in [`Filter`].
#[must_use]
pub fn filter(node: &Candidate<'_>, request: &Request<'_>) -> Option<(Filter, String)> {
    reachable(node)
        .or_else(|| usable(node))
        .or_else(|| suitable(node, request))
        .or_else(|| cool(node))
        .or_else(|| enforceable(node))
        .or_else(|| port(node, request))
        .or_else(|| room(node, request))
}

fn reachable(node: &Candidate<'_>) -> Option<(Filter, String)> {
    match node.status {
        NodeStatus::Ready => None,
        other => Some((Filter::Status, format!("the node is {}", other.as_str()))),
    }
}

fn usable(node: &Candidate<'_>) -> Option<(Filter, String)> {
    match (node.eligibility, node.used_for) {
        (Eligibility::Cordoned, _) => Some((Filter::Eligibility, "the node is cordoned".to_owned())),
        (Eligibility::Draining, _) => Some((Filter::Eligibility, "the node is being emptied".to_owned())),
        (Eligibility::Eligible, NodeUse::Whole) => Some((Filter::Use, "the node is handed out whole".to_owned())),
        (Eligibility::Eligible, NodeUse::Containers | NodeUse::Idle) => None,
    }
}

fn suitable(node: &Candidate<'_>, request: &Request<'_>) -> Option<(Filter, String)> {
    if node.arch != Some(request.arch) {
        let has = node.arch.map_or("unknown", |arch| arch.as_str());
        return Some((Filter::Arch, format!("the image is for {}, the node is {has}", request.arch)));
    }
    let refused = |why: String| Some((Filter::Constraint, why));
    if request.not == Some(node.id) {
        return refused("the instance leaves this node".to_owned());
    }
    if request.only.is_some_and(|only| only != node.id) {
        return refused("another node was asked for".to_owned());
    }
    let constraints = request.constraints;
    let named = |wanted: &String| *wanted == node.name.as_str() || *wanted == node.id.to_string();
    if let Some(wanted) = constraints.node.as_ref().filter(|wanted| !named(wanted)) {
        return refused(format!("constraint node = {wanted}"));
    }
    if let Some(arch) = constraints.arch.filter(|arch| Some(*arch) != node.arch) {
        return refused(format!("constraint arch = {arch}"));
    }
    match constraints.labels.iter().find(|(key, value)| node.labels.get(*key) != Some(value)) {
        Some((key, value)) => refused(format!("constraint label {key} = {value}")),
        None => None,
    }
}

fn cool(node: &Candidate<'_>) -> Option<(Filter, String)> {
    let zone = node.zone.map(|zone| format!("zone {zone}: ")).unwrap_or_default();
    match node.heat.state {
        ThermalState::Hot | ThermalState::Critical => Some((Filter::Thermal, format!("{zone}{}", node.heat.reason))),
        ThermalState::Unknown if node.heat.lost => Some((Filter::SensorLost, format!("{zone}{}", node.heat.reason))),
        ThermalState::Unknown | ThermalState::Nominal | ThermalState::Warm => None,
    }
}

fn enforceable(node: &Candidate<'_>) -> Option<(Filter, String)> {
    node.missing_limit.map(|advice| (Filter::Feature, advice.to_owned()))
}

fn port(node: &Candidate<'_>, request: &Request<'_>) -> Option<(Filter, String)> {
    let taken = |wanted: &&Publish| node.ports.iter().any(|held| collide(wanted, held));
    let wanted = request.publish.iter().find(taken)?;
    Some((Filter::Port, format!("port {} is published by another instance there", wanted.host)))
}

/// Whether two published ports cannot both be on one node.
#[must_use]
pub fn collide(a: &Publish, b: &Publish) -> bool {
    let same_transport = match (a.transport, b.transport) {
        (Transport::Tcp, Transport::Tcp) | (Transport::Udp, Transport::Udp) => true,
        (Transport::Tcp, Transport::Udp) | (Transport::Udp, Transport::Tcp) => false,
    };
    a.host == b.host && same_transport && a.host_ip.zip(b.host_ip).is_none_or(|(a, b)| a == b)
}

fn room(node: &Candidate<'_>, request: &Request<'_>) -> Option<(Filter, String)> {
    let (free, wanted) = (node.free(), request.resources);
    if wanted.cpu_millis > free.cpu_millis {
        return Some((Filter::Cpu, format!("wants {} m cpu, {} m are free", wanted.cpu_millis, free.cpu_millis)));
    }
    if wanted.memory_bytes > free.memory_bytes {
        return Some((Filter::Memory, format!("wants {}, {} are free", wanted.memory_bytes, free.memory_bytes)));
    }
    (node.free_addresses == 0).then(|| (Filter::Address, "its instance network is full".to_owned()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::candidate::Heat;
    use roost_types::node::Amounts;
    use roost_types::placement::Constraints;
    use roost_types::size::Arch;
    use roost_types::{MemoryBytes, MilliCelsius, Name, NodeId, Size};

    pub struct World {
        pub name: Name,
        pub zone: Name,
        pub labels: BTreeMap<String, String>,
        pub constraints: Constraints,
    }

    impl World {
        pub fn new(name: &str) -> Self {
            Self {
                name: name.parse().unwrap(),
                zone: "shelf-1".parse().unwrap(),
                labels: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
                constraints: Constraints::default(),
            }
        }

        pub fn node(&self) -> Candidate<'_> {
            Candidate {
                id: NodeId::mint(u64::from(self.name.as_str().len() as u32), [7; 10]),
                name: &self.name,
                status: NodeStatus::Ready,
                eligibility: Eligibility::Eligible,
                used_for: NodeUse::Idle,
                arch: Some(Arch::Armhf),
                labels: &self.labels,
                heat: Heat {
                    state: ThermalState::Nominal,
                    reason: "SoC 45.0 °C",
                    predicted: Some(MilliCelsius::whole(50)),
                    hot: MilliCelsius::whole(80),
                    unmonitored: false,
                    lost: false,
                    age: None,
                },
                zone: Some(&self.zone),
                capacity: Amounts { cpu_millis: 4000, memory_bytes: MemoryBytes::mib(928) },
                allocated: Amounts::default(),
                missing_limit: None,
                ports: vec!["8080:80".parse().unwrap()],
                free_addresses: 253,
                has_image: true,
                same_image: 0,
                same_app: 0,
            }
        }

        pub fn request(&self) -> Request<'_> {
            Request {
                kind: roost_types::InstanceKind::Container,
                arch: Arch::Armhf,
                resources: Size::Nano.resources(),
                constraints: &self.constraints,
                only: None,
                not: None,
                publish: &[],
            }
        }
    }

    #[test]
    fn a_good_node_passes_every_filter() {
        let world = World::new("n01");
        assert_eq!(filter(&world.node(), &world.request()), None);
    }

    #[test]
    fn each_reason_to_refuse_a_node_is_found_and_told_with_its_numbers() {
        let world = World::new("n01");
        let mut labelled = World::new("n01");
        labelled.constraints.labels.insert("disk".into(), "nvme".into());
        let mut elsewhere = World::new("n01");
        elsewhere.constraints.node = Some("n02".into());
        let port = ["8080:443".parse().unwrap()];
        let base = || (world.node(), world.request());
        let with = |edit: &dyn Fn(&mut Candidate<'_>)| {
            let (mut node, request) = base();
            edit(&mut node);
            filter(&node, &request)
        };
        let cases = [
            (with(&|n| n.status = NodeStatus::Unreachable), Filter::Status, "unreachable"),
            (with(&|n| n.eligibility = Eligibility::Cordoned), Filter::Eligibility, "cordoned"),
            (with(&|n| n.used_for = NodeUse::Whole), Filter::Use, "whole"),
            (with(&|n| n.arch = Some(Arch::Arm64)), Filter::Arch, "armhf"),
            (filter(&labelled.node(), &labelled.request()), Filter::Constraint, "disk = nvme"),
            (filter(&elsewhere.node(), &elsewhere.request()), Filter::Constraint, "n02"),
            (with(&|n| (n.heat.state, n.heat.reason) = (ThermalState::Hot, "inlet 41.0 °C")), Filter::Thermal, "41.0"),
            (with(&|n| (n.heat.state, n.heat.lost) = (ThermalState::Unknown, true)), Filter::SensorLost, "shelf-1"),
            (with(&|n| n.missing_limit = Some("cgroup_enable=memory")), Filter::Feature, "cgroup_enable=memory"),
            (filter(&base().0, &Request { publish: &port, ..base().1 }), Filter::Port, "8080"),
            (with(&|n| n.allocated.cpu_millis = 3900), Filter::Cpu, "100 m are free"),
            (with(&|n| n.allocated.memory_bytes = MemoryBytes::mib(900)), Filter::Memory, "28 MiB are free"),
            (with(&|n| n.free_addresses = 0), Filter::Address, "full"),
        ];
        for (found, filter, words) in cases {
            let (by, detail) = found.expect("refused");
            assert_eq!(by, filter, "{detail}");
            assert!(detail.contains(words), "{detail}");
        }
    }

    #[test]
    fn the_same_port_collides_unless_protocol_or_address_differ() {
        let port = |text: &str| text.parse::<Publish>().unwrap();
        assert!(collide(&port("80:80"), &port("80:81")));
        assert!(collide(&port("80:80"), &port("10.0.0.1:80:80")));
        assert!(!collide(&port("80:80"), &port("80:80/udp")));
        assert!(!collide(&port("10.0.0.2:80:80"), &port("10.0.0.1:80:80")));
    }

    #[test]
    fn a_node_that_never_had_a_sensor_can_be_used() {
        let world = World::new("n01");
        let mut node = world.node();
        node.heat = Heat { state: ThermalState::Unknown, unmonitored: true, predicted: None, ..node.heat };
        assert_eq!(filter(&node, &world.request()), None);
    }
}
