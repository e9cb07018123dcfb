//! `/v1/actions`: what the controller would do against heat and a person has to approve (`mode: recommend`).

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use roost_model::Command;
use roost_types::{Action, ActionId, Page, Problem};

use super::extract::{Query, Ref};
use super::paging::{ListQuery, item, page};
use super::problem::{ApiError, ApiResult};
use crate::state::App;

/// Lists the actions that wait for approval, oldest first.
#[utoipa::path(get, path = "/v1/actions", tag = "actions", params(ListQuery),
    responses((status = 200, body = Page<Action>), (status = 400, body = Problem)))]
pub async fn list(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> ApiResult<Response> {
    query.unfiltered()?;
    let (limit, after) = (query.limit()?, query.after::<ActionId>()?);
    let actions = app.core.snapshot().cluster.actions();
    let actions = actions.iter().filter(|action| after.is_none_or(|after| action.id > after));
    Ok(page(actions.map(|action| (action.id, item(action))), limit))
}

/// Approves an action: it is done now.
#[utoipa::path(post, path = "/v1/actions/{action}/approve", tag = "actions",
    params(("action" = String, Path, description = "Id")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn approve(State(app): State<Arc<App>>, Ref(action): Ref) -> ApiResult<StatusCode> {
    let id: ActionId = action.parse().map_err(|_| ApiError::not_found("action", &action))?;
    app.core.submit(Command::ApproveAction { action: id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
