//! `/v1/instances/{i}/snapshots`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use roost_model::{Command, Reply};
use roost_types::{CreateSnapshot, InstanceId, Operation, OperationId, Page, Problem, Snapshot, SnapshotId};

use super::extract::{JsonBody, Ref, RefBelow};
use super::instances::{slow, unexpected};
use super::problem::{ApiError, ApiResult, json};
use super::wait;
use crate::core::Core;
use crate::state::App;

/// Lists the snapshots of an instance, oldest first; never more than 32.
#[utoipa::path(get, path = "/v1/instances/{instance}/snapshots", tag = "snapshots",
    params(("instance" = String, Path, description = "Name or id")),
    responses((status = 200, body = Page<Snapshot>), (status = 404, body = Problem)))]
pub async fn list(State(app): State<Arc<App>>, Ref(instance): Ref) -> ApiResult<Response> {
    let snapshot = app.core.snapshot();
    let items = snapshot.cluster.find_instance(&instance)?.snapshots.clone();
    json(StatusCode::OK, &Page { items, next_cursor: None })
}

/// Keeps the files of an instance as they are now. An instance that runs is paused while its node copies them.
#[utoipa::path(post, path = "/v1/instances/{instance}/snapshots", tag = "snapshots", request_body = CreateSnapshot,
    params(("instance" = String, Path, description = "Name or id"), ("Prefer" = Option<String>, Header)),
    responses((status = 201, body = Snapshot), (status = 202, body = Operation), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn create(
    State(app): State<Arc<App>>,
    Ref(instance): Ref,
    headers: HeaderMap,
    JsonBody(request): JsonBody<CreateSnapshot>,
) -> ApiResult<Response> {
    let wait = wait::preferred(&headers)?;
    let (instance, snapshot, operation) =
        begin(&app.core, Command::CreateSnapshot { instance, name: request.name }).await?;
    wait::answer(&app.core, operation, wait, || made(&app.core, instance, snapshot)).await
}

fn made(core: &Core, instance: InstanceId, id: SnapshotId) -> ApiResult<Response> {
    let snapshot = core.snapshot();
    let row = snapshot.cluster.find_instance(&instance.to_string())?;
    let found = row.snapshots.iter().find(|snapshot| snapshot.id == id);
    json(StatusCode::CREATED, found.ok_or_else(|| ApiError::not_found("snapshot", &id.to_string()))?)
}

/// Deletes a snapshot.
#[utoipa::path(delete, path = "/v1/instances/{instance}/snapshots/{snapshot}", tag = "snapshots",
    params(("instance" = String, Path, description = "Name or id"),
        ("snapshot" = String, Path, description = "Name or id"), ("Prefer" = Option<String>, Header)),
    responses((status = 202, body = Operation), (status = 204), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    RefBelow { of: instance, which: snapshot }: RefBelow,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let wait = wait::preferred(&headers)?;
    let (.., operation) = begin(&app.core, Command::DeleteSnapshot { instance, snapshot }).await?;
    wait::answer(&app.core, operation, wait, || {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    })
    .await
}

/// Puts the files of an instance back to those of a snapshot. One that runs is stopped before and started after.
#[utoipa::path(post, path = "/v1/instances/{instance}/snapshots/{snapshot}/restore", tag = "snapshots",
    params(("instance" = String, Path, description = "Name or id"),
        ("snapshot" = String, Path, description = "Name or id"), ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = roost_types::Instance), (status = 202, body = Operation),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn restore(
    State(app): State<Arc<App>>,
    RefBelow { of: instance, which: snapshot }: RefBelow,
    headers: HeaderMap,
) -> ApiResult<Response> {
    slow(&app, &headers, Command::RestoreSnapshot { instance, snapshot }).await
}

async fn begin(core: &Core, command: Command) -> ApiResult<(InstanceId, SnapshotId, OperationId)> {
    match core.submit(command).await?.reply {
        Reply::Snapshot { instance, snapshot, operation } => Ok((instance, snapshot, operation)),
        _ => Err(unexpected()),
    }
}
