//! Typed identifiers: UUIDv7 in 36-character text, sortable by creation time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = Uuid))]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a UUIDv7 from a time in Unix milliseconds and ten random bytes chosen by the caller.
            #[must_use]
            pub fn mint(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// An instance, for as long as it exists; a name may be used again, an id never.
    InstanceId
);
uuid_id!(
    /// One incarnation of an instance on one node.
    AllocationId
);
uuid_id!(
    /// One board known to the cluster.
    NodeId
);
uuid_id!(
    /// A receipt of slow work.
    OperationId
);
uuid_id!(
    /// A byte stream between a user and an instance (exec, logs, console, files).
    StreamId
);
uuid_id!(
    /// A snapshot of an instance's files.
    SnapshotId
);
uuid_id!(
    /// An alert.
    AlertId
);
uuid_id!(
    /// One message about alerts to one receiver.
    NoticeId
);
uuid_id!(
    /// An action that waits for a person.
    ActionId
);

/// The number of an event: 1 for the first event of a cluster, then without gaps.
pub type EventId = u64;
