//! Problems as HTTP responses, so that every error of every route has the same shape.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roost_types::{Code, Problem};

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An error of a handler: a [`Problem`] that knows how to be sent.
#[derive(Debug)]
pub struct ApiError(pub Problem);

/// What handlers return.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// A problem of this kind.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Problem::new(code, detail))
    }

    /// There is no such thing.
    pub fn not_found(what: &str, name: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no {what} '{name}'"))
    }

    /// Something that cannot happen happened: the cause goes to the log, not to the caller.
    pub fn internal(step: &str, cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(step, %cause, "a request failed inside the controller");
        Self::new(Code::Internal, format!("{step} failed; the controller's log has the cause"))
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.0.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.0.code, Code::Unavailable | Code::RateLimited | Code::StoreFull) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.0.code == Code::BodyTooLarge {
            // The rest of the body is not read, so the connection cannot be used again.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A JSON response with this status.
pub fn json<T: serde::Serialize>(status: StatusCode, body: &T) -> ApiResult<Response> {
    let bytes = serde_json::to_vec(body).map_err(|cause| ApiError::internal("writing the answer", &cause))?;
    Ok(json_bytes(status, bytes))
}

/// A response whose body is JSON already.
pub fn json_bytes(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Unknown path.
pub async fn no_such_path(uri: axum::http::Uri) -> ApiError {
    ApiError::new(Code::NotFound, format!("there is nothing at {}; GET /openapi.json lists every path", uri.path()))
}

/// Known path, wrong method.
pub async fn no_such_method(method: axum::http::Method, uri: axum::http::Uri) -> ApiError {
    ApiError::new(Code::MethodNotAllowed, format!("{} does not take {method}", uri.path()))
}
