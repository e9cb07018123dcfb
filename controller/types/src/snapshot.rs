//! Snapshots: the files of an instance as they were at one moment.
//!
//! A snapshot lies beside its instance on the instance's node, moves with it and is deleted with it.

use serde::{Deserialize, Serialize};

use crate::{MemoryBytes, Name, SnapshotId, Timestamp};

/// The most snapshots of one instance.
pub const MAX_SNAPSHOTS: usize = 32;

/// Where a snapshot is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SnapshotState {
    /// The node makes it.
    Making,
    /// It is whole, and survives a power cut.
    Ready,
    /// The node deletes it.
    Deleting,
}

impl SnapshotState {
    /// The state as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Making => "making",
            Self::Ready => "ready",
            Self::Deleting => "deleting",
        }
    }
}

/// A snapshot as the API shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// Id.
    pub id: SnapshotId,
    /// Name, unique among the instance's snapshots.
    pub name: Name,
    /// Where it is.
    pub state: SnapshotState,
    /// Bytes of file contents, what it shares with the instance included; none while it is being made.
    pub size_bytes: Option<MemoryBytes>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// `POST /v1/instances/{i}/snapshots`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateSnapshot {
    /// Its name; `s1`, `s2` and so on when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The snapshot that a new instance begins with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotSource {
    /// Name or id of its instance.
    pub instance: String,
    /// Name or id of the snapshot.
    pub snapshot: String,
}

/// A snapshot that an allocation should have; one that is absent from the spec is to be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotWish {
    /// Which.
    pub id: SnapshotId,
    /// Make it if it is not there. Not set once it was made, so that a lost one is never made anew of other files.
    pub make: bool,
}

/// Put the files of an allocation back to those of a snapshot, once, while it is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RestoreWish {
    /// Of which snapshot.
    pub snapshot: SnapshotId,
    /// Names this restore; never used twice.
    pub number: u64,
}

/// What the agent says of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotReport {
    /// Which.
    pub id: SnapshotId,
    /// Whether it is there.
    pub outcome: SnapshotOutcome,
}

/// How the making of a snapshot went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotOutcome {
    /// It is there, with so many bytes of file contents.
    Held(MemoryBytes),
    /// It could not be made.
    Failed(String),
}

/// How a restore went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreReport {
    /// Which.
    pub number: u64,
    /// Why it could not be done; the files are then as they were.
    pub error: Option<String>,
}
