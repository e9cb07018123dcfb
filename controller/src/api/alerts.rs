//! `/v1/alerts`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use roost_model::{Command, Reply};
use roost_types::{Alert, AlertId, Page, Problem};

use super::extract::{Query, Ref};
use super::instances::unexpected;
use super::paging::{ListQuery, item, page};
use super::problem::{ApiError, ApiResult, json};
use crate::state::App;

/// Lists alerts, oldest first.
#[utoipa::path(get, path = "/v1/alerts", tag = "alerts", params(ListQuery),
    responses((status = 200, body = Page<Alert>), (status = 400, body = Problem)))]
pub async fn list(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> ApiResult<Response> {
    query.unfiltered()?;
    let (limit, after) = (query.limit()?, query.after::<AlertId>()?);
    let snapshot = app.core.snapshot();
    let alerts = snapshot.alerts().filter(|alert| after.is_none_or(|after| alert.id > after));
    Ok(page(alerts.map(|alert| (alert.id, item(alert.as_ref()))), limit))
}

/// Says that a person has seen an alert.
#[utoipa::path(post, path = "/v1/alerts/{alert}/acknowledge", tag = "alerts",
    params(("alert" = String, Path, description = "Id")),
    responses((status = 200, body = Alert), (status = 404, body = Problem)))]
pub async fn acknowledge(State(app): State<Arc<App>>, Ref(alert): Ref) -> ApiResult<Response> {
    let none = || ApiError::not_found("alert", &alert);
    let id: AlertId = alert.parse().map_err(|_| none())?;
    let answer = app.core.submit(Command::AcknowledgeAlert { alert: id }).await?;
    let Reply::Alert(id) = answer.reply else { return Err(unexpected()) };
    let found = answer.snapshot.alerts().find(|alert| alert.id == id).ok_or_else(none)?;
    json(StatusCode::OK, found.as_ref())
}
