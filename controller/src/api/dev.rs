//! `POST /v1/dev/commands`: only in a rack in a box.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use roost_types::dev::{DevCommand, DevReply};
use roost_types::{Code, Problem};

use super::extract::JsonBody;
use super::problem::{ApiError, ApiResult, json};
use crate::state::App;

/// Asks the supervisor of the box to do something.
#[utoipa::path(post, path = "/v1/dev/commands", tag = "dev", request_body = DevCommand,
    responses((status = 200, body = DevReply), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 503, body = Problem)))]
pub async fn command(State(app): State<Arc<App>>, JsonBody(command): JsonBody<DevCommand>) -> ApiResult<Response> {
    let Some(socket) = &app.dev else {
        return Err(ApiError::new(Code::NotFound, "this controller does not run a rack in a box (`roost dev`)"));
    };
    let reply = socket.send(&command).await?;
    if !reply.ok {
        return Err(ApiError::new(Code::Conflict, &reply.message));
    }
    json(StatusCode::OK, &reply)
}
