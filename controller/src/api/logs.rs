//! `GET /v1/instances/{i}/logs`: what the first process wrote, plain bytes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use roost_types::Problem;
use roost_types::stream::StreamKind;
use serde::Deserialize;

use super::extract::{Query, Ref};
use super::problem::ApiResult;
use crate::agents::streams::payload;
use crate::state::App;

/// Which lines.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// Keep sending new lines.
    #[serde(default)]
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u32>,
}

/// What the instance's first process wrote, standard output and error as they came.
#[utoipa::path(get, path = "/v1/instances/{instance}/logs", tag = "instances",
    params(("instance" = String, Path, description = "Name (`NAME.PROJECT` outside the default project) or id"), LogsQuery),
    responses((status = 200, content_type = "application/octet-stream"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn logs(
    State(app): State<Arc<App>>,
    Ref(instance): Ref,
    Query(query): Query<LogsQuery>,
) -> ApiResult<Response> {
    let (node, allocation) = app.core.snapshot().placed(&instance)?;
    let kind = StreamKind::Logs { follow: query.follow, tail: query.tail };
    let agent = app.streams.open(&app.core, node, allocation, kind).await?;
    let mut response = Response::new(Body::from_stream(payload(agent)));
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
