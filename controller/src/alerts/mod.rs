//! Telling people of alerts: one task per receiver takes that receiver's messages out of the outbox, oldest first, tries to
//! send each, and says what came of it. What is sent when, again, and not any more is decided by `roost-model`.
//!
//! ```text
//!  snapshot ─ next_notice ─▶ webhook (POST, signed) ─┬▶ FinishNotice { Sent | Again | Refused } ─▶ core
//!                         └▶ email (SMTP) ───────────┘
//! ```
//!
//! A receiver that is slow or down holds up its own messages only: nothing in the core waits for a task here.

pub mod config;
mod email;
mod text;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roost_model::{AlertReceiver, Command, NoticeRow, Outcome};
use roost_types::{Code, DeliveryState, Name, NoticeId, Problem, Severity, TestResult, Timestamp};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

pub use email::Email;
pub use webhook::Webhook;

use crate::core::Core;

/// How often a receiver's task looks for a message.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long one attempt may take, with the name's resolution and every handshake.
const ATTEMPT: Duration = Duration::from_secs(30);

/// Somebody who is told of alerts.
pub struct Receiver {
    name: Name,
    least: Severity,
    way: Way,
    attempts: Attempts,
}

/// How a receiver is told.
enum Way {
    Webhook(Webhook),
    Email(Email),
}

/// Attempts since the controller started.
#[derive(Default)]
struct Attempts {
    sent: AtomicU64,
    again: AtomicU64,
    refused: AtomicU64,
}

/// A message, and whether it is only a test.
struct Message<'n> {
    notice: &'n NoticeRow,
    test: bool,
}

impl Receiver {
    fn new(name: Name, least: Severity, way: Way) -> Self {
        Self { name, least, way, attempts: Attempts::default() }
    }

    /// One attempt.
    async fn send(&self, message: &Message<'_>) -> Outcome {
        let sending = async {
            match &self.way {
                Way::Webhook(webhook) => webhook.send(message).await,
                Way::Email(email) => email.send(message).await,
            }
        };
        let outcome = tokio::time::timeout(ATTEMPT, sending).await;
        let outcome = outcome.unwrap_or_else(|_| Outcome::Again(format!("took longer than {} s", ATTEMPT.as_secs())));
        let counter = match &outcome {
            Outcome::Sent => &self.attempts.sent,
            Outcome::Again(_) => &self.attempts.again,
            Outcome::Refused(_) => &self.attempts.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    /// Sends what there is to send, for ever.
    async fn serve(&self, core: &Core) {
        let mut clock = tokio::time::interval(LOOK_EVERY);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let next = core.snapshot().cluster.next_notice(&self.name, crate::clock::now()).cloned();
            let Some(notice) = next else { continue };
            let outcome = self.send(&Message { notice: &notice, test: false }).await;
            self.log(&notice, &outcome);
            if let Err(problem) = core.submit(Command::FinishNotice { notice: notice.id, outcome }).await {
                // It is sent again, with the same id: better twice than never.
                tracing::warn!(receiver = %self.name, notice.id = %notice.id, %problem, "an attempt could not be noted");
            }
        }
    }

    fn log(&self, notice: &NoticeRow, outcome: &Outcome) {
        let (receiver, id, attempt) = (&self.name, notice.id, notice.attempts + 1);
        match outcome {
            Outcome::Sent => tracing::info!(%receiver, notice.id = %id, attempt, "a receiver was told of alerts"),
            Outcome::Again(why) => {
                tracing::warn!(%receiver, notice.id = %id, attempt, why, "a receiver could not be told of alerts; it is tried again");
            }
            Outcome::Refused(why) => {
                tracing::error!(%receiver, notice.id = %id, attempt, why, "a receiver refuses to be told of alerts");
            }
        }
    }
}

/// Everybody who is told of alerts.
#[derive(Default)]
pub struct Receivers {
    all: Vec<Arc<Receiver>>,
    /// Held while a test is under way.
    testing: Mutex<()>,
}

impl Receivers {
    /// These, in this order.
    fn new(all: Vec<Receiver>) -> Self {
        Self { all: all.into_iter().map(Arc::new).collect(), testing: Mutex::default() }
    }

    /// Who they are, for decisions.
    pub fn for_model(&self) -> Vec<AlertReceiver> {
        self.all.iter().map(|one| AlertReceiver { name: one.name.clone(), least: one.least }).collect()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.all.iter().map(|one| &one.name)
    }

    /// Attempts since the start: receiver, outcome, how many.
    pub fn attempts(&self) -> impl Iterator<Item = (&Name, &'static str, u64)> {
        self.all.iter().flat_map(|one| {
            let counters =
                [("sent", &one.attempts.sent), ("again", &one.attempts.again), ("refused", &one.attempts.refused)];
            counters.map(|(outcome, counter)| (&one.name, outcome, counter.load(Ordering::Relaxed)))
        })
    }

    /// A task for each, which ends with the returned set.
    pub fn start(&self, core: &Core) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for receiver in &self.all {
            let (receiver, core) = (Arc::clone(receiver), core.clone());
            tasks.spawn(async move { receiver.serve(&core).await });
        }
        tasks
    }

    /// Sends a test message to one or all, and says what came of it.
    ///
    /// # Errors
    /// `not_found`; `conflict` when there is none at all; `rate_limited` while another test is under way.
    pub async fn test(&self, only: Option<&Name>) -> Result<Vec<TestResult>, Problem> {
        if self.all.is_empty() {
            let detail = "nobody is told of alerts: name a webhook or an e-mail address in alerts.yaml and restart the controller";
            return Err(Problem::new(Code::Conflict, detail));
        }
        if let Some(name) = only.filter(|name| self.names().all(|known| known != *name)) {
            let known: Vec<&str> = self.names().map(Name::as_str).collect();
            let detail = format!("there is no receiver '{name}'; there are: {}", known.join(", "));
            return Err(Problem::new(Code::NotFound, detail).field("receiver"));
        }
        let Ok(_alone) = self.testing.try_lock() else {
            return Err(Problem::new(Code::RateLimited, "a test is under way: try again when it has ended"));
        };
        let asked = self.all.iter().filter(|one| only.is_none_or(|name| one.name == *name)).cloned();
        let mut tests = JoinSet::new();
        for (place, receiver) in asked.enumerate() {
            tests.spawn(async move { (place, test(&receiver).await) });
        }
        let mut results = tests.join_all().await;
        results.sort_by_key(|(place, _)| *place);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }
}

async fn test(receiver: &Receiver) -> TestResult {
    let began = Instant::now();
    let notice = test_notice(&receiver.name, crate::clock::now());
    let outcome = match notice {
        Ok(notice) => receiver.send(&Message { notice: &notice, test: true }).await,
        Err(error) => Outcome::Again(format!("the kernel gives no randomness: {error}")),
    };
    let (delivered, detail) = match outcome {
        Outcome::Sent => (true, "taken".to_owned()),
        Outcome::Again(why) => (false, why),
        Outcome::Refused(why) => (false, format!("refused, an alert would not be tried again: {why}")),
    };
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    TestResult { receiver: receiver.name.clone(), delivered, detail, duration_ms }
}

/// A message about no alert.
fn test_notice(receiver: &Name, now: Timestamp) -> std::io::Result<NoticeRow> {
    let id = NoticeId::mint(u64::try_from(now.0).unwrap_or(0), crate::random::bytes()?);
    Ok(NoticeRow {
        id,
        receiver: receiver.clone(),
        items: Vec::new(),
        more: Vec::new(),
        created_at: now,
        state: DeliveryState::Waiting,
        attempts: 0,
        next_attempt_at: now,
        error: None,
        ended_at: None,
    })
}
