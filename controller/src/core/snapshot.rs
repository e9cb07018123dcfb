//! The cluster at one moment, shared by all readers, with every object's JSON kept.
//!
//! An object is serialised once, when it is first asked for, and its bytes are handed on from snapshot to snapshot until
//! something that it shows changes.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use imbl::OrdMap;
use roost_model::{Change, Cluster, Command, Row, features, view};
use roost_types::rack::RackView;
use roost_types::sync::{DesiredSet, NameTable};
use roost_types::{
    AllocationId, Code, CreateInstance, Event, EventId, Image, ImageDigest, Instance, InstanceId, Node, NodeId,
    NodeStatus, Operation, OperationId, Placement, Problem, Timestamp,
};

/// Bytes of an object, made when first asked for.
type Cached = Arc<OnceLock<Bytes>>;

/// The cluster at one moment.
pub struct Snapshot {
    /// The state itself.
    pub cluster: Cluster,
    /// When it was published.
    at: Timestamp,
    instances: OrdMap<InstanceId, Cached>,
    nodes: OrdMap<NodeId, Cached>,
    /// Status of each node: instances on a node whose status changed look different.
    statuses: OrdMap<NodeId, NodeStatus>,
}

impl Snapshot {
    /// The first one, with nothing serialised.
    pub(super) fn first(cluster: Cluster, at: Timestamp) -> Self {
        let instances = cluster.instances().map(|row| (row.id, Cached::default())).collect();
        let nodes = cluster.nodes().map(|row| (row.id, Cached::default())).collect();
        let statuses = cluster.nodes().filter_map(|row| Some((row.id, cluster.live(row.id)?.status))).collect();
        Self { cluster, at, instances, nodes, statuses }
    }

    /// The next one, after these durable changes and the live ones of what was heard.
    pub(super) fn next(&self, cluster: Cluster, changes: &[Change], heard: &Heard, at: Timestamp) -> Self {
        let mut next = Self {
            cluster,
            at,
            instances: self.instances.clone(),
            nodes: self.nodes.clone(),
            statuses: self.statuses.clone(),
        };
        let mut touched = Touched::default();
        for change in changes {
            touched.by(change, &self.cluster);
        }
        touched.nodes.extend(&heard.nodes);
        if heard.everything {
            touched.nodes.extend(next.cluster.nodes().map(|row| row.id));
            touched.instances.extend(next.cluster.pending());
        }
        next.refresh_nodes(&mut touched);
        for id in touched.instances {
            if next.cluster.instance(id).is_some() {
                next.instances.insert(id, Cached::default());
            } else {
                next.instances.remove(&id);
            }
        }
        next
    }

    fn refresh_nodes(&mut self, touched: &mut Touched) {
        for id in &touched.nodes {
            if self.cluster.node(*id).is_none() {
                self.nodes.remove(id);
                self.statuses.remove(id);
                continue;
            }
            self.nodes.insert(*id, Cached::default());
            let Some(status) = self.cluster.live(*id).map(|live| live.status) else { continue };
            if self.statuses.get(id) != Some(&status) {
                self.statuses.insert(*id, status);
                touched.instances.extend(self.cluster.allocations_on(*id).map(|allocation| allocation.spec.instance));
            }
        }
    }

    /// When it was published.
    pub const fn published_at(&self) -> Timestamp {
        self.at
    }

    /// An instance's JSON.
    pub fn instance_json(&self, id: InstanceId) -> Option<Bytes> {
        self.instances.get(&id).map(|cached| self.instance_bytes(id, cached))
    }

    fn instance_bytes(&self, id: InstanceId, cached: &Cached) -> Bytes {
        cached.get_or_init(|| write(self.instance(id).as_ref())).clone()
    }

    /// An instance as the API shows it.
    pub fn instance(&self, id: InstanceId) -> Option<Instance> {
        self.cluster.instance(id).map(|row| view::instance(&self.cluster, row))
    }

    /// Instances and their JSON, oldest first, after an id.
    pub fn instances_after(&self, after: Option<InstanceId>) -> impl Iterator<Item = (InstanceId, Bytes)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let range = self.instances.range((from, std::ops::Bound::Unbounded));
        range.map(|(id, cached)| (*id, self.instance_bytes(*id, cached)))
    }

    /// A node's JSON.
    pub fn node_json(&self, id: NodeId) -> Option<Bytes> {
        self.nodes.get(&id).map(|cached| self.node_bytes(id, cached))
    }

    fn node_bytes(&self, id: NodeId, cached: &Cached) -> Bytes {
        cached.get_or_init(|| write(self.node(id).as_ref())).clone()
    }

    /// A node as the API shows it.
    pub fn node(&self, id: NodeId) -> Option<Node> {
        self.cluster.node(id).map(|row| view::node(&self.cluster, row, self.at))
    }

    /// Nodes and their JSON, in the order they joined, after an id.
    pub fn nodes_after(&self, after: Option<NodeId>) -> impl Iterator<Item = (NodeId, Bytes)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let range = self.nodes.range((from, std::ops::Bound::Unbounded));
        range.map(|(id, cached)| (*id, self.node_bytes(*id, cached)))
    }

    /// The rack as it is at `now`.
    pub fn rack_view(&self, now: Timestamp) -> RackView {
        view::rack(&self.cluster, now)
    }

    /// Every image, by digest.
    pub fn images(&self) -> impl Iterator<Item = &Arc<Image>> {
        self.cluster.images()
    }

    /// An image by its whole digest.
    pub fn image(&self, digest: &ImageDigest) -> Option<Arc<Image>> {
        self.cluster.image(digest).cloned()
    }

    /// An operation.
    pub fn operation(&self, id: OperationId) -> Option<Arc<Operation>> {
        self.cluster.operation(id).cloned()
    }

    /// Operations after an id, oldest first.
    pub fn operations_after(&self, after: Option<OperationId>) -> impl Iterator<Item = &Arc<Operation>> {
        self.cluster.operations().filter(move |operation| after.is_none_or(|after| operation.id > after))
    }

    /// At most `limit` events with a larger number, oldest first.
    pub fn events_after(&self, after: EventId, limit: usize) -> Vec<Arc<Event>> {
        self.cluster.events_after(after, limit)
    }

    /// Number of the newest event.
    pub fn last_event(&self) -> EventId {
        self.cluster.last_event()
    }

    /// Generation of a node's desired set.
    pub fn desired_generation(&self, node: NodeId) -> Option<u64> {
        self.cluster.node(node).map(|row| row.desired_generation)
    }

    /// What a node should be.
    pub fn desired_set(&self, node: NodeId) -> Option<DesiredSet> {
        self.cluster.node(node).map(|row| view::desired_set(&self.cluster, row))
    }

    /// The table of names a node needs, unless it has it.
    pub fn names(&self, node: NodeId, has_generation: u64) -> Option<NameTable> {
        let is_new = self.cluster.names_generation(node) != has_generation;
        is_new.then(|| self.cluster.name_table(node))
    }

    /// The node that has an allocation.
    pub fn node_of_allocation(&self, allocation: AllocationId) -> Option<NodeId> {
        self.cluster.allocation(allocation).map(|row| row.node)
    }

    /// The decision that placed an instance, or why it waits.
    pub fn placement(&self, instance: &str) -> Result<Placement, Problem> {
        view::placement(&self.cluster, instance)
    }

    /// Where such an instance would go.
    pub fn dry_run(&self, request: &CreateInstance, now: Timestamp) -> Result<Placement, Problem> {
        view::dry_run(&self.cluster, request, now)
    }

    /// Node and allocation of an instance that has been placed, when the node answers.
    pub fn placed(&self, instance: &str) -> Result<(NodeId, AllocationId), Problem> {
        let row = self.cluster.find_instance(instance)?;
        let found = row.allocation.and_then(|id| self.cluster.allocation(id));
        let Some(allocation) = found else {
            return Err(Problem::new(Code::Conflict, format!("'{}' is on no node yet", row.name)));
        };
        match self.cluster.live(allocation.node).map(|live| live.status) {
            Some(NodeStatus::Ready) => Ok((allocation.node, allocation.spec.id)),
            _ => Err(Problem::new(Code::NodeUnreachable, format!("the node of '{}' does not answer", row.name))),
        }
    }

    /// Whether a node can run a command as somebody else than root, and elsewhere than in the root.
    pub fn runs_as(&self, node: NodeId) -> Result<(), Problem> {
        let row = self.cluster.node(node);
        match row.and_then(|row| Some((row, row.lacks(features::RUN_AS)?))) {
            Some((row, advice)) => {
                let detail = format!("node {} cannot run it as a user or in a directory: {advice}", row.name);
                Err(Problem::new(Code::Conflict, detail).field("user"))
            }
            None => Ok(()),
        }
    }

    /// Node and allocation of an instance that runs.
    pub fn running(&self, instance: &str) -> Result<(NodeId, AllocationId), Problem> {
        let placed = self.placed(instance)?;
        let state = self.cluster.allocation(placed.1).map(|row| row.observed.state);
        match state {
            Some(roost_types::AllocationState::Running) => Ok(placed),
            _ => Err(Problem::new(Code::NotRunning, format!("'{instance}' is not running: start it first"))),
        }
    }
}

/// Whose live state (temperatures, ages, reasons to wait: nothing of it is stored) a batch may have changed.
#[derive(Default)]
pub(super) struct Heard {
    everything: bool,
    nodes: BTreeSet<NodeId>,
}

impl Heard {
    /// Takes a command of the batch into account.
    pub(super) fn note(&mut self, command: &Command) {
        match command {
            Command::Tick => self.everything = true,
            Command::Sync { node, .. } | Command::FinishPower { node, .. } => {
                self.nodes.insert(*node);
            }
            // What these change is stored, or is shown with the next tick.
            Command::Started { .. }
            | Command::CreateInstance { .. }
            | Command::PatchInstance { .. }
            | Command::StartInstance { .. }
            | Command::StopInstance { .. }
            | Command::RestartInstance { .. }
            | Command::DeleteInstance { .. }
            | Command::MoveInstance { .. }
            | Command::CreateSnapshot { .. }
            | Command::RestoreSnapshot { .. }
            | Command::DeleteSnapshot { .. }
            | Command::CancelOperation { .. }
            | Command::RegisterNode { .. }
            | Command::PatchNode { .. }
            | Command::DrainNode { .. }
            | Command::DeleteNode { .. }
            | Command::BeginPower { .. }
            | Command::SwitchRelay { .. }
            | Command::HubReport { .. }
            | Command::HubLost { .. }
            | Command::AddImage { .. }
            | Command::BeginImport { .. }
            | Command::ImportProgress { .. }
            | Command::FinishImport { .. }
            | Command::DeleteImage { .. }
            | Command::ApproveAction { .. }
            | Command::AskImageSource { .. }
            | Command::AcknowledgeAlert { .. }
            | Command::FinishNotice { .. } => {}
        }
    }
}

/// What may look different after some changes.
#[derive(Default)]
struct Touched {
    instances: BTreeSet<InstanceId>,
    nodes: BTreeSet<NodeId>,
}

impl Touched {
    fn by(&mut self, change: &Change, before: &Cluster) {
        match change {
            Change::Put(Row::Instance(row)) => {
                self.instances.insert(row.id);
            }
            Change::Put(Row::Allocation(row)) => {
                self.instances.insert(row.spec.instance);
                self.nodes.insert(row.node);
            }
            Change::Put(Row::Node(row)) => {
                self.nodes.insert(row.id);
            }
            Change::Put(
                Row::Meta(_)
                | Row::Image(_)
                | Row::FirstBoot(_)
                | Row::Operation(_)
                | Row::Alert(_)
                | Row::Notice(_)
                | Row::Event(_),
            ) => {}
            Change::Delete(_, key) => self.by_removal(key, before),
        }
    }

    fn by_removal(&mut self, key: &str, before: &Cluster) {
        if let Ok(id) = key.parse() {
            self.instances.insert(id);
        }
        if let Ok(id) = key.parse() {
            self.nodes.insert(id);
        }
        if let Some(row) = key.parse().ok().and_then(|id| before.allocation(id)) {
            self.instances.insert(row.spec.instance);
            self.nodes.insert(row.node);
        }
    }
}

fn write<T: serde::Serialize>(value: Option<&T>) -> Bytes {
    // Our own types always become JSON: keys are text and numbers are finite.
    value.and_then(|value| serde_json::to_vec(value).ok()).unwrap_or_else(|| b"null".to_vec()).into()
}
