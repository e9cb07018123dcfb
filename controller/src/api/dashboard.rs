//! The dashboard's files, embedded in the program. They use only the public API and load nothing from elsewhere.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::problem::no_such_path;

/// The files of `controller/dashboard`.
#[derive(RustEmbed)]
#[folder = "dashboard/"]
struct Files;

/// Nothing but what this controller serves.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// `GET /`.
pub async fn index(headers: HeaderMap) -> Response {
    respond("index.html", &headers).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

/// Every path that is no route: a file of the dashboard, or nothing.
pub async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let reads = matches!(method, Method::GET | Method::HEAD);
    match respond(uri.path().trim_start_matches('/'), &headers).filter(|_| reads) {
        Some(response) => response,
        None => no_such_path(uri).await.into_response(),
    }
}

fn respond(path: &str, headers: &HeaderMap) -> Option<Response> {
    let file = Files::get(path)?;
    let etag = format!("\"{}\"", &crate::credentials::hex(&file.metadata.sha256_hash())[..32]);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|known| known.contains(&etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(file.data))
    };
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(path)));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        fields.insert(header::ETAG, etag);
    }
    Some(response)
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "webmanifest" => "application/json",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}
