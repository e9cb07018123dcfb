//! Why an instance is where it is, and where one would go.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use roost_types::{CreateInstance, Placement, Problem};

use super::extract::{JsonBody, Ref};
use super::problem::{ApiResult, json};
use crate::state::App;

/// The decision that placed an instance, or why it waits.
#[utoipa::path(get, path = "/v1/instances/{instance}/placement", tag = "placements",
    params(("instance" = String, Path, description = "Name (`NAME.PROJECT` outside the default project) or id")),
    responses((status = 200, body = Placement), (status = 404, body = Problem)))]
pub async fn of_instance(State(app): State<Arc<App>>, Ref(instance): Ref) -> ApiResult<Response> {
    json(StatusCode::OK, &app.core.snapshot().placement(&instance)?)
}

/// Where such an instance would go now; nothing is changed.
#[utoipa::path(post, path = "/v1/placements", tag = "placements", request_body = CreateInstance,
    responses((status = 200, body = Placement), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub async fn dry_run(State(app): State<Arc<App>>, JsonBody(request): JsonBody<CreateInstance>) -> ApiResult<Response> {
    json(StatusCode::OK, &app.core.snapshot().dry_run(&request, crate::clock::now())?)
}
