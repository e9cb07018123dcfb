//! `GET /agent/v1/images/{digest}`: the bytes of a root file, by digest only.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use roost_types::{Code, ImageDigest};

use crate::api::extract::Ref;
use crate::api::problem::{ApiError, ApiResult};
use crate::images::serve_file;
use crate::state::App;

/// The handler.
pub async fn image(State(app): State<Arc<App>>, Ref(digest): Ref, headers: HeaderMap) -> ApiResult<Response> {
    let digest: ImageDigest = digest.parse().map_err(|why: String| ApiError::new(Code::UnknownImage, why))?;
    if app.core.snapshot().image(&digest).is_none() {
        return Err(ApiError::new(Code::UnknownImage, format!("there is no image '{digest}'")));
    }
    serve_file(&app.images.path(&digest), digest.as_str(), &headers).await
}
