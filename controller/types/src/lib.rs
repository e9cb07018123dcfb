//! The nouns of Roost: ids, units, and the body of every HTTP request and response.
//!
//! This crate is a leaf: it knows no other crate of ours, does no I/O and reads no clock. The controller, the agent and
//! the command line all speak these types, so a field is spelled once. Request bodies refuse unknown fields; response
//! bodies may grow new ones.

pub mod action;
pub mod alert;
pub mod allocation;
pub mod cooling;
pub mod dev;
pub mod event;
pub mod file;
pub mod first_boot;
pub mod id;
pub mod image;
pub mod image_transfer;
pub mod instance;
pub mod limits;
pub mod name;
pub mod node;
pub mod notice;
pub mod operation;
pub mod page;
pub mod placement;
pub mod prefix;
pub mod problem;
pub mod rack;
pub mod run_as;
#[cfg(feature = "openapi")]
mod schema;
pub mod size;
pub mod snapshot;
pub mod stats;
pub mod stream;
pub mod sync;
pub mod time;
pub mod units;

pub use action::{ActingMode, Action, ActionKind};
pub use alert::{
    AcknowledgeAlert, Acknowledgement, Alert, AlertState, Delivery, DeliveryState, NoticeReason, Severity, TestAlerts,
    TestResult, TestResults,
};
pub use allocation::{AllocationReport, AllocationSpec, AllocationState, ExitStatus};
pub use cooling::{Fan, HubOutput};
pub use event::{Event, EventKind};
pub use file::{FileInfo, FileKind, FileRequest};
pub use first_boot::{FirstBoot, UserData};
pub use id::{
    ActionId, AlertId, AllocationId, EventId, InstanceId, NodeId, NoticeId, OperationId, SnapshotId, StreamId,
};
pub use image::{Image, ImageDigest, ImageManifest};
pub use instance::{
    CreateInstance, Desired, Instance, InstanceKind, InstanceState, NodeLossPolicy, PatchInstance, Publish,
    RestartPolicy,
};
pub use limits::Limits;
pub use name::Name;
pub use node::{Eligibility, Node, NodeFacts, NodeStatus, NodeUse, PatchNode, PowerAction, PowerState};
pub use notice::{NoticeData, NoticeItem, WebhookBody};
pub use operation::{Operation, OperationKind, OperationStatus};
pub use page::Page;
pub use placement::{Constraints, Filter, Placement, Score};
pub use problem::{Code, Problem};
pub use rack::{Quality, RackConfig, Slot, ThermalState};
pub use run_as::RunAs;
pub use size::{Arch, Size};
pub use snapshot::{CreateSnapshot, Snapshot, SnapshotSource, SnapshotState};
pub use stats::InstanceStats;
pub use sync::{SyncRequest, SyncResponse};
pub use time::Timestamp;
pub use units::{MemoryBytes, MilliCelsius, MilliPercent};

/// The largest JSON request body the API accepts: 64 KiB.
pub const MAX_JSON_BODY: usize = 64 * 1024;
/// The port of API, dashboard and agents.
pub const DEFAULT_PORT: u16 = 7700;
/// The project of everything that names none.
pub const DEFAULT_PROJECT: &str = "default";
