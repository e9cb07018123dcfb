//! Reading the cluster: what the shell may look at. Nothing here decides.

use std::sync::Arc;

use roost_types::sync::NameTable;
use roost_types::{AllocationId, Event, EventId, Image, ImageDigest, InstanceId, NodeId, Operation, OperationId};

use crate::alerts::AlertRow;
use crate::cluster::{Cluster, NodeLive};
use crate::row::{AllocationRow, FirstBootRow, InstanceRow, NodeRow};

impl Cluster {
    /// Every instance, oldest first.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<InstanceRow>> {
        self.instances.values()
    }

    /// An instance.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<&Arc<InstanceRow>> {
        self.instances.get(&id)
    }

    /// What an instance is given for its first start.
    #[must_use]
    pub fn first_boot(&self, id: InstanceId) -> Option<&Arc<FirstBootRow>> {
        self.first_boots.get(&id)
    }

    /// Instances that want a node and have none.
    pub fn pending(&self) -> impl Iterator<Item = InstanceId> {
        self.pending.iter().copied()
    }

    /// Every node, in the order they joined.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<NodeRow>> {
        self.nodes.values()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Arc<NodeRow>> {
        self.nodes.get(&id)
    }

    /// What is known of a node only while the controller runs.
    #[must_use]
    pub fn live(&self, id: NodeId) -> Option<&Arc<NodeLive>> {
        self.live.get(&id)
    }

    /// An allocation.
    #[must_use]
    pub fn allocation(&self, id: AllocationId) -> Option<&Arc<AllocationRow>> {
        self.allocations.get(&id)
    }

    /// Generation of the table of names that a node needs: it changes with the contents.
    #[must_use]
    pub fn names_generation(&self, node: NodeId) -> u64 {
        self.names.generation(node)
    }

    /// The table of names that a node needs.
    #[must_use]
    pub fn name_table(&self, node: NodeId) -> NameTable {
        self.names.table(node)
    }

    /// Nodes that need another table of names than in `before`.
    #[must_use]
    pub fn renamed_since(&self, before: &Self) -> Vec<NodeId> {
        self.names.changed_since(&before.names)
    }

    /// Every image, by digest.
    pub fn images(&self) -> impl Iterator<Item = &Arc<Image>> {
        self.images.values()
    }

    /// An image by its whole digest.
    #[must_use]
    pub fn image(&self, digest: &ImageDigest) -> Option<&Arc<Image>> {
        self.images.get(digest)
    }

    /// Every alert, oldest first.
    pub fn alerts(&self) -> impl Iterator<Item = &Arc<AlertRow>> {
        self.alerts.values()
    }

    /// Every operation, oldest first.
    pub fn operations(&self) -> impl Iterator<Item = &Arc<Operation>> {
        self.operations.values()
    }

    /// An operation.
    #[must_use]
    pub fn operation(&self, id: OperationId) -> Option<&Arc<Operation>> {
        self.operations.get(&id)
    }

    /// At most `limit` events with a larger number, oldest first.
    #[must_use]
    pub fn events_after(&self, after: EventId, limit: usize) -> Vec<Arc<Event>> {
        // Numbers have no gaps, so the place of the first wanted event can be computed.
        let first = self.events.front().map_or(0, |event| event.id);
        let skip = usize::try_from((after + 1).saturating_sub(first)).unwrap_or(usize::MAX).min(self.events.len());
        self.events.clone().split_off(skip).into_iter().take(limit).collect()
    }

    /// Number of the newest event.
    #[must_use]
    pub const fn last_event(&self) -> EventId {
        self.last_event
    }
}
