//! Nodes: the boards, as they describe themselves and as the API shows them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::image::ImageDigest;
use crate::rack::{Limits, Slot, ThermalState};
use crate::size::Arch;
use crate::{MemoryBytes, MilliCelsius, Name, NodeId, Timestamp};

/// Whether the agent answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NodeStatus {
    /// Known, and not yet heard of since.
    Joining,
    /// Answers.
    Ready,
    /// Silent for 5 s: nothing is moved.
    Unreachable,
    /// Silent for 30 s, or confirmed off.
    Down,
    /// Never to be used again.
    Retired,
}

impl NodeStatus {
    /// The status as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Unreachable => "unreachable",
            Self::Down => "down",
            Self::Retired => "retired",
        }
    }
}

/// Whether people or rules let the scheduler use it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Eligibility {
    /// May be used.
    Eligible,
    /// Keeps what it has, gets nothing new.
    Cordoned,
    /// Is being emptied and gets nothing new.
    Draining,
}

/// What the node is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NodeUse {
    /// Has containers.
    Containers,
    /// Is handed out whole.
    Whole,
    /// Nothing.
    Idle,
}

/// One feature of the node's kernel that Roost looked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Feature {
    /// Name, for example `memory_limit`, `idmapped_mounts`, `seccomp`.
    pub name: String,
    /// Whether it is there.
    pub supported: bool,
    /// What it costs when it is missing and what to do; empty when supported.
    pub advice: String,
}

/// Which cgroup hierarchies carry the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CgroupMode {
    /// Version 1 hierarchies (hybrid counts as this).
    V1,
    /// The unified hierarchy.
    V2,
}

/// What a node says of itself; sent at first contact and when it changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeFacts {
    /// Instruction set.
    pub arch: Arch,
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Memory the agent may use: the smaller of the machine's and its own cgroup's.
    pub memory_bytes: MemoryBytes,
    /// Free space for images and writable layers.
    pub disk_bytes: MemoryBytes,
    /// Kernel release.
    pub kernel: String,
    /// Version of the agent.
    pub agent_version: String,
    /// Address on the rack's LAN.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Ipv4))]
    pub address: Option<Ipv4Addr>,
    /// Which cgroup hierarchies carry the limits.
    pub cgroup: CgroupMode,
    /// What its kernel can do.
    pub features: Vec<Feature>,
    /// Images it holds.
    pub images: Vec<ImageDigest>,
}

/// What changes all the time on a node; never stored.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeVitals {
    /// The hottest thermal zone of the SoC; absent where the board has no sensor.
    pub soc: Option<MilliCelsius>,
    /// Its first passive trip point, where it has one.
    pub soc_trip: Option<MilliCelsius>,
    /// Busy share of all cores, 0 to 1.
    pub load: f64,
    /// Memory available for new work.
    pub memory_available: MemoryBytes,
}

/// Heat as the API shows it for a node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeHeat {
    /// State with hysteresis.
    pub state: ThermalState,
    /// Worst-case estimate of the SoC's temperature now.
    pub estimate: Option<MilliCelsius>,
    /// Where the estimate is going.
    pub predicted: Option<MilliCelsius>,
    /// What the SoC itself last said.
    pub soc: Option<MilliCelsius>,
    /// The zone it is cooled with.
    pub zone: Option<Name>,
    /// That zone's inlet temperature.
    pub inlet: Option<MilliCelsius>,
    /// Age of the newest source, in milliseconds.
    pub age_ms: Option<u64>,
    /// It never had any source.
    pub unmonitored: bool,
    /// Why the state is what it is.
    pub reason: String,
    /// What explains its heat, or which sensor lies, when something is wrong.
    pub diagnosis: Option<String>,
    /// What was learned of it; absent before it was watched for some minutes.
    pub learned: Option<LearnedRise>,
}

/// How much warmer than the air at its zone's inlet a board runs, learned from its own history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LearnedRise {
    /// When it is idle.
    pub idle: MilliCelsius,
    /// What full load adds.
    pub load: MilliCelsius,
}

/// An amount of each thing that is shared out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Memory.
    pub memory_bytes: MemoryBytes,
}

/// A node as the API shows it: four columns of state, never one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Node {
    /// Id.
    pub id: NodeId,
    /// Name.
    pub name: Name,
    /// Whether the agent answers.
    pub status: NodeStatus,
    /// Whether it may be used.
    pub eligibility: Eligibility,
    /// How hot it is.
    pub thermal: NodeHeat,
    /// What it is used for.
    #[serde(rename = "use")]
    pub used_for: NodeUse,
    /// Where it stands.
    pub slot: Option<Slot>,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
    /// Its own limits instead of the defaults.
    pub limits: Option<Limits>,
    /// Whether it has power; absent when no relay of a hub cuts it.
    #[serde(default)]
    pub power: Option<PowerState>,
    /// Address on the rack's LAN.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Ipv4))]
    pub address: Option<Ipv4Addr>,
    /// Network of its instances, for example `10.77.3.0/24`.
    pub prefix: String,
    /// What can be given out.
    pub capacity: Amounts,
    /// What is given out.
    pub allocated: Amounts,
    /// Busy share of all cores, 0 to 1.
    pub load: Option<f64>,
    /// Number of instances.
    pub instances: u32,
    /// What it says of itself.
    pub facts: Option<NodeFacts>,
    /// When it was last heard.
    pub last_seen_at: Option<Timestamp>,
    /// When it joined.
    pub created_at: Timestamp,
    /// Grows with every change of settings; the ETag.
    pub generation: u64,
}

/// `PATCH /v1/nodes/{n}`: only what is named changes.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PatchNode {
    /// `eligible` or `cordoned`; to empty a node use `POST …/drain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eligibility: Option<Eligibility>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// Replaces all labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Its own SoC limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// Whether a node has power, as far as that is confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PowerState {
    /// Its relay lets the power through.
    On,
    /// Its relay cuts the power, and the node is silent.
    Off,
    /// The relay's hub does not speak, or its witnesses do not agree.
    Unknown,
}

/// What to do with a node's power.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PowerAction {
    /// Switch on.
    On,
    /// Cut.
    Off,
    /// Cut, then switch on.
    Cycle,
}

/// `POST /v1/nodes/{n}/power`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PowerRequest {
    /// What to do.
    pub action: PowerAction,
    /// Switch on although water may condense: the air at the node is within 2 °C of its dew point.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub despite_condensation: bool,
}
