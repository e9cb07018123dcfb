//! `POST /agent/v1/sync`: up goes what the agent saw, down comes what it should run.
//!
//! What it reports is durable before it is answered. A poll is held until there is news for the node, at most
//! [`MAX_WAIT_MS`]; a report (`wait_ms` 0) is answered at once.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use roost_model::{Command, Reply};
use roost_types::sync::{MAX_SYNC_BODY, MAX_WAIT_MS};
use roost_types::{NodeId, SyncRequest, SyncResponse};
use tokio::time::{Instant, timeout_at};

use super::id_of;
use crate::api::auth::Caller;
use crate::api::extract::JsonBody;
use crate::api::problem::{ApiError, ApiResult, json};
use crate::clock;
use crate::state::App;

/// How long new names wait for more of them: a launch of many instances tells every node of them a few times a second,
/// not once for each.
const NAMES_GATHER: Duration = Duration::from_millis(250);

/// The handler.
pub async fn sync(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<SyncRequest, MAX_SYNC_BODY>,
) -> ApiResult<Response> {
    let node = id_of(&app, &caller)?;
    let deadline = Instant::now() + Duration::from_millis(request.wait_ms.min(MAX_WAIT_MS).into());
    let grants = request.images.as_ref().map_or(0, |traffic| traffic.grants);
    let (applied, names, polls) = (request.applied_generation, request.names_generation, request.wait_ms > 0);
    let answer = app.core.submit(Command::Sync { node, request: Box::new(request) }).await?;
    let Reply::Synced { want_full, .. } = answer.reply else {
        return Err(ApiError::internal("sync", &"the model answered something else"));
    };
    let response =
        wait_for_news(&app, &caller, node, Poll { applied, names, grants, polls, want_full, deadline }).await?;
    json(StatusCode::OK, &response)
}

/// What an agent waits for.
struct Poll {
    /// Generation of the desired set that it has.
    applied: u64,
    /// Generation of the table of names that it has.
    names: u64,
    /// Generation of the grants that it has.
    grants: u64,
    /// It holds the connection for news; only such a request is given streams to dial.
    polls: bool,
    /// It must send everything: said at once.
    want_full: bool,
    /// When it is answered in any case.
    deadline: Instant,
}

async fn wait_for_news(app: &App, caller: &Caller, node: NodeId, mut poll: Poll) -> ApiResult<SyncResponse> {
    let listener = app.core.listen_node(node);
    loop {
        let news = listener.notified();
        let snapshot = app.core.snapshot();
        let generation =
            snapshot.desired_generation(node).ok_or_else(|| ApiError::not_found("node", caller.0.as_str()))?;
        let streams = if poll.polls { app.streams.offer(node) } else { Vec::new() };
        let is_new = generation != poll.applied;
        let is_granted = poll.polls && snapshot.cluster.grants_generation(node) != poll.grants;
        if is_new || is_granted || poll.want_full || !streams.is_empty() || Instant::now() >= poll.deadline {
            let desired = if is_new { snapshot.desired_set(node) } else { None };
            // Only the lane that polls is told names, so that it knows which the agent has.
            let names = if poll.polls { snapshot.names(node, poll.names) } else { None };
            let grants = if poll.polls { snapshot.cluster.image_grants(node, poll.grants, clock::now()) } else { None };
            let (node, want_full) = (caller.0.clone(), poll.want_full);
            return Ok(SyncResponse { node, generation, desired, streams, want_full, names, grants });
        }
        if poll.polls && snapshot.cluster.names_generation(node) != poll.names {
            poll.deadline = poll.deadline.min(Instant::now() + NAMES_GATHER);
        }
        // Woken or not, the loop looks again.
        let _ = timeout_at(poll.deadline, news).await;
    }
}
