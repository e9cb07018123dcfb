//! The one task that owns the cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roost_model::{Change, Cluster, Context, Reply, Row, decide};
use roost_types::{Problem, Timestamp};
use tokio::sync::mpsc;

use super::snapshot::Heard;
use super::{Answer, Envelope, Feeds, Snapshot};
use crate::random::Seeds;
use crate::store::{Store, StoreError};

/// Most commands of one transaction: bounds how long the first of them waits.
const MAX_BATCH: usize = 512;
/// A failing store is logged at most once in so long.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The owner's own things.
pub(super) struct Owner {
    waiting: mpsc::Receiver<Envelope>,
    store: Store,
    feeds: Arc<Feeds>,
    seeds: Seeds,
    /// When a failing store was last logged.
    logged: Option<Instant>,
}

/// A batch of decisions that is not durable yet.
struct Speculation {
    cluster: Cluster,
    changes: Vec<Change>,
    /// One per command, in order.
    outcomes: Vec<Result<Reply, Problem>>,
}

impl Owner {
    pub(super) fn new(waiting: mpsc::Receiver<Envelope>, store: Store, feeds: Arc<Feeds>, seeds: Seeds) -> Self {
        Self { waiting, store, feeds, seeds, logged: None }
    }

    /// Runs until every handle is gone.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.waiting.recv_many(&mut batch, MAX_BATCH).await > 0 {
            self.serve(&mut batch).await;
        }
        self.store.close().await;
    }

    async fn serve(&mut self, batch: &mut Vec<Envelope>) {
        let before = self.feeds.snapshot.load_full();
        let now = crate::clock::now();
        let mut speculation = self.speculate(&before.cluster, batch, now, None);
        if !speculation.changes.is_empty()
            && let Err(error) = self.store.commit(&speculation.changes, now).await
        {
            self.log(&error);
            speculation = self.speculate(&before.cluster, batch, now, Some(&error.problem()));
        }
        self.publish(&before, speculation, batch, now);
    }

    /// Decides every command, each on the state that the one before left. `full`: the batch again after its commit
    /// failed. Then what needs no storing (heartbeats, readings) still counts, so that a full disk makes no node look
    /// silent; everything else is refused with that problem.
    fn speculate(&self, from: &Cluster, batch: &[Envelope], now: Timestamp, full: Option<&Problem>) -> Speculation {
        let mut speculation =
            Speculation { cluster: from.clone(), changes: Vec::new(), outcomes: Vec::with_capacity(batch.len()) };
        for envelope in batch {
            let context = Context { now, seed: self.seeds.next() };
            let outcome = decide(&speculation.cluster, &envelope.command, &context).and_then(|decision| {
                if let Some(problem) = full.filter(|_| !decision.changes.is_empty()) {
                    return Err(problem.clone());
                }
                speculation.cluster = decision.cluster;
                speculation.changes.extend(decision.changes);
                Ok(decision.reply)
            });
            speculation.outcomes.push(outcome);
        }
        speculation
    }

    fn publish(&self, before: &Snapshot, speculation: Speculation, batch: &mut Vec<Envelope>, now: Timestamp) {
        let mut heard = Heard::default();
        batch.iter().for_each(|envelope| heard.note(&envelope.command));
        let Speculation { cluster, changes, outcomes } = speculation;
        let snapshot = Arc::new(before.next(cluster, &changes, &heard, now));
        self.feeds.snapshot.store(Arc::clone(&snapshot));
        for (envelope, outcome) in batch.drain(..).zip(outcomes) {
            // A caller that has gone away needs no answer.
            let _ = envelope.answer.send(outcome.map(|reply| Answer { reply, snapshot: Arc::clone(&snapshot) }));
        }
        self.tell(before, &snapshot, &changes);
    }

    /// Wakes polls and waits, and sends events to their listeners.
    fn tell(&self, before: &Snapshot, after: &Snapshot, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(Row::Event(event)) => {
                    // Fails only when nobody listens.
                    let _ = self.feeds.events.send(Arc::new(event.clone()));
                }
                Change::Put(Row::Operation(operation)) => self.feeds.operations.wake(&operation.id),
                Change::Put(Row::Node(node)) => {
                    if before.desired_generation(node.id) != after.desired_generation(node.id) {
                        self.feeds.nodes.wake(&node.id);
                    }
                }
                Change::Put(
                    Row::Meta(_)
                    | Row::Image(_)
                    | Row::Instance(_)
                    | Row::FirstBoot(_)
                    | Row::Allocation(_)
                    | Row::Alert(_)
                    | Row::Notice(_),
                )
                | Change::Delete(..) => {}
            }
        }
        for node in after.cluster.renamed_since(&before.cluster) {
            self.feeds.nodes.wake(&node);
        }
    }

    fn log(&mut self, error: &StoreError) {
        if self.logged.is_none_or(|at| at.elapsed() > LOG_EVERY) {
            self.logged = Some(Instant::now());
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(%error, cause, "changes could not be stored; every caller was told");
        }
    }
}
