//! Why a node cannot take an instance: hard rules, the first that applies.

use roost_types::instance::Transport;
use roost_types::{Eligibility, MilliCelsius, NodeId, NodeStatus, NodeUse, Publish, ThermalState};

use crate::candidate::{Candidate, Request};
use crate::refusal::Refusal;

/// The first rule that keeps the node from taking the instance. Order as in [`roost_types::placement::Filter`].
#[must_use]
pub fn filter<'a>(node: &Candidate<'a>, request: &Request<'a>) -> Option<Refusal<'a>> {
    reachable(node)
        .or_else(|| usable(node))
        .or_else(|| suitable(node, request))
        .or_else(|| cool(node, request))
        .or_else(|| node.missing_limit.map(Refusal::Feature))
        .or_else(|| (request.lan && !node.lan).then_some(Refusal::NoLan))
        .or_else(|| port(node, request))
        .or_else(|| room(node, request))
}

fn reachable<'a>(node: &Candidate<'a>) -> Option<Refusal<'a>> {
    match node.status {
        NodeStatus::Ready => None,
        other @ (NodeStatus::Joining | NodeStatus::Unreachable | NodeStatus::Down | NodeStatus::Retired) => {
            Some(Refusal::Status(other))
        }
    }
}

fn usable<'a>(node: &Candidate<'a>) -> Option<Refusal<'a>> {
    match (node.eligibility, node.used_for) {
        (Eligibility::Cordoned, _) => Some(Refusal::Cordoned),
        (Eligibility::Draining, _) => Some(Refusal::Draining),
        (Eligibility::Eligible, NodeUse::Whole) => Some(Refusal::Whole),
        (Eligibility::Eligible, NodeUse::Containers | NodeUse::Idle) => None,
    }
}

fn suitable<'a>(node: &Candidate<'a>, request: &Request<'a>) -> Option<Refusal<'a>> {
    if node.arch != Some(request.arch) {
        return Some(Refusal::Arch { image: request.arch, node: node.arch });
    }
    if request.not == Some(node.id) {
        return Some(Refusal::Left);
    }
    if request.only.is_some_and(|only| only != node.id) {
        return Some(Refusal::NotAsked);
    }
    let constraints = request.constraints;
    let is_named = |wanted: &str| wanted == node.name.as_str() || wanted.parse::<NodeId>() == Ok(node.id);
    if let Some(wanted) = constraints.node.as_deref().filter(|wanted| !is_named(wanted)) {
        return Some(Refusal::WantsNode(wanted));
    }
    if let Some(arch) = constraints.arch.filter(|arch| Some(*arch) != node.arch) {
        return Some(Refusal::WantsArch(arch));
    }
    let missing = constraints.labels.iter().find(|(key, value)| node.labels.get(*key) != Some(value));
    missing.map(|(key, value)| Refusal::WantsLabel(key, value))
}

fn cool<'a>(node: &Candidate<'a>, request: &Request<'a>) -> Option<Refusal<'a>> {
    let (zone, reason) = (node.zone, node.heat.reason);
    let (hot, headroom) = (node.heat.hot, request.headroom);
    let would_be_hot = |at: &MilliCelsius| at.0.saturating_add(headroom.0) >= hot.0;
    match node.heat.state {
        ThermalState::Hot | ThermalState::Critical => Some(Refusal::Thermal { zone, reason }),
        ThermalState::Unknown if node.heat.lost => Some(Refusal::SensorLost { zone, reason }),
        ThermalState::Unknown | ThermalState::Nominal | ThermalState::Warm => {
            let predicted = node.heat.predicted.filter(would_be_hot)?;
            Some(Refusal::WouldBeHot { predicted, hot, headroom })
        }
    }
}

fn port<'a>(node: &Candidate<'a>, request: &Request<'a>) -> Option<Refusal<'a>> {
    let taken = |wanted: &&Publish| node.ports.iter().any(|held| collide(wanted, held));
    request.publish.iter().find(taken).map(|wanted| Refusal::Port(wanted.host))
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

fn room<'a>(node: &Candidate<'a>, request: &Request<'a>) -> Option<Refusal<'a>> {
    let (free, wanted) = (node.free(), request.resources);
    if wanted.cpu_millis > free.cpu_millis {
        return Some(Refusal::Cpu(wanted, free));
    }
    if wanted.memory_bytes > free.memory_bytes {
        return Some(Refusal::Memory(wanted, free));
    }
    (node.free_addresses == 0).then_some(Refusal::Address)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::candidate::Heat;
    use roost_types::node::Amounts;
    use roost_types::placement::{Constraints, Filter};
    use roost_types::size::Arch;
    use roost_types::{MemoryBytes, Name, Size};

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
                    lost: false,
                },
                zone: Some(&self.zone),
                capacity: Amounts { cpu_millis: 4000, memory_bytes: MemoryBytes::mib(928) },
                allocated: Amounts::default(),
                missing_limit: None,
                lan: false,
                ports: vec!["8080:80".parse().unwrap()],
                free_addresses: 253,
                has_image: true,
                same_image: 0,
                same_app: 0,
            }
        }

        pub fn request(&self) -> Request<'_> {
            Request {
                arch: Arch::Armhf,
                resources: Size::Nano.resources(),
                constraints: &self.constraints,
                only: None,
                not: None,
                headroom: MilliCelsius(0),
                publish: &[],
                lan: false,
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
        let told = |node: &Candidate<'_>, request: &Request<'_>| {
            filter(node, request).map(|refusal| (refusal.filter(), refusal.detail()))
        };
        let with = |edit: &dyn Fn(&mut Candidate<'_>)| {
            let (mut node, request) = base();
            edit(&mut node);
            told(&node, &request)
        };
        let cases = [
            (with(&|n| n.status = NodeStatus::Unreachable), Filter::Status, "unreachable"),
            (with(&|n| n.eligibility = Eligibility::Cordoned), Filter::Eligibility, "cordoned"),
            (with(&|n| n.used_for = NodeUse::Whole), Filter::Use, "whole"),
            (with(&|n| n.arch = Some(Arch::Arm64)), Filter::Arch, "armhf"),
            (told(&labelled.node(), &labelled.request()), Filter::Constraint, "disk = nvme"),
            (told(&elsewhere.node(), &elsewhere.request()), Filter::Constraint, "n02"),
            (with(&|n| (n.heat.state, n.heat.reason) = (ThermalState::Hot, "inlet 41.0 °C")), Filter::Thermal, "41.0"),
            (with(&|n| n.heat.predicted = Some(MilliCelsius::whole(81))), Filter::Thermal, "81.0"),
            (
                told(&base().0, &Request { headroom: MilliCelsius::whole(30), ..base().1 }),
                Filter::Thermal,
                "30.0 °C below hot 80.0",
            ),
            (with(&|n| (n.heat.state, n.heat.lost) = (ThermalState::Unknown, true)), Filter::SensorLost, "shelf-1"),
            (with(&|n| n.missing_limit = Some("cgroup_enable=memory")), Filter::Feature, "cgroup_enable=memory"),
            (told(&base().0, &Request { lan: true, ..base().1 }), Filter::Feature, "--lan-interface"),
            (told(&base().0, &Request { publish: &port, ..base().1 }), Filter::Port, "8080"),
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
        node.heat = Heat { state: ThermalState::Unknown, predicted: None, ..node.heat };
        assert_eq!(filter(&node, &world.request()), None);
    }
}
