//! Byte streams between a user and an agent: the agent dials back, the controller splices.
//!
//! ```text
//!  user request ─▶ open(): queued for the node, its poll is woken ─▶ agent dials /agent/v1/streams/{id}
//!       ▲                       │ 10 s                                          │
//!       └── node_unreachable ◀──┘              splice() or payload() ◀──────────┘
//! ```
//!
//! A stream is offered again if it was not dialled within a second: the answer that named it may have been lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, Stream, StreamExt};
use roost_types::stream::{MAX_MESSAGE, StreamEnd, StreamKind, StreamRequest, channel};
use roost_types::{AllocationId, Code, NodeId, Problem, StreamId};
use tokio::sync::oneshot;

use super::id_of;
use crate::api::auth::Caller;
use crate::api::extract::Ref;
use crate::api::problem::{ApiError, ApiResult};
use crate::core::Core;
use crate::random;
use crate::state::App;

/// How long an agent may take to dial.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// An offer that was not taken up is made again after so long.
const OFFER_AGAIN: Duration = Duration::from_secs(1);
/// Streams that may wait for their agents at once.
const MAX_WAITING: usize = 256;
/// Bytes a socket may hold for a slow reader before the other side is made to wait.
const MAX_BUFFER: usize = 4 * MAX_MESSAGE;
/// How often each side of a splice is tried.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// A stream whose agent has not dialled yet.
struct Waiting {
    node: NodeId,
    request: StreamRequest,
    offered: Option<Instant>,
    dialled: oneshot::Sender<WebSocket>,
}

/// All streams that wait for their agents.
#[derive(Default)]
pub struct Streams {
    waiting: Mutex<HashMap<StreamId, Waiting>>,
}

/// Takes a waiting stream back when its user has gone.
struct Withdraw<'s>(&'s Streams, StreamId);

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}

impl Streams {
    fn waiting(&self) -> MutexGuard<'_, HashMap<StreamId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a node's agent to dial, and waits for it.
    ///
    /// # Errors
    /// `node_unreachable` when it does not dial within 10 s, `unavailable` when too many streams wait.
    pub async fn open(
        &self,
        core: &Core,
        node: NodeId,
        allocation: AllocationId,
        kind: StreamKind,
    ) -> Result<WebSocket, Problem> {
        let id = stream_id().map_err(|_| Problem::new(Code::Internal, "the kernel gives no randomness"))?;
        let (dialled, socket) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.len() >= MAX_WAITING {
                return Err(Problem::new(Code::Unavailable, "too many streams wait for their nodes: try again"));
            }
            let request = StreamRequest { id, allocation, kind };
            waiting.insert(id, Waiting { node, request, offered: None, dialled });
        }
        let _withdraw = Withdraw(self, id);
        core.wake_node(node);
        match tokio::time::timeout(DIAL_TIMEOUT, socket).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(_)) | Err(_) => {
                Err(Problem::new(Code::NodeUnreachable, "the node did not open the stream within 10 s"))
            }
        }
    }

    /// The streams a node should dial now.
    pub fn offer(&self, node: NodeId) -> Vec<StreamRequest> {
        let mut waiting = self.waiting();
        let due = |stream: &&mut Waiting| {
            stream.node == node && stream.offered.is_none_or(|offered| offered.elapsed() > OFFER_AGAIN)
        };
        let mut offers: Vec<StreamRequest> = waiting
            .values_mut()
            .filter(due)
            .map(|stream| {
                stream.offered = Some(Instant::now());
                stream.request.clone()
            })
            .collect();
        offers.sort_by_key(|request| request.id);
        offers
    }

    /// Hands over a stream that this node was asked to dial.
    fn claim(&self, id: StreamId, node: NodeId) -> Option<oneshot::Sender<WebSocket>> {
        let mut waiting = self.waiting();
        if waiting.get(&id)?.node != node {
            return None;
        }
        waiting.remove(&id).map(|stream| stream.dialled)
    }
}

fn stream_id() -> std::io::Result<StreamId> {
    let ms = u64::try_from(crate::clock::now().0).unwrap_or_default();
    Ok(StreamId::mint(ms, random::bytes()?))
}

/// A request to become a WebSocket, refused as a problem when it is none.
pub struct Upgrade(WebSocketUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await.map_err(|why| {
            ApiError::new(Code::InvalidQuery, format!("this path is a WebSocket: {}", why.body_text()))
        })?;
        let limited = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
        Ok(Self(limited.write_buffer_size(0).max_write_buffer_size(MAX_BUFFER)))
    }
}

impl Upgrade {
    /// Answers the handshake and then runs `serve`.
    pub fn on_upgrade<F>(self, serve: impl FnOnce(WebSocket) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.on_upgrade(serve)
    }
}

/// `GET /agent/v1/streams/{id}`: the agent dials a stream it was asked for.
pub async fn dial(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Ref(id): Ref,
    upgrade: Upgrade,
) -> ApiResult<Response> {
    let node = id_of(&app, &caller)?;
    let none = || ApiError::not_found("stream waiting for this node", &id);
    let dialled = id.parse().ok().and_then(|id| app.streams.claim(id, node)).ok_or_else(none)?;
    Ok(upgrade.on_upgrade(async move |socket| {
        // The user has gone: dropping the socket tells the agent.
        let _ = dialled.send(socket);
    }))
}

/// Carries messages both ways until either side ends.
///
/// A side that does not take what it is sent makes the other one wait, for as long as its connection is alive: a command
/// may not read its input for hours, and a user may read its output page by page. While one side waits nothing is read
/// from the other, so both are probed: sending is what tells that somebody is gone.
pub async fn splice(user: WebSocket, agent: WebSocket) {
    let (user_out, user_in) = user.split();
    let (agent_out, agent_in) = agent.split();
    let to_agent = async {
        match carry(user_in, agent_out).await {
            Ended::Source => {}
            // What an agent that is through said last is still on its way: the other direction ends it.
            Ended::Sink => std::future::pending().await,
        }
    };
    tokio::select! {
        () = to_agent => {}
        Ended::Source | Ended::Sink = carry(agent_in, user_out) => {}
    }
}

/// Which side ended a direction.
enum Ended {
    /// The one that sends.
    Source,
    /// The one that is sent to.
    Sink,
}

async fn carry(mut from: SplitStream<WebSocket>, mut to: SplitSink<WebSocket, Message>) -> Ended {
    let mut probe = tokio::time::interval_at(tokio::time::Instant::now() + PROBE_INTERVAL, PROBE_INTERVAL);
    probe.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let ended = loop {
        let message = tokio::select! {
            message = from.next() => match message {
                Some(Ok(Message::Binary(bytes))) => Message::Binary(bytes),
                // A ping is answered by the library; text is no part of the protocol.
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => break Ended::Source,
            },
            _ = probe.tick() => Message::Ping(Bytes::new()),
        };
        if to.send(message).await.is_err() {
            break Ended::Sink;
        }
    };
    // The other side may be gone already.
    let _ = tokio::time::timeout(Duration::from_secs(1), to.close()).await;
    ended
}

/// What the process wrote, channels 1 and 2 as they came. An agent that failed or vanished ends it with an error, so
/// that the reader does not take a part for the whole.
pub fn payload(agent: WebSocket) -> impl Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::try_unfold(agent, |mut agent| async move {
        while let Some(message) = agent.recv().await {
            let Message::Binary(bytes) = message.map_err(std::io::Error::other)? else { continue };
            match bytes.first() {
                Some(&(channel::STDOUT | channel::STDERR)) => return Ok(Some((bytes.slice(1..), agent))),
                Some(&channel::END) => {
                    let end: StreamEnd = serde_json::from_slice(&bytes[1..]).unwrap_or_default();
                    return match end.error {
                        Some(error) => Err(std::io::Error::other(error)),
                        None => Ok(None),
                    };
                }
                _ => {}
            }
        }
        Err(std::io::ErrorKind::UnexpectedEof.into())
    })
}
