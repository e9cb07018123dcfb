//! Events: what happened, numbered, never edited.

use serde::{Deserialize, Serialize};

use crate::{EventId, Timestamp};

/// What happened, `<noun>-<past verb>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum EventKind {
    /// A user asked for an instance.
    InstanceCreated,
    /// An instance got a node.
    InstancePlaced,
    /// No node can take the instance now.
    InstanceUnplaced,
    /// An instance's first process runs.
    InstanceStarted,
    /// An instance ended as wished.
    InstanceStopped,
    /// An instance ended otherwise.
    InstanceFailed,
    /// The node started an instance again.
    InstanceRestarted,
    /// The kernel killed processes of an instance for want of memory.
    InstanceOomKilled,
    /// An instance has begun or ceased to suffer from its limits.
    InstanceStrained,
    /// An instance was halted because its node is critical; it goes on by itself.
    InstanceHalted,
    /// An instance leaves its node for another.
    InstanceMoved,
    /// Settings of an instance changed.
    InstanceUpdated,
    /// An instance has a new name.
    InstanceRenamed,
    /// Nothing of the instance is left.
    InstanceDeleted,
    /// A snapshot of an instance is whole.
    SnapshotCreated,
    /// A snapshot of an instance could not be made, or was lost with its node.
    SnapshotFailed,
    /// A snapshot of an instance was deleted.
    SnapshotDeleted,
    /// An instance's files were put back to those of a snapshot.
    SnapshotRestored,
    /// A node was seen for the first time.
    NodeJoined,
    /// A node is ready.
    NodeReady,
    /// A node has been silent for 5 s.
    NodeUnreachable,
    /// A node has been silent for 30 s, or its power is off.
    NodeDown,
    /// A node's agent started anew.
    NodeRestarted,
    /// A person or rule changed what may be placed on a node.
    NodeEligibilityChanged,
    /// A node's thermal state changed.
    NodeThermalChanged,
    /// Settings of a node changed.
    NodeUpdated,
    /// Somebody had changed a node's network and its agent put it back.
    NodeRepaired,
    /// A node's power was switched.
    NodePowerChanged,
    /// A node was forgotten.
    NodeRemoved,
    /// A zone's thermal state changed.
    ZoneThermalChanged,
    /// Many nodes fell silent or hot at once: nothing is moved.
    BrakeEngaged,
    /// The brake was let go.
    BrakeReleased,
    /// A hub speaks.
    HubConnected,
    /// A hub fell silent or its line closed.
    HubDisconnected,
    /// An image was stored.
    ImageCreated,
    /// An image was removed.
    ImageDeleted,
    /// An action against heat waits for a person.
    ActionProposed,
    /// A person approved an action.
    ActionApproved,
    /// A proposed action is no longer of use.
    ActionExpired,
    /// An alert fires.
    AlertFired,
    /// An alert that fires has become better or worse.
    AlertChanged,
    /// A person has seen an alert.
    AlertAcknowledged,
    /// A message about alerts was given up: its receiver was not told.
    AlertUndelivered,
    /// An alert's cause is gone.
    AlertResolved,
    /// An operation ended.
    OperationFinished,
    /// The controller started.
    ControllerStarted,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Number, from 1, without gaps.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// To what: `/v1/instances/web`, `/v1/nodes/n01`, `/v1/rack/zones/shelf-1`.
    pub subject: String,
    /// A sentence that reads alone, with its numbers.
    pub message: String,
}
