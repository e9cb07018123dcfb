//! Operations: the visible receipt of slow work.

use serde::{Deserialize, Serialize};

use crate::{OperationId, Problem, Timestamp};

/// What is being done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OperationKind {
    /// An instance is launched; done when it runs.
    InstanceCreate,
    /// An instance is started; done when it runs.
    InstanceStart,
    /// An instance is stopped; done when nothing of it runs.
    InstanceStop,
    /// An instance is stopped and started; done when it runs again.
    InstanceRestart,
    /// An instance is deleted; done when nothing of it is left.
    InstanceDelete,
    /// An instance goes to another node; done when it runs there.
    InstanceMove,
    /// A snapshot is made; done when it is whole.
    SnapshotCreate,
    /// A snapshot is deleted; done when nothing of it is left.
    SnapshotDelete,
    /// An instance's files are put back to those of a snapshot; done when it is as it was wished before.
    SnapshotRestore,
    /// A node is emptied; done when it has no instances.
    NodeDrain,
    /// A node's power is switched; done when confirmed.
    NodePower,
    /// An image is imported; done when it is stored.
    ImageImport,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OperationStatus {
    /// Waiting for something, for example for a node that is cool enough.
    Pending,
    /// Being done.
    Running,
    /// Done.
    Succeeded,
    /// Not done; `error` says why.
    Failed,
    /// Given up by a user.
    Cancelled,
}

impl OperationStatus {
    /// Nothing more will happen.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// Progress in countable units.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// What is counted: `steps`, `bytes`, `instances`.
    pub unit: String,
}

/// An operation as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Operation {
    /// Id.
    pub id: OperationId,
    /// What is being done.
    pub kind: OperationKind,
    /// How far it is.
    pub status: OperationStatus,
    /// In countable units.
    pub progress: Progress,
    /// Path of what it is done to, for example `/v1/instances/{id}`.
    pub resource: String,
    /// Why it failed.
    pub error: Option<Problem>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}
