//! The words between the machine and the shell: work to do, how it went, what was seen.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use roost_types::instance::Publish;
use roost_types::size::Resources;
use roost_types::snapshot::RestoreWish;
use roost_types::sync::{NameTable, NodeNetwork};
use roost_types::{AllocationId, AllocationSpec, ExitStatus, ImageDigest, MemoryBytes, Name, SnapshotId, Timestamp};

use crate::strain::Counters;

/// One piece of work, to be answered once by [`Observation::Completed`] with the same `op`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// Names this piece of work; never used twice by one machine.
    pub op: u64,
    /// What to do.
    pub work: Work,
}

/// What to do. Everything may be done again with the same result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// Make the bridge, its address and the routes fit.
    EnsureNetwork(NodeNetwork),
    /// Replace the firewall's table.
    ApplyFirewall(FirewallPlan),
    /// Download the image of this spec.
    FetchImage(Box<AllocationSpec>),
    /// Fill the writable layer of this spec from its `seed_from`.
    FetchLayer(Box<AllocationSpec>),
    /// Start the container of this spec.
    Start(Box<AllocationSpec>),
    /// Put other limits in force on a running container.
    Limit {
        /// Whose.
        id: AllocationId,
        /// The limits.
        resources: Resources,
    },
    /// End the container's processes; its layer stays.
    Stop {
        /// Whose.
        id: AllocationId,
        /// How long it may take to end by itself.
        grace: Duration,
    },
    /// Keep the files as they are now; what runs is paused meanwhile.
    Snapshot {
        /// Of which allocation.
        id: AllocationId,
        /// The snapshot's id.
        snapshot: SnapshotId,
    },
    /// Delete a snapshot.
    DropSnapshot {
        /// Of which allocation.
        id: AllocationId,
        /// Which.
        snapshot: SnapshotId,
    },
    /// Put the files back to those of a snapshot; nothing runs.
    Restore {
        /// Of which allocation.
        id: AllocationId,
        /// To what; doing the same number again changes nothing.
        wish: RestoreWish,
    },
    /// Leave no trace.
    Delete {
        /// Of which allocation.
        id: AllocationId,
    },
}

/// What the firewall should allow and pin, and what names mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirewallPlan {
    /// The node's network of instances.
    pub network: NodeNetwork,
    /// Instances that run or are about to, by id.
    pub instances: Vec<FirewallInstance>,
    /// The instances of their projects, over the whole rack.
    pub names: Arc<NameTable>,
}

/// One instance in the firewall's eyes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirewallInstance {
    /// Which allocation.
    pub id: AllocationId,
    /// The instance's name.
    pub name: Name,
    /// Its project: the instances it may reach and be reached by.
    pub project: Name,
    /// The only source address it may use.
    pub address: Ipv4Addr,
    /// Ports of the node that lead to it; empty while it is being ended.
    pub publish: Vec<Publish>,
}

/// How a piece of work went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done.
    Done,
    /// Started: its first process was executed then.
    Started(Timestamp),
    /// A snapshot was made, with so many bytes of file contents.
    Kept(MemoryBytes),
    /// A layer was filled, and these snapshots came with it.
    Filled(Vec<(SnapshotId, MemoryBytes)>),
    /// Not done; to be tried again after a pause.
    Failed(String),
    /// Not done, and trying again would not help.
    Impossible(String),
}

/// What the shell saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Observation {
    /// A piece of work ended.
    Completed {
        /// Which.
        op: u64,
        /// How.
        outcome: Outcome,
    },
    /// A container's first process ended.
    Exited {
        /// Whose.
        id: AllocationId,
        /// How.
        exit: ExitStatus,
    },
    /// Every container there is. Must not be older than the last action or completion.
    Listed(Vec<Seen>),
    /// Counters of a running container.
    Counted {
        /// Whose.
        id: AllocationId,
        /// What they say.
        counters: Counters,
    },
    /// Images in the store, complete and verified.
    ImagesHeld(Vec<ImageDigest>),
}

/// A container that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Whose.
    pub id: AllocationId,
    /// Its state.
    pub state: SeenState,
    /// How often it was started; 0 when nobody counted.
    pub starts: u32,
    /// Snapshots that are whole, and their bytes of file contents.
    pub snapshots: Vec<(SnapshotId, MemoryBytes)>,
}

/// State of a container that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeenState {
    /// Its first process runs.
    Running {
        /// Epoch it was started with.
        epoch: u64,
        /// Since when.
        started_at: Timestamp,
    },
    /// Nothing of it runs; its layer is there.
    Exited {
        /// How it ended; none after a power cut.
        exit: Option<ExitStatus>,
    },
}
