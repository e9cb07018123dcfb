//! `GET /agent/v1/layers/{allocation}`: the writable layer of a moved instance, spliced from the node that has it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use roost_types::stream::StreamKind;
use roost_types::{AllocationId, AllocationSpec, SnapshotId};
use serde::Deserialize;

use super::id_of;
use super::streams::payload;
use crate::api::auth::Caller;
use crate::api::extract::{Query, Ref};
use crate::api::problem::{ApiError, ApiResult};
use crate::state::App;

/// Which layer of the allocation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerQuery {
    /// This snapshot of it; what it is now when absent.
    #[serde(default)]
    snapshot: Option<SnapshotId>,
}

/// An allocation seeds from the layer or from one snapshot of it; one that moved takes the snapshots it names too.
fn may_have(spec: &AllocationSpec, from: AllocationId, snapshot: Option<SnapshotId>) -> bool {
    let carried = |id| spec.seed_snapshot.is_none() && spec.snapshots.iter().any(|wish| wish.id == id);
    spec.seed_from == Some(from) && (spec.seed_snapshot == snapshot || snapshot.is_some_and(carried))
}

/// The handler. A node is given only layers that its own desired set tells it to seed from.
pub async fn layer(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Ref(allocation): Ref,
    Query(query): Query<LayerQuery>,
) -> ApiResult<Response> {
    let none = || ApiError::not_found("layer for this node", &allocation);
    let wanted: AllocationId = allocation.parse().map_err(|_| none())?;
    let node = id_of(&app, &caller)?;
    let snapshot = app.core.snapshot();
    let set = snapshot.desired_set(node).ok_or_else(none)?;
    if !set.allocations.iter().any(|spec| may_have(spec, wanted, query.snapshot)) {
        return Err(none());
    }
    let source = snapshot.node_of_allocation(wanted).ok_or_else(none)?;
    let stream =
        app.streams.open(&app.core, source, wanted, StreamKind::ExportLayer { snapshot: query.snapshot }).await?;
    Ok(Response::new(Body::from_stream(payload(stream))))
}
