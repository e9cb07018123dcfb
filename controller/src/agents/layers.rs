//! `GET /agent/v1/layers/{allocation}`: the writable layer of a moved instance, spliced from the node that has it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use roost_types::AllocationId;
use roost_types::stream::StreamKind;

use super::id_of;
use super::streams::payload;
use crate::api::auth::Caller;
use crate::api::extract::Ref;
use crate::api::problem::{ApiError, ApiResult};
use crate::state::App;

/// The handler. A node is given only layers that its own desired set tells it to seed from.
pub async fn layer(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Ref(allocation): Ref,
) -> ApiResult<Response> {
    let none = || ApiError::not_found("layer for this node", &allocation);
    let wanted: AllocationId = allocation.parse().map_err(|_| none())?;
    let node = id_of(&app, &caller)?;
    let snapshot = app.core.snapshot();
    let set = snapshot.desired_set(node).ok_or_else(none)?;
    if !set.allocations.iter().any(|spec| spec.seed_from == Some(wanted)) {
        return Err(none());
    }
    let source = snapshot.node_of_allocation(wanted).ok_or_else(none)?;
    let stream = app.streams.open(&app.core, source, wanted, StreamKind::ExportLayer).await?;
    Ok(Response::new(Body::from_stream(payload(stream))))
}
