//! Instances: what a user launches and what the API shows of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::allocation::ExitStatus;
use crate::first_boot::UserData;
use crate::limits::{Limits, PatchLimits};
use crate::placement::Constraints;
use crate::snapshot::SnapshotSource;
use crate::{AllocationId, InstanceId, MemoryBytes, Name, Size, Timestamp};

/// A slice of a board, or the whole board.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum InstanceKind {
    /// An LXC-style container.
    #[default]
    Container,
    /// All of a node.
    Board,
}

/// What the user wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Desired {
    /// It should run.
    Running,
    /// It should exist and not run.
    Stopped,
    /// It should be gone.
    Deleted,
}

/// What is shown, derived from the wish, the allocation and the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum InstanceState {
    /// Waiting for a node.
    Pending,
    /// A node has it and is bringing it up.
    Starting,
    /// Its first process runs.
    Running,
    /// It is being shut down.
    Stopping,
    /// It exists and does not run.
    Stopped,
    /// It ended and is not tried again; `state_reason` says why.
    Failed,
    /// Its node does not answer; it may well run.
    Unreachable,
}

impl InstanceState {
    /// The state as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the node does when the first process ends by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RestartPolicy {
    /// Start it again, whatever its exit status, after a growing pause.
    Always,
    /// Start it again unless it ended with status 0.
    #[default]
    OnFailure,
    /// Leave it.
    Never,
}

/// What happens to the instance when its node is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NodeLossPolicy {
    /// Wait for the node, unless its power is confirmed off.
    #[default]
    Keep,
    /// Place it elsewhere once the node is down.
    Replace,
}

/// Which network an instance is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Network {
    /// The node's own network of instances: an address from the node's prefix, a name in the project, published ports.
    #[default]
    Bridge,
    /// The node's LAN, like a machine of its own: it asks a DHCP server there for its address, which Roost does not know.
    /// Only on nodes that name their LAN interface.
    Lan,
}

impl Network {
    /// Whether it is the default.
    #[must_use]
    pub const fn is_bridge(&self) -> bool {
        matches!(self, Self::Bridge)
    }
}

/// The protocol of a published port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// A published port, written `[HOST_IP:]HOST:CONTAINER[/udp]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Publish {
    /// The node's address to listen on; every one when absent.
    pub host_ip: Option<Ipv4Addr>,
    /// Port of the node.
    pub host: u16,
    /// Port inside the instance.
    pub container: u16,
    /// TCP or UDP.
    pub transport: Transport,
}

impl FromStr for Publish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not [HOST_IP:]HOST:CONTAINER[/udp] with ports 1 to 65535");
        let (ports, transport) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Transport::Tcp),
            Some((ports, "udp")) => (ports, Transport::Udp),
            Some(_) => return Err(wrong()),
        };
        let mut parts = ports.rsplitn(3, ':');
        let mut port = || parts.next().and_then(|p| p.parse::<u16>().ok()).filter(|p| *p != 0).ok_or_else(wrong);
        let (container, host) = (port()?, port()?);
        let host_ip = parts.next().map(|ip| ip.parse().map_err(|_| wrong())).transpose()?;
        Ok(Self { host_ip, host, container, transport })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ip) = self.host_ip {
            write!(f, "{ip}:")?;
        }
        write!(f, "{}:{}", self.host, self.container)?;
        match self.transport {
            Transport::Tcp => Ok(()),
            Transport::Udp => f.write_str("/udp"),
        }
    }
}

impl Serialize for Publish {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Publish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// `POST /v1/instances`. Either `size`, or `cpu_millis` and `memory_bytes`; with neither, size `nano`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateInstance {
    /// Name, unique in the project; made from the image's alias when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Alias or digest of an image; absent with `source`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Begin with the files, image, size, command and environment of this snapshot; what is named here too wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SnapshotSource>,
    /// Container (default) or whole board.
    #[serde(default)]
    pub kind: InstanceKind,
    /// Named size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Thousandths of a core, 50 to 64,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Memory limit, at least 8 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<MemoryBytes>,
    /// Disk limit of what it writes, at least 16 MiB; only nodes that can enforce it are chosen then. The size's when
    /// absent, enforced where the node can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<MemoryBytes>,
    /// Limits beside those of a size; only nodes that can enforce each are chosen.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// The command to run instead of the image's own; at most 128 words of 4 KiB in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Environment variables for the first process.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Ports of the node that lead into the instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<Publish>,
    /// Which network it is on; `lan` has no published ports.
    #[serde(default, skip_serializing_if = "Network::is_bridge")]
    pub network: Network,
    /// Where it may run.
    #[serde(default, skip_serializing_if = "Constraints::is_empty")]
    pub constraints: Constraints,
    /// What the node does when the first process ends.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// What happens when the node is lost.
    #[serde(default)]
    pub node_loss: NodeLossPolicy,
    /// How important it is, -100 to 100; 0 when absent: where heat becomes critical, the least important stops first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i8,
    /// Free key-value pairs; `app` groups instances that should be spread.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Project; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// For the first start: for cloud-init where the image has it, else a script that begins with `#!` and is run once;
    /// at most 64 KiB, never shown. Needs the image's own init.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<UserData>,
    /// Public SSH keys that may log in, at most 64. Needs the image's own init.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
}

impl CreateInstance {
    /// The smallest request: an image and nothing else.
    #[must_use]
    pub fn of_image(image: impl Into<String>) -> Self {
        Self {
            name: None,
            image: image.into(),
            source: None,
            kind: InstanceKind::Container,
            size: None,
            cpu_millis: None,
            memory_bytes: None,
            disk_bytes: None,
            limits: Limits::NONE,
            command: None,
            env: BTreeMap::new(),
            publish: Vec::new(),
            network: Network::default(),
            constraints: Constraints::default(),
            restart: RestartPolicy::default(),
            node_loss: NodeLossPolicy::default(),
            priority: 0,
            labels: BTreeMap::new(),
            project: None,
            user_data: None,
            ssh_keys: Vec::new(),
        }
    }
}

/// The largest priority; the smallest is its opposite.
pub const MAX_PRIORITY: i8 = 100;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_zero(priority: &i8) -> bool {
    *priority == 0
}

/// The longest time an instance may be given to end by itself: an hour.
pub const MAX_STOP_SECONDS: u32 = 3_600;

/// `POST /v1/instances/{i}/stop`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StopInstance {
    /// Seconds that it may take to end by itself before it is killed, 0 to 3,600; 10 when absent. Said again while it is
    /// being stopped, it can only bring the end forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

/// `PATCH /v1/instances/{i}`: only what is named changes.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PatchInstance {
    /// A new name; the host name inside follows with the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Replaces all labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The restart policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
    /// The node loss policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_loss: Option<NodeLossPolicy>,
    /// How important it is, -100 to 100: where heat becomes critical, the least important stops first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i8>,
    /// Another named size, in force at once; not together with the fields below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Thousandths of a core, 50 to 64,000, in force at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Memory limit, at least 8 MiB, in force at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<MemoryBytes>,
    /// Disk limit of what it writes, at least 16 MiB, in force at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<MemoryBytes>,
    /// Limits beside those of a size, in force at once.
    #[serde(default, skip_serializing_if = "PatchLimits::is_empty")]
    pub limits: PatchLimits,
}

/// An instance as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Instance {
    /// Id.
    pub id: InstanceId,
    /// Name, unique in the project.
    pub name: Name,
    /// Project.
    pub project: Name,
    /// Container or whole board.
    pub kind: InstanceKind,
    /// The image as the user named it.
    pub image: String,
    /// The digest that name stood for at launch.
    pub image_digest: String,
    /// Named size, if one was asked for.
    pub size: Option<Size>,
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Memory limit.
    pub memory_bytes: MemoryBytes,
    /// Disk limit of what it writes.
    pub disk_bytes: MemoryBytes,
    /// Limits beside these.
    #[serde(default)]
    pub limits: Limits,
    /// The command, if not the image's own.
    pub command: Option<Vec<String>>,
    /// What is seen.
    pub state: InstanceState,
    /// Why, in a sentence; empty when there is nothing to explain.
    pub state_reason: String,
    /// What is wanted.
    pub desired: Desired,
    /// Name of the node that has it.
    pub node: Option<Name>,
    /// The incarnation on that node.
    pub allocation: Option<AllocationId>,
    /// Which network it is on.
    #[serde(default)]
    pub network: Network,
    /// Its own address on the instance network; none on the LAN.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Ipv4))]
    pub address: Option<Ipv4Addr>,
    /// Published ports.
    pub publish: Vec<Publish>,
    /// What the node does when the first process ends.
    pub restart: RestartPolicy,
    /// How often the node has started it again.
    pub restarts: u32,
    /// What happens when the node is lost.
    pub node_loss: NodeLossPolicy,
    /// How important it is, -100 to 100: where heat becomes critical, the least important stops first.
    #[serde(default)]
    pub priority: i8,
    /// How the first process last ended.
    pub exit_status: Option<ExitStatus>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When the first process last started.
    pub started_at: Option<Timestamp>,
    /// Grows with every change of the wish; the ETag.
    pub generation: u64,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::Publish;

    #[test]
    fn published_ports_read_back_as_written() {
        for text in ["18080:80", "53:53/udp", "10.0.0.1:8080:80"] {
            assert_eq!(text.parse::<Publish>().unwrap().to_string(), text);
        }
        assert_eq!("1:2/tcp".parse::<Publish>().unwrap().to_string(), "1:2");
        for bad in ["", "80", "0:80", "80:0", "a:b", "80:80/sctp", "70000:80", "1.2.3:1:2", "1:2:3:4", "::1:80:80"] {
            assert!(bad.parse::<Publish>().is_err(), "{bad}");
        }
    }
}
