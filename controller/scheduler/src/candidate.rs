//! What the scheduler is told of a node and of an instance.

use std::collections::BTreeMap;

use roost_types::node::Amounts;
use roost_types::placement::Constraints;
use roost_types::size::{Arch, Resources};
use roost_types::{Eligibility, MilliCelsius, Name, NodeId, NodeStatus, NodeUse, Publish, ThermalState};

/// How hot a node is, as far as placement cares.
#[derive(Clone, Copy, Debug)]
pub struct Heat<'a> {
    /// State with hysteresis.
    pub state: ThermalState,
    /// Why, with numbers and age.
    pub reason: &'a str,
    /// Where its temperature would go with the request on it. A node that never had a source has none: it is placeable,
    /// but scored down.
    pub predicted: Option<MilliCelsius>,
    /// Temperature at which it is hot.
    pub hot: MilliCelsius,
    /// It had a source and lost it.
    pub lost: bool,
}

/// A node as placement sees it.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Id.
    pub id: NodeId,
    /// Name.
    pub name: &'a Name,
    /// Whether the agent answers.
    pub status: NodeStatus,
    /// Whether it may be used.
    pub eligibility: Eligibility,
    /// What it is used for.
    pub used_for: NodeUse,
    /// Instruction set; none before its first contact.
    pub arch: Option<Arch>,
    /// Free key-value pairs.
    pub labels: &'a BTreeMap<String, String>,
    /// How hot it is.
    pub heat: Heat<'a>,
    /// The zone that cools it.
    pub zone: Option<&'a Name>,
    /// What can be given out.
    pub capacity: Amounts,
    /// What is given out.
    pub allocated: Amounts,
    /// A limit that its kernel cannot enforce, with the advice that helps.
    pub missing_limit: Option<&'a str>,
    /// It can put instances on its LAN.
    pub lan: bool,
    /// Published ports of its instances.
    pub ports: Vec<Publish>,
    /// Addresses left in its network.
    pub free_addresses: u32,
    /// It holds the image.
    pub has_image: bool,
    /// Its instances of the same image.
    pub same_image: u32,
    /// Its instances of the same app.
    pub same_app: u32,
}

impl Candidate<'_> {
    /// What is left to give out.
    #[must_use]
    pub fn free(&self) -> Amounts {
        Amounts {
            cpu_millis: self.capacity.cpu_millis.saturating_sub(self.allocated.cpu_millis),
            memory_bytes: roost_types::MemoryBytes(
                self.capacity.memory_bytes.0.saturating_sub(self.allocated.memory_bytes.0),
            ),
        }
    }
}

/// An instance that wants a node.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The image's instruction set.
    pub arch: Arch,
    /// What it is to be given.
    pub resources: Resources,
    /// Where it may run.
    pub constraints: &'a Constraints,
    /// Only this node, by id: the target of a move.
    pub only: Option<NodeId>,
    /// Not this node: the one it leaves.
    pub not: Option<NodeId>,
    /// The node's predicted temperature with it must stay this far below hot.
    pub headroom: MilliCelsius,
    /// Ports it publishes.
    pub publish: &'a [Publish],
    /// It wants to be on the node's LAN.
    pub lan: bool,
}
