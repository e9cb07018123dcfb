//! `GET /v1/instances/{i}/stats`: what an instance uses, asked of its node.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::http::StatusCode;
use axum::response::Response;
use roost_types::stream::{StreamEnd, StreamKind, channel};
use roost_types::{Code, InstanceStats, Problem};

use super::extract::Ref;
use super::problem::{ApiResult, json};
use crate::state::App;

/// What a running instance uses: processor, memory, disks, network, pressure. Counters count from its start.
#[utoipa::path(get, path = "/v1/instances/{instance}/stats", tag = "instances",
    params(("instance" = String, Path, description = "Name or id")),
    responses((status = 200, body = InstanceStats), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 503, body = Problem)))]
pub async fn stats(State(app): State<Arc<App>>, Ref(instance): Ref) -> ApiResult<Response> {
    let (node, allocation) = app.core.snapshot().running(&instance)?;
    let agent = app.streams.open(&app.core, node, allocation, StreamKind::Stats).await?;
    json(StatusCode::OK, &answer(agent).await?)
}

async fn answer(mut agent: WebSocket) -> Result<InstanceStats, Problem> {
    let garbled = || Problem::new(Code::Internal, "the node's answer cannot be understood");
    while let Some(Ok(message)) = agent.recv().await {
        let Message::Binary(bytes) = message else { continue };
        match bytes.first() {
            Some(&channel::STDOUT) => return serde_json::from_slice(&bytes[1..]).map_err(|_| garbled()),
            Some(&channel::END) => {
                let end: StreamEnd = serde_json::from_slice(&bytes[1..]).map_err(|_| garbled())?;
                return Err(match end.error {
                    Some(error) => Problem::new(end.code.unwrap_or(Code::Unavailable), error),
                    None => garbled(),
                });
            }
            Some(_) | None => {}
        }
    }
    Err(Problem::new(Code::NodeUnreachable, "the node's stream broke off"))
}
