//! The agents' side of the controller: `/agent/v1/…`, entered only with a node's secret.
//!
//! The node is known from its credential, never from what it says: it may report and fetch only what is its own.

pub mod file_stream;
mod first_boot;
mod images;
mod layers;
pub mod streams;
mod sync;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use roost_types::NodeId;

use crate::api::auth::{Caller, require_node};
use crate::api::problem::{ApiError, ApiResult, no_such_method};
use crate::state::App;

/// Every route of the agents.
pub fn router(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/agent/v1/sync", post(sync::sync))
        .route("/agent/v1/images/{digest}", get(images::image))
        .route("/agent/v1/images/{digest}/source", post(images::source))
        .route("/agent/v1/allocations/{allocation}/first-boot", get(first_boot::first_boot))
        .route("/agent/v1/layers/{allocation}", get(layers::layer))
        .route("/agent/v1/streams/{id}", get(streams::dial))
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(app), require_node))
}

/// The id of the node that asks.
fn id_of(app: &App, caller: &Caller) -> ApiResult<NodeId> {
    Ok(app.core.snapshot().cluster.find_node(caller.0.as_str()).map_err(ApiError)?.id)
}
