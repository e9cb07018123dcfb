//! The conversation with the controller, on two keep-alive connections.
//!
//! ```text
//!   poll lane      one request after the other, each held by the controller for up to 2 s: the heartbeat.
//!                  up: vitals, traffic of images   down: desired set, names, streams, grants, want_full
//!   report lane    a request at once whenever there is news, never held; news that wait together go together.
//!                  up: facts, reports, gone, repairs      down: the same
//! ```
//!
//! Both lanes number their requests from one counter. The poll lane says nothing before the first full report was
//! delivered. A lane that loses its connection dials again after a jittered pause of 100 ms doubling to 5 s; what was
//! not acknowledged is said again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, StatusCode};
use roost_types::StreamId;
use roost_types::node::NodeVitals;
use roost_types::stream::StreamRequest;
use roost_types::sync::{DesiredSet, MAX_WAIT_MS, NameTable, SyncRequest, SyncResponse};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock;
use crate::controller::{Connection, Controller, HttpError};
use crate::errors::chain;
use crate::images::Images;
use crate::outbox::{News, Outbox};
use crate::random::jittered;
use crate::vitals::Sampler;

/// The largest answer taken: 16 MiB, a desired set of some thousand allocations.
const MAX_ANSWER: usize = 16 << 20;
/// How much longer than it may hold a request the controller may take to answer.
const ANSWER_SLACK: Duration = Duration::from_secs(8);
/// The first pause before dialling again.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause before dialling again.
const PAUSE_LONGEST: Duration = Duration::from_secs(5);
/// How many streams are remembered as dialled.
const STREAMS_REMEMBERED: usize = 256;

/// What the controller said.
#[derive(Debug)]
pub enum Told {
    /// A desired set. `stored` is answered once it is on disk.
    Desired {
        /// Its generation.
        generation: u64,
        /// The set.
        desired: DesiredSet,
        /// Answered once it is on disk, or will not be.
        stored: oneshot::Sender<()>,
    },
    /// A table of names.
    Names(NameTable),
    /// It wants facts and everything.
    WantFull,
    /// It wants a stream dialled.
    Stream(StreamRequest),
}

/// Why a request was of no use.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// No answer.
    #[error("no answer")]
    Http(#[from] HttpError),
    /// The answer broke off, or is too long.
    #[error("read the answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The controller does not know this node or its secret.
    #[error("the controller refuses this node's secret (status {0}): check --secret-file and the controller's --nodes")]
    Refused(StatusCode),
    /// Another status than 200.
    #[error("the controller answered with status {0}")]
    Status(StatusCode),
    /// A body that is not a sync response.
    #[error("the answer is not a sync response")]
    Json(#[from] serde_json::Error),
}

/// One agent's conversation.
pub struct Link {
    controller: Controller,
    boot_id: String,
    agent_id: String,
    seq: AtomicU64,
    applied_generation: AtomicU64,
    names_generation: AtomicU64,
    introduced: Notify,
    outbox: Arc<Outbox>,
    images: Images,
    sampler: Mutex<Sampler>,
    told: mpsc::Sender<Told>,
    dialled: Mutex<VecDeque<StreamId>>,
}

/// One connection's state.
#[derive(Default)]
struct Lane {
    connection: Option<Connection>,
    failures: u32,
}

impl Link {
    /// A conversation that starts with the desired set and the table of names of these generations known.
    pub fn new(
        controller: Controller,
        (boot_id, agent_id): (String, String),
        (applied_generation, names_generation): (u64, u64),
        (outbox, images): (Arc<Outbox>, Images),
        sampler: Sampler,
        told: mpsc::Sender<Told>,
    ) -> Self {
        Self {
            controller,
            boot_id,
            agent_id,
            seq: AtomicU64::new(0),
            applied_generation: AtomicU64::new(applied_generation),
            names_generation: AtomicU64::new(names_generation),
            introduced: Notify::new(),
            outbox,
            images,
            sampler: Mutex::new(sampler),
            told,
            dialled: Mutex::new(VecDeque::new()),
        }
    }

    /// The set of this generation is on disk now.
    pub fn applied(&self, generation: u64) {
        self.applied_generation.fetch_max(generation, Ordering::Relaxed);
    }

    /// Holds the poll, for ever.
    pub async fn poll_lane(self: Arc<Self>) {
        self.introduced.notified().await;
        let mut lane = Lane::default();
        loop {
            let vitals = self.sampler().news(clock::now());
            let request = self.request(MAX_WAIT_MS, vitals, News::default());
            match lane.exchange(&self.controller, &request).await {
                Ok(response) => {
                    lane.failures = 0;
                    self.hear(response).await;
                }
                Err(error) => {
                    self.sampler().unsaid();
                    lane.pause("poll", &error).await;
                }
            }
        }
    }

    /// Delivers news, for ever.
    pub async fn report_lane(self: Arc<Self>) {
        let mut lane = Lane::default();
        loop {
            let news = self.outbox.take().await;
            let request = self.request(0, None, news.clone());
            match lane.exchange(&self.controller, &request).await {
                Ok(response) => {
                    lane.failures = 0;
                    if news.full {
                        self.introduced.notify_one();
                    }
                    self.hear(response).await;
                }
                Err(error) => {
                    self.outbox.put_back(news);
                    lane.pause("report", &error).await;
                }
            }
        }
    }

    fn sampler(&self) -> std::sync::MutexGuard<'_, Sampler> {
        self.sampler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, wait_ms: u32, vitals: Option<NodeVitals>, news: News) -> SyncRequest {
        SyncRequest {
            boot_id: self.boot_id.clone(),
            agent_id: self.agent_id.clone(),
            seq: self.seq.fetch_add(1, Ordering::Relaxed) + 1,
            wait_ms,
            applied_generation: self.applied_generation.load(Ordering::Relaxed),
            full: news.full,
            facts: news.facts,
            vitals,
            allocations: news.reports.into_values().collect(),
            gone: news.gone.into_iter().collect(),
            names_generation: self.names_generation.load(Ordering::Relaxed),
            repairs: news.repairs,
            images: (wait_ms > 0).then(|| self.images.traffic()),
        }
    }

    async fn hear(&self, response: SyncResponse) {
        for stream in response.streams {
            if self.is_new(stream.id) {
                self.tell(Told::Stream(stream)).await;
            }
        }
        if response.want_full {
            self.tell(Told::WantFull).await;
        }
        if let Some(names) = response.names {
            self.names_generation.store(names.generation, Ordering::Relaxed);
            self.tell(Told::Names(names)).await;
        }
        if let Some(grants) = response.grants {
            self.images.grant(grants);
        }
        if let Some(desired) = response.desired {
            let (stored, on_disk) = oneshot::channel();
            self.tell(Told::Desired { generation: response.generation, desired, stored }).await;
            // Asked again before the set is on disk, the controller would send it again.
            let _ = on_disk.await;
        }
    }

    async fn tell(&self, told: Told) {
        if self.told.send(told).await.is_err() {
            tracing::debug!("the agent is ending; what the controller said is not heard");
        }
    }

    fn is_new(&self, id: StreamId) -> bool {
        let mut dialled = self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !dialled.contains(&id);
        if is_new {
            dialled.push_back(id);
            if dialled.len() > STREAMS_REMEMBERED {
                dialled.pop_front();
            }
        }
        is_new
    }
}

impl Lane {
    async fn exchange(&mut self, controller: &Controller, request: &SyncRequest) -> Result<SyncResponse, SyncError> {
        let body = serde_json::to_vec(request)?;
        let request_head = controller.request(Method::POST, "/agent/v1/sync").header(CONTENT_TYPE, "application/json");
        let http = request_head.body(Full::new(Bytes::from(body))).map_err(|e| SyncError::Body(e.into()))?;
        let mut connection = match self.connection.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => controller.connect().await?,
        };
        let limit = Duration::from_millis(u64::from(request.wait_ms)) + ANSWER_SLACK;
        let response = connection.send(http, limit).await?;
        let status = response.status();
        let body = tokio::time::timeout(ANSWER_SLACK, Limited::new(response.into_body(), MAX_ANSWER).collect()).await;
        let body = body.map_err(|_| HttpError::Timeout(format!("{controller:?}")))?.map_err(body_error)?.to_bytes();
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(SyncError::Refused(status)),
            other => return Err(SyncError::Status(other)),
        }
        let response = serde_json::from_slice(&body)?;
        self.connection = Some(connection);
        Ok(response)
    }

    async fn pause(&mut self, lane: &str, error: &SyncError) {
        let pause = PAUSE_FIRST.saturating_mul(1 << self.failures.min(6)).min(PAUSE_LONGEST);
        if self.failures == 0 {
            tracing::warn!(lane, error = %chain(error), "cannot talk to the controller; trying again");
        }
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(jittered(pause)).await;
    }
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> SyncError {
    if error.is::<LengthLimitError>() {
        return SyncError::Body(format!("longer than {MAX_ANSWER} bytes").into());
    }
    SyncError::Body(error)
}

#[cfg(test)]
mod tests;
