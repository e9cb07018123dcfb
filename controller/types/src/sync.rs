//! `POST /agent/v1/sync`: the one conversation between an agent and the controller.
//!
//! The agent keeps one request open (`wait_ms` > 0): the controller answers when there is news for the node, or after
//! at most [`MAX_WAIT_MS`], so the poll is the heartbeat. What the agent has to report meanwhile it sends on a second
//! connection with `wait_ms` 0. Level-triggered: the whole desired set can be sent again at any time and nothing breaks.
//! The node is known from its credential, never from the body.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::allocation::{AllocationReport, AllocationSpec};
use crate::image_transfer::{ImageGrants, ImageTraffic};
use crate::node::{NodeFacts, NodeVitals};
use crate::stream::StreamRequest;
use crate::{AllocationId, Name};

/// The longest the controller holds a poll.
pub const MAX_WAIT_MS: u32 = 2_000;
/// The largest body of a sync request: 1 MiB, some thousand reports.
pub const MAX_SYNC_BODY: usize = 1 << 20;
/// The most repairs one request tells of.
pub const MAX_REPAIRS: usize = 8;

/// Up: what the agent saw.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// Random, new with every start of the board (not of the agent).
    pub boot_id: String,
    /// Random, new with every start of the agent.
    pub agent_id: String,
    /// Grows by one with every request of this agent. Of two requests that carry news (facts, allocations, `gone`), the
    /// older one that arrives late is dropped; polls without news may overtake them.
    pub seq: u64,
    /// How long the controller may hold the answer; 0 for a report.
    pub wait_ms: u32,
    /// Generation of the desired set that the agent has stored; 0 for none.
    pub applied_generation: u64,
    /// `allocations` is everything the agent has, not only what changed: at the agent's start.
    pub full: bool,
    /// What the node says of itself, when it changed.
    pub facts: Option<NodeFacts>,
    /// What changes all the time.
    pub vitals: Option<NodeVitals>,
    /// Allocations that changed.
    pub allocations: Vec<AllocationReport>,
    /// Allocations of which nothing is left.
    pub gone: Vec<AllocationId>,
    /// [`NameTable::generation`] of the table that the agent has; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub names_generation: u64,
    /// What somebody had changed in the node's network and the agent put back, each a sentence that follows the node's
    /// name; at most [`MAX_REPAIRS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<String>,
    /// What it does with images; only polls say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageTraffic>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The node's network of instances.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeNetwork {
    /// Address of the bridge: the instances' gateway.
    pub gateway: Ipv4Addr,
    /// Prefix length.
    pub prefix_len: u8,
    /// Networks of the other nodes and the way there.
    pub routes: Vec<PeerRoute>,
}

/// The way to another node's instances.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerRoute {
    /// First address of the network.
    pub network: Ipv4Addr,
    /// Prefix length.
    pub prefix_len: u8,
    /// The other node's address on the rack's LAN.
    pub via: Ipv4Addr,
}

/// The instances of every project that has one on the node, over the whole rack: what names mean there, and who may
/// reach whom.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NameTable {
    /// Follows from the contents, so that it means the same after a restart of the controller; never 0.
    pub generation: u64,
    /// By project, each instance's address. An instance without an address of its own is not there.
    pub projects: BTreeMap<Name, BTreeMap<Name, Ipv4Addr>>,
}

/// What the node should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DesiredSet {
    /// Its network.
    pub network: NodeNetwork,
    /// Everything it should have; what is absent is to be deleted.
    pub allocations: Vec<AllocationSpec>,
}

/// Down: what it should run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SyncResponse {
    /// The node's name.
    pub node: Name,
    /// Generation of the desired set now.
    pub generation: u64,
    /// The whole set, when the agent's is older (or it has none).
    pub desired: Option<DesiredSet>,
    /// Streams to dial.
    pub streams: Vec<StreamRequest>,
    /// The controller knows too little of the node (it restarted): send facts and everything.
    pub want_full: bool,
    /// The whole table of names, when the agent's is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<NameTable>,
    /// Who may fetch images from this node, when that is not what the agent knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<ImageGrants>,
}
