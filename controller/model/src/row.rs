//! Durable rows: what survives a restart, each named by kind and key and stored whole.

use std::collections::BTreeMap;

use roost_types::instance::{InstanceKind, Network};
use roost_types::node::NodeFacts;
use roost_types::placement::Constraints;
use roost_types::rack::Limits;
use roost_types::size::Resources;
use roost_types::snapshot::RestoreWish;
use roost_types::{
    AllocationId, AllocationReport, AllocationSpec, Desired, Eligibility, Event, FirstBoot, Image, ImageDigest,
    InstanceId, Name, NodeId, NodeLossPolicy, Operation, OperationId, Placement, Publish, RestartPolicy, Size, Slot,
    Snapshot, SnapshotId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::alerts::{AlertRow, NoticeRow};

/// An instance on its way to another node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Move {
    /// The allocation it leaves; kept until the new one runs.
    pub from: AllocationId,
    /// Why, with numbers.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// Why an instance waits on its board although it should run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Halt {
    /// With the numbers of that moment.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// The snapshot that an instance begins with, until it has started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Whose snapshot.
    pub instance: InstanceId,
    /// Which.
    pub snapshot: SnapshotId,
}

/// An instance as it is stored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct InstanceRow {
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
    /// What that stood for at launch.
    pub digest: ImageDigest,
    /// Images of other instruction sets that the name also stood for: until it is placed, any of them may be taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<ImageDigest>,
    /// Named size, if one was asked for.
    pub size: Option<Size>,
    /// What it is given.
    pub resources: Resources,
    /// Its disk limit was asked for, so that only nodes that can enforce it will do.
    #[serde(default)]
    pub disk_asked: bool,
    /// Command, if not the image's own.
    pub command: Option<Vec<String>>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Published ports.
    pub publish: Vec<Publish>,
    /// Which network it is on.
    #[serde(default)]
    pub network: Network,
    /// Where it may run.
    pub constraints: Constraints,
    /// What the node does when the first process ends.
    pub restart: RestartPolicy,
    /// What happens when the node is lost.
    pub node_loss: NodeLossPolicy,
    /// How important it is: where heat becomes critical, the least important stops first.
    #[serde(default)]
    pub priority: i8,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
    /// The wish.
    pub desired: Desired,
    /// Grows with every change of the wish.
    pub generation: u64,
    /// Grows with every restart a user asks for.
    pub epoch: u64,
    /// The present allocation.
    pub allocation: Option<AllocationId>,
    /// A move under way.
    pub moving: Option<Move>,
    /// The present allocation's node is lost: it is placed elsewhere once another node can take it, or goes on there when
    /// that one comes back first.
    #[serde(default)]
    pub stranded: bool,
    /// It is stopped because its board is critical, whatever the wish, and goes on by itself.
    #[serde(default)]
    pub halted: Option<Box<Halt>>,
    /// Seconds it may take to end, as the last stop said.
    #[serde(default)]
    pub stop_seconds: Option<u32>,
    /// Its snapshots, oldest first.
    #[serde(default)]
    pub snapshots: Vec<Snapshot>,
    /// A restore under way: meanwhile its allocation is stopped, whatever the wish.
    #[serde(default)]
    pub restoring: Option<RestoreWish>,
    /// What it begins with; none once it has started.
    #[serde(default)]
    pub source: Option<Source>,
    /// When it was last moved because of heat.
    pub moved_at: Option<Timestamp>,
    /// The decision that chose the present node.
    pub placement: Option<Placement>,
    /// The idempotency key and request fingerprint it was created with.
    pub idempotency: Option<(String, String)>,
    /// The operation that created it, for a repeated request.
    pub created_by: OperationId,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// An allocation as it is stored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AllocationRow {
    /// What the agent is told.
    pub spec: AllocationSpec,
    /// Where.
    pub node: NodeId,
    /// Not told to the agent yet: it waits for the older allocation to end.
    pub held: bool,
    /// What the agent last said, its reason shortened.
    pub observed: AllocationReport,
    /// Generation of the last change of the wish, of the epoch or of a restore; that of the spec when not known.
    #[serde(default)]
    pub wish_generation: Option<u64>,
    /// When it was placed.
    pub created_at: Timestamp,
}

impl AllocationRow {
    /// What was last seen comes after the present wish. Other changes of the spec (a name, a snapshot) do not make the
    /// state that was seen less true.
    #[must_use]
    pub fn has_acted(&self) -> bool {
        self.observed.generation >= self.wish_generation.unwrap_or(self.spec.generation)
    }
}

/// A node as it is stored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeRow {
    /// Id.
    pub id: NodeId,
    /// Name.
    pub name: Name,
    /// Number of its piece of the instance network, from 1.
    pub network_index: u32,
    /// Whether it may be used.
    pub eligibility: Eligibility,
    /// Where it stands.
    pub slot: Option<Slot>,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
    /// Its own SoC limits.
    pub limits: Option<Limits>,
    /// What it last said of itself.
    pub facts: Option<NodeFacts>,
    /// It once had a temperature source.
    pub monitored: bool,
    /// Generation of its desired set.
    pub desired_generation: u64,
    /// Grows with every change of settings.
    pub generation: u64,
    /// When it joined.
    pub created_at: Timestamp,
}

/// What an instance is given for its first start; a row of its own, since the instance's is shown and often written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FirstBootRow {
    /// Whose.
    pub instance: InstanceId,
    /// What.
    pub content: FirstBoot,
}

/// Counters of the whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MetaRow {
    /// The last generation given out.
    pub revision: u64,
}

/// The kind of a row: one table each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// [`MetaRow`].
    Meta,
    /// [`Image`].
    Image,
    /// [`NodeRow`].
    Node,
    /// [`InstanceRow`].
    Instance,
    /// [`FirstBootRow`].
    FirstBoot,
    /// [`AllocationRow`].
    Allocation,
    /// [`Operation`].
    Operation,
    /// [`AlertRow`].
    Alert,
    /// [`NoticeRow`].
    Notice,
    /// [`Event`]; its key is its number.
    Event,
}

impl Kind {
    /// Every kind, in the order a load wants them.
    pub const ALL: [Self; 10] = [
        Self::Meta,
        Self::Image,
        Self::Node,
        Self::Instance,
        Self::FirstBoot,
        Self::Allocation,
        Self::Operation,
        Self::Alert,
        Self::Notice,
        Self::Event,
    ];
}

/// A durable row.
#[derive(Clone, PartialEq, Debug)]
#[expect(missing_docs, reason = "each variant wraps the type of its name")]
pub enum Row {
    Meta(MetaRow),
    Image(Image),
    Node(NodeRow),
    Instance(InstanceRow),
    FirstBoot(FirstBootRow),
    Allocation(AllocationRow),
    Operation(Operation),
    Alert(AlertRow),
    Notice(NoticeRow),
    Event(Event),
}

impl Row {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Meta(_) => Kind::Meta,
            Self::Image(_) => Kind::Image,
            Self::Node(_) => Kind::Node,
            Self::Instance(_) => Kind::Instance,
            Self::FirstBoot(_) => Kind::FirstBoot,
            Self::Allocation(_) => Kind::Allocation,
            Self::Operation(_) => Kind::Operation,
            Self::Alert(_) => Kind::Alert,
            Self::Notice(_) => Kind::Notice,
            Self::Event(_) => Kind::Event,
        }
    }

    /// Its key within the kind.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Meta(_) => "meta".to_owned(),
            Self::Image(row) => row.digest.to_string(),
            Self::Node(row) => row.id.to_string(),
            Self::Instance(row) => row.id.to_string(),
            Self::FirstBoot(row) => row.instance.to_string(),
            Self::Allocation(row) => row.spec.id.to_string(),
            Self::Operation(row) => row.id.to_string(),
            Self::Alert(row) => row.id.to_string(),
            Self::Notice(row) => row.id.to_string(),
            Self::Event(row) => row.id.to_string(),
        }
    }

    /// The row as JSON text.
    ///
    /// # Errors
    /// Never for rows that came from a decision; serde's error otherwise.
    pub fn body(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Meta(row) => serde_json::to_string(row),
            Self::Image(row) => serde_json::to_string(row),
            Self::Node(row) => serde_json::to_string(row),
            Self::Instance(row) => serde_json::to_string(row),
            Self::FirstBoot(row) => serde_json::to_string(row),
            Self::Allocation(row) => serde_json::to_string(row),
            Self::Operation(row) => serde_json::to_string(row),
            Self::Alert(row) => serde_json::to_string(row),
            Self::Notice(row) => serde_json::to_string(row),
            Self::Event(row) => serde_json::to_string(row),
        }
    }

    /// A row from its kind and JSON text.
    ///
    /// # Errors
    /// When the text is not a row of that kind.
    pub fn parse(kind: Kind, body: &str) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::Meta => Self::Meta(serde_json::from_str(body)?),
            Kind::Image => Self::Image(serde_json::from_str(body)?),
            Kind::Node => Self::Node(serde_json::from_str(body)?),
            Kind::Instance => Self::Instance(serde_json::from_str(body)?),
            Kind::FirstBoot => Self::FirstBoot(serde_json::from_str(body)?),
            Kind::Allocation => Self::Allocation(serde_json::from_str(body)?),
            Kind::Operation => Self::Operation(serde_json::from_str(body)?),
            Kind::Alert => Self::Alert(serde_json::from_str(body)?),
            Kind::Notice => Self::Notice(serde_json::from_str(body)?),
            Kind::Event => Self::Event(serde_json::from_str(body)?),
        })
    }
}

/// One durable change.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::large_enum_variant, reason = "rows live for one commit; a box each would cost more than it saves")]
pub enum Change {
    /// Store the row in place of what has its kind and key.
    Put(Row),
    /// Remove what has this kind and key.
    Delete(Kind, String),
}

impl Change {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Put(row) => row.kind(),
            Self::Delete(kind, _) => *kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first release stored them.
    const INSTANCE: &str = r#"{"id":"01a20db3-184d-73d8-8759-444305f7a706","name":"web","project":"default",
        "kind":"container","image":"busybox","digest":"sha256:0707070707070707070707070707070707070707070707070707070707070707",
        "size":"nano","resources":{"cpu_millis":250,"memory_bytes":67108864,"disk_bytes":1073741824,"pids":256},
        "command":["httpd"],"env":{},"publish":["18080:80"],"constraints":{},"restart":"on_failure","node_loss":"keep",
        "labels":{},"desired":"running","generation":7,"epoch":1,"allocation":"01a20db3-3807-72bc-9a66-e3faf68a6e8e",
        "moving":null,"moved_at":null,"placement":null,"idempotency":null,
        "created_by":"01a20db3-6f27-7753-953a-4372ca613b6e","created_at":"2026-11-24T13:16:10.701Z"}"#;
    const ALLOCATION: &str = r#"{"spec":{"id":"01a20db3-3807-72bc-9a66-e3faf68a6e8e",
        "instance":"01a20db3-184d-73d8-8759-444305f7a706","name":"web","project":"default","generation":9,
        "desired":"running","epoch":1,"image":"sha256:0707070707070707070707070707070707070707070707070707070707070707",
        "format":"erofs","image_bytes":1433600,"command":["httpd"],"system":false,"env":{},
        "resources":{"cpu_millis":250,"memory_bytes":67108864,"disk_bytes":1073741824,"pids":256},
        "address":"10.77.1.2","uid_base":131072,"publish":["18080:80"],"restart":"on_failure","seed_from":null},
        "node":"01a20db3-3807-72bc-9a66-e3faf68a6e8f","held":false,
        "observed":{"id":"01a20db3-3807-72bc-9a66-e3faf68a6e8e","generation":9,"state":"running","reason":"",
        "restarts":0,"started_at":"2026-11-24T13:16:10.789Z","exit":null},"created_at":"2026-11-24T13:16:10.701Z"}"#;

    const ALERT: &str = r#"{"id":"01a20db3-3807-72bc-9a66-e3faf68a6e8e","key":"node/n01","severity":"warning",
        "state":"acknowledged","subject":"/v1/nodes/n01","message":"node n01 is down: silent for 30 s",
        "fired_at":"2026-11-24T13:16:10.701Z","resolved_at":null}"#;

    #[test]
    fn rows_of_an_earlier_release_are_understood() {
        let Row::Instance(instance) = Row::parse(Kind::Instance, INSTANCE).unwrap() else { panic!() };
        assert!(instance.priority == 0 && instance.halted.is_none());
        assert!(!instance.stranded && instance.snapshots.is_empty() && instance.restoring.is_none());
        let Row::Allocation(allocation) = Row::parse(Kind::Allocation, ALLOCATION).unwrap() else { panic!() };
        let Row::Alert(alert) = Row::parse(Kind::Alert, ALERT).unwrap() else { panic!() };
        assert!(alert.fires == 1 && alert.told.is_none() && alert.acknowledged.is_none());
        assert!(allocation.has_acted() && allocation.spec.snapshots.is_empty() && !allocation.spec.first_boot);
    }
}
