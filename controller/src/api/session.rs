//! `/v1/session`: the dashboard exchanges a token once for a cookie that scripts cannot read.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roost_types::{Code, Problem};
use serde::Deserialize;

use super::auth::{SESSION_COOKIE, cookie, same_origin};
use super::extract::JsonBody;
use super::problem::{ApiError, ApiResult};
use crate::credentials::SESSION_TIME;
use crate::state::App;

/// `POST /v1/session`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The token.
    token: String,
}

/// Begins a session.
#[utoipa::path(post, path = "/v1/session", tag = "session", request_body = SignIn,
    responses((status = 204), (status = 401, body = Problem)), security(()))]
pub async fn sign_in(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<SignIn>,
) -> ApiResult<Response> {
    if headers.contains_key(header::ORIGIN) && !same_origin(&headers) {
        return Err(ApiError::new(Code::Forbidden, "a session is begun by the dashboard itself"));
    }
    if !app.credentials.is_admin(&request.token) {
        return Err(ApiError::new(Code::Unauthorized, "the token is not valid"));
    }
    let begun = app.sessions.begin(crate::clock::now());
    let secret = begun.map_err(|cause| ApiError::internal("beginning a session", &cause))?;
    Ok(with_cookie(&secret, SESSION_TIME.as_secs()))
}

/// Ends the session.
#[utoipa::path(delete, path = "/v1/session", tag = "session", responses((status = 204)), security(()))]
pub async fn sign_out(State(app): State<Arc<App>>, headers: HeaderMap) -> ApiResult<Response> {
    if headers.contains_key(header::ORIGIN) && !same_origin(&headers) {
        return Err(ApiError::new(Code::Forbidden, "a session is ended by the dashboard itself"));
    }
    if let Some(secret) = cookie(&headers, SESSION_COOKIE) {
        app.sessions.end(secret);
    }
    Ok(with_cookie("", 0))
}

fn with_cookie(value: &str, seconds: u64) -> Response {
    let text = format!("{SESSION_COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}");
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(cookie) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
