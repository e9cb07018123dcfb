//! What the controller says of itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use roost_model::NodeRow;
use roost_types::size::SizeView;
use roost_types::{Code, Page, Problem, Size};
use serde::Serialize;

use super::problem::{ApiError, ApiResult, json};
use crate::state::App;

/// `GET /v1/`.
#[derive(Serialize, utoipa::ToSchema)]
pub struct About {
    /// Version of the controller.
    version: &'static str,
    /// What this controller can do beyond the rest: `dev` in a rack in a box, `power` with a power driver.
    features: Vec<&'static str>,
}

/// Version and features.
#[utoipa::path(get, path = "/v1/", tag = "service", responses((status = 200, body = About)))]
pub async fn about(State(app): State<Arc<App>>) -> ApiResult<Response> {
    let features = [("dev", app.dev.is_some()), ("power", app.power.is_present())];
    let features = features.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
    json(StatusCode::OK, &About { version: env!("CARGO_PKG_VERSION"), features })
}

/// Lists the sizes.
#[utoipa::path(get, path = "/v1/sizes", tag = "service", responses((status = 200, body = Page<SizeView>)))]
pub async fn sizes() -> ApiResult<Response> {
    let items = Size::ALL.into_iter().map(|name| SizeView { name, resources: name.resources() }).collect();
    json(StatusCode::OK, &Page { items, next_cursor: None })
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, body = String)), security(()))]
pub async fn health() -> &'static str {
    "ok\n"
}

/// The API can be used: state is loaded and the core answers. A rack in a box is ready when its first image is there and
/// every board has joined.
#[utoipa::path(get, path = "/readyz", tag = "service",
    responses((status = 200, body = String), (status = 503, body = Problem)), security(()))]
pub async fn ready(State(app): State<Arc<App>>) -> ApiResult<&'static str> {
    if app.dev.is_some() {
        let snapshot = app.core.snapshot();
        let unheard = |row: &&Arc<NodeRow>| snapshot.cluster.live(row.id).is_none_or(|live| live.last_seen.is_none());
        let missing = snapshot.cluster.nodes().filter(unheard).count();
        if missing > 0 || snapshot.cluster.images().next().is_none() {
            let detail =
                format!("{missing} boards have not joined, {} images are there", snapshot.cluster.images().count());
            return Err(ApiError::new(Code::Unavailable, detail));
        }
    }
    Ok("ready\n")
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses((status = 200)), security(()))]
pub async fn openapi() -> ApiResult<Response> {
    json(StatusCode::OK, &super::document())
}
