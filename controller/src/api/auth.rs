//! Who is asking: bearer tokens of people, session cookies of the dashboard, secrets of nodes.
//!
//! Only SHA-256 digests of credentials are known to the controller; they are compared in constant time.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use roost_types::{Code, Name};

use super::problem::ApiError;
use crate::state::App;

/// The dashboard's cookie.
pub const SESSION_COOKIE: &str = "roost_session";

/// The node that sent a request to `/agent/v1`.
#[derive(Clone, Debug)]
pub struct Caller(pub Name);

/// Lets a request to `/v1` through when it carries a token or a session.
pub async fn require_user(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match user_may_pass(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Lets a request to `/agent/v1` through when it carries a node's secret, and notes which node's.
pub async fn require_node(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let node = bearer(request.headers()).and_then(|secret| app.credentials.node(secret));
    match node {
        Some(name) => {
            request.extensions_mut().insert(Caller(name));
            next.run(request).await
        }
        None => ApiError::new(Code::Unauthorized, "send a node's secret as `Authorization: Bearer …`").into_response(),
    }
}

fn user_may_pass(app: &App, request: &Request) -> Result<(), ApiError> {
    let headers = request.headers();
    if let Some(token) = bearer(headers) {
        return match app.credentials.is_admin(token) {
            true => Ok(()),
            false => Err(ApiError::new(Code::Unauthorized, "the token is not valid")),
        };
    }
    let Some(session) = cookie(headers, SESSION_COOKIE) else {
        return Err(ApiError::new(
            Code::Unauthorized,
            "send a token as `Authorization: Bearer TOKEN`, or sign in with POST /v1/session",
        ));
    };
    if !app.sessions.is_valid(session, crate::clock::now()) {
        return Err(ApiError::new(Code::Unauthorized, "the session has ended: sign in again"));
    }
    let reads_only = matches!(*request.method(), Method::GET | Method::HEAD) && !headers.contains_key(header::UPGRADE);
    if reads_only || same_origin(headers) {
        Ok(())
    } else {
        Err(ApiError::new(Code::Forbidden, "a write with a session cookie must come from the dashboard itself"))
    }
}

/// The token of `Authorization: Bearer …`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The value of a cookie.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Whether `Origin` names the host that was asked.
pub fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_origin_must_be_the_host() {
        for (origin, host, same) in [
            ("http://127.0.0.1:7700", "127.0.0.1:7700", true),
            ("https://Rack.local", "rack.local", true),
            ("http://evil.example", "127.0.0.1:7700", false),
            ("http://127.0.0.1:7701", "127.0.0.1:7700", false),
            ("null", "null", false),
        ] {
            assert_eq!(same_origin(&headers(&[("origin", origin), ("host", host)])), same, "{origin} {host}");
        }
        assert!(!same_origin(&headers(&[("host", "127.0.0.1:7700")])));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let found = headers(&[("cookie", "a=1; roost_session=abc; b=2")]);
        assert_eq!(cookie(&found, SESSION_COOKIE), Some("abc"));
        assert_eq!(cookie(&headers(&[("cookie", "xroost_session=abc")]), SESSION_COOKIE), None);
    }

    #[test]
    fn only_bearer_tokens_count() {
        assert_eq!(bearer(&headers(&[("authorization", "bearer abc")])), Some("abc"));
        assert_eq!(bearer(&headers(&[("authorization", "Basic abc")])), None);
    }
}
