//! What the controller says of itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use roost_types::size::SizeView;
use roost_types::{Page, Size};
use serde::Serialize;

use super::problem::{ApiResult, json};
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

/// The API can be used: state is loaded and the core answers.
#[utoipa::path(get, path = "/readyz", tag = "service", responses((status = 200, body = String)), security(()))]
pub async fn ready() -> &'static str {
    "ready\n"
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service", responses((status = 200)), security(()))]
pub async fn openapi() -> ApiResult<Response> {
    json(StatusCode::OK, &super::document())
}
