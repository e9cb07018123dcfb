//! What can be asked of the cluster, and what is answered.

use roost_types::instance::{CreateInstance, PatchInstance};
use roost_types::node::{PatchNode, PowerAction};
use roost_types::operation::Progress;
use roost_types::rack::HubCounters;
use roost_types::{
    AcknowledgeAlert, ActionId, AlertId, AllocationId, Image, ImageDigest, InstanceId, MilliCelsius, MilliPercent,
    Name, NodeId, NoticeId, OperationId, Problem, SnapshotId, SyncRequest, Timestamp,
};

use crate::alerts::Outcome;
use crate::swarm::Supply;

/// The world that a decision may not ask for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// The time.
    pub now: Timestamp,
    /// Random, different for every command: ids are made from it.
    pub seed: u64,
}

/// An `Idempotency-Key` and a digest of the request it came with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Idempotency {
    /// The header's value.
    pub key: String,
    /// Digest of the request's body.
    pub fingerprint: String,
}

/// What one probe of a hub measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeValues {
    /// Number of the probe on its hub, from 1.
    pub number: u8,
    /// Temperature, if it could be measured.
    pub temperature: Option<MilliCelsius>,
    /// Relative humidity, if it could be measured.
    pub humidity: Option<MilliPercent>,
}

/// What a hub said of one of its fans.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FanValues {
    /// Number of the fan on its hub, from 1.
    pub number: u8,
    /// How hard it is driven.
    pub duty: MilliPercent,
    /// Turns a minute by its tachometer, once they were counted.
    pub rpm: Option<u16>,
}

/// What a hub said of its relays: bit *n* − 1 is relay *n*.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayValues {
    /// Those whose coil has current.
    pub on: u8,
    /// Those it has.
    pub there: u8,
}

/// What a hub said since its last report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HubNews {
    /// What its firmware says of itself, when it said so.
    pub firmware: Option<String>,
    /// The newest values of each probe that spoke.
    pub probes: Vec<ProbeValues>,
    /// The newest values of each fan that was told of.
    pub fans: Vec<FanValues>,
    /// The state of its relays, when it was told.
    pub relays: Option<RelayValues>,
    /// What it was told to do and does not: a sentence for each command that was refused, or never answered. `None`
    /// when nothing about that changed.
    pub disobeys: Option<Vec<String>>,
    /// Counters of the line.
    pub counters: HubCounters,
}

/// What can be asked. References (`instance`, `node`) are names or ids, as they stand in a path.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// The controller started.
    Started {
        /// Its version.
        version: String,
    },
    /// A quarter of a second has passed.
    Tick,

    /// Launch an instance.
    CreateInstance {
        /// The request.
        request: Box<CreateInstance>,
        /// So that a repeated request does nothing new.
        idempotency: Option<Idempotency>,
    },
    /// Change settings of an instance.
    PatchInstance {
        /// Which.
        instance: String,
        /// What changes.
        patch: PatchInstance,
        /// Only when its generation still is this.
        if_match: Option<u64>,
    },
    /// Start a stopped or failed instance.
    StartInstance {
        /// Which.
        instance: String,
    },
    /// Stop an instance.
    StopInstance {
        /// Which.
        instance: String,
        /// Seconds it may take; the default when absent.
        timeout_seconds: Option<u32>,
    },
    /// Stop and start an instance.
    RestartInstance {
        /// Which.
        instance: String,
    },
    /// Delete an instance.
    DeleteInstance {
        /// Which.
        instance: String,
    },
    /// Take an instance to another node.
    MoveInstance {
        /// Which.
        instance: String,
        /// Where; the scheduler chooses when absent.
        to: Option<String>,
    },
    /// Keep the files of an instance as they are now.
    CreateSnapshot {
        /// Which.
        instance: String,
        /// Name; chosen when absent.
        name: Option<String>,
    },
    /// Put the files of an instance back to those of a snapshot.
    RestoreSnapshot {
        /// Which.
        instance: String,
        /// Name or id of the snapshot.
        snapshot: String,
    },
    /// Delete a snapshot.
    DeleteSnapshot {
        /// Whose.
        instance: String,
        /// Name or id of the snapshot.
        snapshot: String,
    },
    /// Give up waiting for an operation.
    CancelOperation {
        /// Which.
        operation: OperationId,
    },

    /// Make a node known; one that is known only takes over the slot that `rack.yaml` has for it.
    RegisterNode {
        /// Its name.
        name: Name,
    },
    /// Change settings of a node.
    PatchNode {
        /// Which.
        node: String,
        /// What changes.
        patch: PatchNode,
        /// Only when its generation still is this.
        if_match: Option<u64>,
    },
    /// Empty a node.
    DrainNode {
        /// Which.
        node: String,
    },
    /// Forget a node that is down and has nothing.
    DeleteNode {
        /// Which.
        node: String,
    },
    /// Someone wants a node's power switched: checks it and opens the operation. The shell then asks the driver.
    BeginPower {
        /// Which.
        node: String,
        /// What to do.
        action: PowerAction,
        /// Also where water may condense.
        despite_condensation: bool,
    },
    /// The driver has answered.
    FinishPower {
        /// The operation that `BeginPower` opened.
        operation: OperationId,
        /// Which node.
        node: NodeId,
        /// What was asked.
        action: PowerAction,
        /// `Err`: why it could not be done or confirmed; then the power is unknown.
        outcome: Result<(), String>,
    },
    /// The relay that cuts a node's power should have current, or not.
    SwitchRelay {
        /// Whose.
        node: Name,
        /// Whether its coil has current: then the node has no power.
        on: bool,
    },
    /// A node's agent speaks.
    Sync {
        /// Known from its credential.
        node: NodeId,
        /// What it says.
        request: Box<SyncRequest>,
    },

    /// A hub's readings of the last moments.
    HubReport {
        /// Which.
        hub: Name,
        /// What it said.
        news: Box<HubNews>,
    },
    /// A hub's line closed or it fell silent.
    HubLost {
        /// Which.
        hub: Name,
        /// Why.
        reason: String,
    },

    /// An image file is in the store; its aliases are taken from older images.
    AddImage {
        /// What is known of it.
        image: Box<Image>,
    },
    /// An image is to be imported: opens the operation. The shell then fetches and converts it.
    BeginImport {
        /// The alias that will stand for it.
        alias: String,
    },
    /// How far an import is.
    ImportProgress {
        /// The operation that `BeginImport` opened.
        operation: OperationId,
        /// How far.
        progress: Progress,
    },
    /// An import is over: its file is in the store, or there is none.
    FinishImport {
        /// The operation that `BeginImport` opened.
        operation: OperationId,
        /// The image, or why there is none.
        outcome: Result<Box<Image>, Problem>,
    },
    /// Forget an image that nothing uses.
    DeleteImage {
        /// Alias or digest.
        image: String,
    },
    /// A person approves an action.
    ApproveAction {
        /// Which.
        action: ActionId,
    },
    /// A node needs an image: says where it gets it, and notes that.
    AskImageSource {
        /// Known from its credential.
        node: NodeId,
        /// Which image.
        image: ImageDigest,
        /// Nodes that could not give it.
        failed: Vec<Name>,
        /// SHA-256 of the ticket that it would be given, 64 hexadecimal digits.
        ticket_sha256: String,
    },
    /// A person has seen an alert.
    AcknowledgeAlert {
        /// Its id, or while it fires its key.
        alert: String,
        /// Who, and what they say.
        said: AcknowledgeAlert,
    },
    /// A message about alerts was tried.
    FinishNotice {
        /// Which.
        notice: NoticeId,
        /// What the attempt came to.
        outcome: Outcome,
    },
}

/// What is answered.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// Nothing to say.
    Done,
    /// Slow work on an instance began (or had begun, for a repeated request).
    Instance {
        /// Which.
        instance: InstanceId,
        /// The receipt.
        operation: OperationId,
    },
    /// Slow work on a snapshot began.
    Snapshot {
        /// Whose.
        instance: InstanceId,
        /// Which.
        snapshot: SnapshotId,
        /// The receipt.
        operation: OperationId,
    },
    /// Settings of an instance changed.
    InstanceUpdated(InstanceId),
    /// Slow work on a node began.
    NodeOperation {
        /// Which.
        node: NodeId,
        /// The receipt.
        operation: OperationId,
    },
    /// A node is known or changed.
    Node(NodeId),
    /// An operation changed.
    Operation(OperationId),
    /// An image was stored.
    Image(ImageDigest),
    /// An image was forgotten: its file may go.
    ImageForgotten(ImageDigest),
    /// Where a node gets an image.
    ImageSupply(Supply),
    /// An alert changed.
    Alert(AlertId),
    /// A node was heard.
    Synced {
        /// The report was older than one already heard, and was dropped.
        stale: bool,
        /// The agent must send facts and everything it has.
        want_full: bool,
        /// Allocations that this report brought to an end (`gone`).
        gone: Vec<AllocationId>,
    },
}
