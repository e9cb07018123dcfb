//! `/v1/operations`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use roost_model::{Command, Reply};
use roost_types::{Operation, OperationId, Page, Problem};
use serde::Deserialize;

use super::extract::{Query, Ref};
use super::instances::unexpected;
use super::paging::{ListQuery, item, page};
use super::problem::{ApiError, ApiResult, json};
use super::wait::{MAX_WAIT, settled};
use crate::state::App;

/// Lists operations, oldest first.
#[utoipa::path(get, path = "/v1/operations", tag = "operations", params(ListQuery),
    responses((status = 200, body = Page<Operation>), (status = 400, body = Problem)))]
pub async fn list(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> ApiResult<Response> {
    query.unfiltered()?;
    let (limit, after) = (query.limit()?, query.after()?);
    let snapshot = app.core.snapshot();
    let items = snapshot.operations_after(after).map(|operation| (operation.id, item(operation.as_ref())));
    Ok(page(items, limit))
}

/// Shows an operation.
#[utoipa::path(get, path = "/v1/operations/{operation}", tag = "operations",
    params(("operation" = String, Path, description = "Id")),
    responses((status = 200, body = Operation), (status = 404, body = Problem)))]
pub async fn show(State(app): State<Arc<App>>, Ref(operation): Ref) -> ApiResult<Response> {
    let none = || ApiError::not_found("operation", &operation);
    let id = operation.parse().map_err(|_| none())?;
    json(StatusCode::OK, app.core.snapshot().operation(id).ok_or_else(none)?.as_ref())
}

/// Gives up an operation.
#[utoipa::path(delete, path = "/v1/operations/{operation}", tag = "operations",
    params(("operation" = String, Path, description = "Id")),
    responses((status = 200, body = Operation), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn cancel(State(app): State<Arc<App>>, Ref(operation): Ref) -> ApiResult<Response> {
    let none = || ApiError::not_found("operation", &operation);
    let id: OperationId = operation.parse().map_err(|_| none())?;
    let answer = app.core.submit(Command::CancelOperation { operation: id }).await?;
    let Reply::Operation(id) = answer.reply else { return Err(unexpected()) };
    json(StatusCode::OK, answer.snapshot.operation(id).ok_or_else(none)?.as_ref())
}

/// How long to wait.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// Seconds, at most 60; 30 when absent.
    pub timeout: Option<u64>,
}

/// Shows an operation once it is final, or as it is when the time is over.
#[utoipa::path(get, path = "/v1/operations/{operation}/wait", tag = "operations",
    params(("operation" = String, Path, description = "Id"), WaitQuery),
    responses((status = 200, body = Operation), (status = 404, body = Problem)))]
pub async fn wait(
    State(app): State<Arc<App>>,
    Ref(operation): Ref,
    Query(query): Query<WaitQuery>,
) -> ApiResult<Response> {
    let id = operation.parse().map_err(|_| ApiError::not_found("operation", &operation))?;
    let seconds = query.timeout.unwrap_or(30).min(MAX_WAIT);
    json(StatusCode::OK, settled(&app.core, id, Duration::from_secs(seconds)).await?.as_ref())
}
