//! Allocations: one incarnation of an instance on one node, as wished (down to the agent) and as seen (up from it).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::image::{ImageDigest, RootfsFormat};
use crate::instance::{Network, Publish, RestartPolicy};
use crate::size::Resources;
use crate::snapshot::{RestoreReport, RestoreWish, SnapshotReport, SnapshotWish};
use crate::{AllocationId, InstanceId, Name, SnapshotId, Timestamp};

/// `pending → preparing → starting → running → stopping → stopped | failed | lost`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AllocationState {
    /// The agent has not spoken of it yet.
    Pending,
    /// The image (and moved data) is being fetched.
    Preparing,
    /// The container is being made.
    Starting,
    /// Its first process runs.
    Running,
    /// It was told to end.
    Stopping,
    /// Ended as wished; its data is kept.
    Stopped,
    /// Ended otherwise, and is not tried again.
    Failed,
    /// The controller gave it up with its node.
    Lost,
}

impl AllocationState {
    /// Nothing of it runs and nothing will by itself.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed | Self::Lost)
    }
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExitStatus {
    /// Exit code, or 128 + signal; -1 when the board lost power or the code could not be learnt.
    pub code: i32,
    /// The kernel killed it for want of memory.
    pub oom_killed: bool,
    /// When it ended.
    pub at: Timestamp,
}

/// Seconds that an instance is given to end by itself, unless a stop says otherwise.
pub const DEFAULT_STOP_SECONDS: u32 = 10;

/// What the agent should make of an allocation. An allocation that is absent from the desired set is to be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllocationDesired {
    /// Run it.
    Running,
    /// End it and keep its data.
    Stopped,
    /// Leave no trace of it, then say so in `gone`.
    Deleted,
}

/// Everything the agent needs to run an allocation. Level-triggered: sent again whole at any change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AllocationSpec {
    /// Id.
    pub id: AllocationId,
    /// Whose incarnation it is.
    pub instance: InstanceId,
    /// The instance's name: the host name inside.
    pub name: Name,
    /// The instance's project.
    pub project: Name,
    /// Grows with every change of this spec; echoed in reports.
    pub generation: u64,
    /// What to make of it.
    pub desired: AllocationDesired,
    /// Grows when a user asks for a restart: a container of an older epoch is stopped and started.
    pub epoch: u64,
    /// The image's root file system.
    pub image: ImageDigest,
    /// How that file is to be mounted.
    pub format: RootfsFormat,
    /// Size of that file in bytes, to bound the download.
    pub image_bytes: u64,
    /// First process: command and arguments. Never empty.
    pub command: Vec<String>,
    /// The command is the image's own init (systemd, OpenRC, busybox init) and gets the `system` profile; otherwise it
    /// runs under our tiny init with the `app` profile.
    pub system: bool,
    /// Environment of the first process.
    pub env: BTreeMap<String, String>,
    /// Whom a command runs as, as [`crate::RunAs`] reads it; empty for root. Never set with `system`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Where a command begins, made where it lacks; empty for the root. Never set with `system`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workdir: String,
    /// The signal that asks the first process to end; SIGTERM, or what its init knows, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<u8>,
    /// Limits.
    pub resources: Resources,
    /// Which network it is on.
    #[serde(default, skip_serializing_if = "Network::is_bridge")]
    pub network: Network,
    /// Its address, unused on the LAN; the prefix length is that of the node's instance network.
    pub address: Ipv4Addr,
    /// First of the 65,536 host ids its users are mapped to: a multiple of 65,536, and not 0.
    pub uid_base: u32,
    /// The number that its disk is counted under. When absent it is `uid_base`, which then no other instance of the node has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_id: Option<u32>,
    /// Published ports.
    pub publish: Vec<Publish>,
    /// What to do when the first process ends by itself.
    pub restart: RestartPolicy,
    /// Fill the writable layer with that of this older allocation before the first start, and take over the snapshots
    /// named here.
    pub seed_from: Option<AllocationId>,
    /// Fill it with this snapshot of `seed_from` instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_snapshot: Option<SnapshotId>,
    /// Snapshots it should have; others are to be deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotWish>,
    /// Put its files back to those of a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreWish>,
    /// How long it may take to end when it is stopped, before it is killed; [`DEFAULT_STOP_SECONDS`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_seconds: Option<u32>,
    /// There is user data or an SSH key for its first start, to be fetched before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first_boot: bool,
}

/// What a running container suffers from its limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Strain {
    /// Processes that the kernel has killed for want of memory since it was started.
    pub oom_kills: u64,
    /// For half a minute it has been kept from running for want of processor time.
    pub cpu_throttled: bool,
    /// Its processes wait for memory; always `false` where the kernel does not tell.
    pub memory_pressure: bool,
    /// Its processes wait for disks; always `false` where the kernel does not tell.
    #[serde(default)]
    pub io_pressure: bool,
}

/// What the agent saw of an allocation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllocationReport {
    /// Id.
    pub id: AllocationId,
    /// Generation of the spec the agent was acting on. Older than the controller's: the report is dropped.
    pub generation: u64,
    /// State.
    pub state: AllocationState,
    /// Why, in a sentence; empty when there is nothing to explain.
    pub reason: String,
    /// How often the agent has started it again since it was placed.
    pub restarts: u32,
    /// When the first process last started.
    pub started_at: Option<Timestamp>,
    /// How the first process last ended.
    pub exit: Option<ExitStatus>,
    /// What it suffers from its limits, while it runs.
    #[serde(default)]
    pub strain: Strain,
    /// Snapshots that are there or could not be made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotReport>,
    /// How the restore that was last asked for went, once it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreReport>,
}
