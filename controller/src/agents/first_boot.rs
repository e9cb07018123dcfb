//! `GET /agent/v1/allocations/{allocation}/first-boot`: what an instance is given for its first start.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::id_of;
use crate::api::auth::Caller;
use crate::api::extract::Ref;
use crate::api::problem::{ApiError, ApiResult, json};
use crate::state::App;

/// The handler. A node is given that of its own allocations only.
pub async fn first_boot(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Ref(allocation): Ref,
) -> ApiResult<Response> {
    let node = id_of(&app, &caller)?;
    let snapshot = app.core.snapshot();
    let found = allocation.parse().ok().and_then(|id| snapshot.cluster.allocation(id)).filter(|row| row.node == node);
    let row = found.and_then(|row| snapshot.cluster.first_boot(row.spec.instance));
    let row = row.ok_or_else(|| ApiError::not_found("first boot of an allocation of this node", &allocation))?;
    json(StatusCode::OK, &row.content)
}
