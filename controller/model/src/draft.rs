//! A decision in the making: a copy of the cluster, the changes made to it so far, and the ids and numbers it needs.

use std::sync::Arc;

use roost_types::{
    ActionId, AlertId, AllocationId, Event, EventKind, InstanceId, NodeId, NoticeId, Operation, OperationId,
    OperationKind, OperationStatus, Problem, SnapshotId, Timestamp, operation::Progress,
};

use crate::cluster::{Cluster, KEPT_OPERATIONS, NodeLive};
use crate::command::Context;
use crate::row::{AllocationRow, Change, InstanceRow, Kind, MetaRow, NodeRow, Row};

/// A decision in the making. What it changes is visible at once to what follows in the same decision.
pub struct Draft {
    pub(crate) cluster: Cluster,
    pub(crate) changes: Vec<Change>,
    pub(crate) now: Timestamp,
    random: u64,
}

impl Draft {
    pub(crate) fn new(cluster: &Cluster, context: &Context) -> Self {
        Self { cluster: cluster.clone(), changes: Vec::new(), now: context.now, random: context.seed }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): the seed is the only randomness.
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn id_parts(&mut self) -> (u64, [u8; 10]) {
        let (high, low) = (self.next_random().to_be_bytes(), self.next_random().to_be_bytes());
        let mut random = [0; 10];
        random[..8].copy_from_slice(&high);
        random[8..].copy_from_slice(&low[..2]);
        (u64::try_from(self.now.0).unwrap_or(0), random)
    }

    pub(crate) fn instance_id(&mut self) -> InstanceId {
        let (ms, random) = self.id_parts();
        InstanceId::mint(ms, random)
    }

    pub(crate) fn allocation_id(&mut self) -> AllocationId {
        let (ms, random) = self.id_parts();
        AllocationId::mint(ms, random)
    }

    pub(crate) fn snapshot_id(&mut self) -> SnapshotId {
        let (ms, random) = self.id_parts();
        SnapshotId::mint(ms, random)
    }

    pub(crate) fn node_id(&mut self) -> NodeId {
        let (ms, random) = self.id_parts();
        NodeId::mint(ms, random)
    }

    pub(crate) fn alert_id(&mut self) -> AlertId {
        let (ms, random) = self.id_parts();
        AlertId::mint(ms, random)
    }

    pub(crate) fn notice_id(&mut self) -> NoticeId {
        let (ms, random) = self.id_parts();
        NoticeId::mint(ms, random)
    }

    pub(crate) fn action_id(&mut self) -> ActionId {
        let (ms, random) = self.id_parts();
        ActionId::mint(ms, random)
    }

    /// Four lower-case letters or digits, for a name nobody chose.
    pub(crate) fn name_suffix(&mut self) -> String {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let random = self.next_random().to_le_bytes();
        random[..4].iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
    }

    /// The next generation: larger than any given out before, over restarts too.
    pub(crate) fn next_revision(&mut self) -> u64 {
        let revision = self.cluster.revision + 1;
        self.put(Row::Meta(MetaRow { revision }));
        revision
    }

    pub(crate) fn put(&mut self, row: Row) {
        let change = Change::Put(row);
        self.cluster.apply(&change);
        self.changes.push(change);
    }

    pub(crate) fn delete(&mut self, kind: Kind, key: String) {
        let change = Change::Delete(kind, key);
        self.cluster.apply(&change);
        self.changes.push(change);
    }

    pub(crate) fn event(&mut self, kind: EventKind, subject: impl Into<String>, message: impl Into<String>) {
        let id = self.cluster.last_event + 1;
        let event = Event { id, at: self.now, kind, subject: subject.into(), message: message.into() };
        self.put(Row::Event(event));
    }

    /// Changes an instance by a function.
    pub(crate) fn edit_instance(&mut self, id: InstanceId, edit: impl FnOnce(&mut InstanceRow)) {
        let Some(row) = self.cluster.instances.get(&id) else { return };
        let mut row = InstanceRow::clone(row);
        edit(&mut row);
        self.put(Row::Instance(row));
    }

    /// Changes what the agent is told of an allocation: it and the node's desired set get a new generation.
    pub(crate) fn edit_spec(&mut self, id: AllocationId, edit: impl FnOnce(&mut AllocationRow)) {
        let Some(row) = self.cluster.allocations.get(&id) else { return };
        let mut row = AllocationRow::clone(row);
        let wish = |row: &AllocationRow| (row.spec.desired, row.spec.epoch, row.spec.restore);
        let before = wish(&row);
        edit(&mut row);
        row.spec.generation = self.next_revision();
        if wish(&row) != before || row.wish_generation.is_none() {
            row.wish_generation = Some(row.spec.generation);
        }
        let node = row.node;
        self.put(Row::Allocation(row));
        self.touch_node(node);
    }

    /// Gives the node's desired set a new generation, so that its agent is sent it.
    pub(crate) fn touch_node(&mut self, id: NodeId) {
        let revision = self.next_revision();
        self.edit_node(id, |node| node.desired_generation = revision);
    }

    pub(crate) fn edit_node(&mut self, id: NodeId, edit: impl FnOnce(&mut NodeRow)) {
        let Some(row) = self.cluster.nodes.get(&id) else { return };
        let mut row = NodeRow::clone(row);
        edit(&mut row);
        self.put(Row::Node(row));
    }

    /// Changes what is known of a node only while the controller runs; nothing is stored.
    pub(crate) fn edit_live<T>(&mut self, id: NodeId, edit: impl FnOnce(&mut NodeLive) -> T) -> T {
        let now = self.now;
        let live = self.cluster.live.entry(id).or_insert_with(|| Arc::new(NodeLive::unheard(now)));
        edit(Arc::make_mut(live))
    }

    /// A node may have become able to take something.
    pub(crate) fn make_room(&mut self) {
        self.cluster.room += 1;
    }

    /// Opens an operation on a resource.
    pub(crate) fn open(&mut self, kind: OperationKind, resource: String) -> OperationId {
        let (ms, random) = self.id_parts();
        let id = OperationId::mint(ms, random);
        self.put(Row::Operation(Operation {
            id,
            kind,
            status: OperationStatus::Running,
            progress: Progress { done: 0, total: 1, unit: "steps".to_owned() },
            resource,
            error: None,
            created_at: self.now,
            updated_at: self.now,
        }));
        id
    }

    pub(crate) fn edit_operation(&mut self, id: OperationId, edit: impl FnOnce(&mut Operation)) {
        let Some(old) = self.cluster.operations.get(&id) else { return };
        let mut row = Operation::clone(old);
        edit(&mut row);
        if row == **old {
            return;
        }
        row.updated_at = self.now;
        self.put(Row::Operation(row));
    }

    /// Ends an operation, well or with a problem, and forgets the oldest finished ones.
    pub(crate) fn finish(&mut self, id: OperationId, outcome: Result<(), Problem>) {
        self.edit_operation(id, |operation| match outcome {
            Ok(()) => {
                operation.status = OperationStatus::Succeeded;
                operation.progress.done = operation.progress.total;
            }
            Err(problem) => {
                operation.status = OperationStatus::Failed;
                operation.error = Some(problem);
            }
        });
        while self.cluster.operations.len() - self.cluster.open_operations.len() > KEPT_OPERATIONS {
            let finished = |id: &&OperationId| !self.cluster.open_operations.contains(*id);
            let Some(oldest) = self.cluster.operations.keys().find(finished).copied() else { break };
            self.delete(Kind::Operation, oldest.to_string());
        }
    }
}
