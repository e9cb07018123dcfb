//! Racks of nodes in every condition, for the tests of the scheduler.

use std::collections::BTreeMap;

use roost_scheduler::{Candidate, Heat, Request};
use roost_types::node::Amounts;
use roost_types::placement::Constraints;
use roost_types::size::Arch;
use roost_types::{Eligibility, MemoryBytes, MilliCelsius, Name, NodeId, NodeStatus, NodeUse, Size, ThermalState};

/// What the candidates borrow.
pub struct Rack {
    names: Vec<Name>,
    zone: Name,
    labels: BTreeMap<String, String>,
    constraints: Constraints,
}

/// What differs from node to node.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    pub status: NodeStatus,
    pub eligibility: Eligibility,
    pub state: ThermalState,
    pub predicted: Option<i32>,
    pub lost: bool,
    pub used_mib: u64,
    pub has_image: bool,
    pub same_app: u32,
    pub same_image: u32,
}

impl Rack {
    pub fn new(nodes: usize) -> Self {
        Self {
            names: (0..nodes).map(|n| format!("n{n:04}").parse().unwrap()).collect(),
            zone: "shelf-1".parse().unwrap(),
            labels: BTreeMap::new(),
            constraints: Constraints::default(),
        }
    }

    pub fn candidate(&self, index: usize, condition: &Condition) -> Candidate<'_> {
        Candidate {
            id: NodeId::mint(1, u64::try_from(index).unwrap().to_be_bytes().repeat(2)[..10].try_into().unwrap()),
            name: &self.names[index],
            status: condition.status,
            eligibility: condition.eligibility,
            used_for: NodeUse::Containers,
            arch: Some(Arch::Armhf),
            labels: &self.labels,
            heat: Heat {
                state: condition.state,
                reason: "inlet 41.0 °C ≥ hot 35.0 °C, 1.2 s old",
                predicted: condition.predicted.map(MilliCelsius),
                hot: MilliCelsius::whole(80),
                lost: condition.lost,
            },
            zone: Some(&self.zone),
            capacity: Amounts { cpu_millis: 8000, memory_bytes: MemoryBytes::mib(928) },
            allocated: Amounts { cpu_millis: 500, memory_bytes: MemoryBytes::mib(condition.used_mib) },
            missing_limit: None,
            lan: false,
            ports: vec!["8080:80".parse().unwrap()],
            free_addresses: 200,
            has_image: condition.has_image,
            same_image: condition.same_image,
            same_app: condition.same_app,
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
