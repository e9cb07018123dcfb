//! The controller's core: one owner, group commit.
//!
//! ```text
//!  API ─┐                      ┌ decide (pure) ┐ one SQL        publish      answer callers,
//!  sync ┼─▶ queue ─▶ all that ─▶ on a specu-   ├ transaction ─▶ the new   ─▶ broadcast events,
//!  hubs ┤            waits     │ lative state  │ for all of it  snapshot     wake polls and waits
//!  tick ┘                      └───────────────┘    │ fails: discard, fail every caller
//! ```
//!
//! Nothing is answered before it is durable. A batch without durable changes skips SQL, so an idle cluster writes
//! nothing. Reads never come here: they use the published [`Snapshot`].
//!
//! This module holds no policy: what a command means is decided by `roost-model`.

mod owner;
mod snapshot;
mod wakers;

use std::sync::Arc;

use arc_swap::ArcSwap;
use roost_model::{Cluster, Command, Reply};
use roost_types::{Code, Event, NodeId, OperationId, Problem};
use tokio::sync::{broadcast, mpsc, oneshot};

pub use snapshot::Snapshot;
pub use wakers::{Listener, Wakers};

use crate::random::Seeds;
use crate::store::Store;

/// Commands that may wait; a caller that finds the queue full waits for room.
const QUEUE: usize = 4096;
/// Events that a slow listener may lag behind before it is cut off.
const EVENT_BUFFER: usize = 1024;

/// A command and who waits for its answer.
struct Envelope {
    command: Command,
    answer: oneshot::Sender<Result<Answer, Problem>>,
}

/// What a caller is told, and a snapshot that has it.
#[derive(Clone)]
pub struct Answer {
    /// The reply of the decision.
    pub reply: Reply,
    /// The cluster after the command (and perhaps later ones).
    pub snapshot: Arc<Snapshot>,
}

/// What the core publishes.
pub struct Feeds {
    snapshot: ArcSwap<Snapshot>,
    /// Every event, once durable.
    events: broadcast::Sender<Arc<Event>>,
    /// Polls of agents.
    pub nodes: Wakers<NodeId>,
    /// Requests that wait for an operation to end.
    pub operations: Wakers<OperationId>,
}

/// A handle on the core: cheap to clone.
#[derive(Clone)]
pub struct Core {
    queue: mpsc::Sender<Envelope>,
    feeds: Arc<Feeds>,
}

impl Core {
    /// Starts the owner task over a loaded cluster. It ends when every handle is gone, and then closes the store.
    #[must_use]
    pub fn start(cluster: Cluster, store: Store, seeds: Seeds) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let feeds = Arc::new(Feeds {
            snapshot: ArcSwap::from_pointee(Snapshot::first(cluster, crate::clock::now())),
            events: broadcast::Sender::new(EVENT_BUFFER),
            nodes: Wakers::default(),
            operations: Wakers::default(),
        });
        let owner = owner::Owner::new(waiting, store, Arc::clone(&feeds), seeds);
        (Self { queue, feeds }, tokio::spawn(owner.run()))
    }

    /// Hands a command to the owner and waits until it is durable or refused.
    ///
    /// # Errors
    /// The problem the command was refused with, or why it could not be stored.
    pub async fn submit(&self, command: Command) -> Result<Answer, Problem> {
        let gone = || Problem::new(Code::Unavailable, "the controller is stopping: try again");
        let (answer, waiting) = oneshot::channel();
        self.queue.send(Envelope { command, answer }).await.map_err(|_| gone())?;
        waiting.await.map_err(|_| gone())?
    }

    /// The cluster as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.feeds.snapshot.load_full()
    }

    /// Events from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.feeds.events.subscribe()
    }

    /// Hears of news for a node: its desired set changed, or a stream waits.
    #[must_use]
    pub fn listen_node(&self, node: NodeId) -> Listener<'_, NodeId> {
        self.feeds.nodes.listen(node)
    }

    /// Wakes a node's poll.
    pub fn wake_node(&self, node: NodeId) {
        self.feeds.nodes.wake(&node);
    }

    /// Hears of changes of an operation.
    #[must_use]
    pub fn listen_operation(&self, operation: OperationId) -> Listener<'_, OperationId> {
        self.feeds.operations.listen(operation)
    }
}

#[cfg(test)]
mod tests;
