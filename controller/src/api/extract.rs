//! Reading requests: JSON bodies, path references and query strings, each refused with a stable code and the field.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use roost_types::{Code, MAX_JSON_BODY, Problem};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::problem::ApiError;

/// A JSON body of at most `LIMIT` bytes.
pub struct JsonBody<T, const LIMIT: usize = MAX_JSON_BODY>(pub T);

/// A JSON body and the bytes it was read from, for a fingerprint.
pub struct RawJsonBody<T, const LIMIT: usize = MAX_JSON_BODY>(pub T, pub Bytes);

impl<S: Send + Sync, T: DeserializeOwned, const LIMIT: usize> FromRequest<S> for JsonBody<T, LIMIT> {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes = read_json_body(request, LIMIT).await?;
        Ok(Self(parse_json(&bytes)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned, const LIMIT: usize> FromRequest<S> for RawJsonBody<T, LIMIT> {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes = read_json_body(request, LIMIT).await?;
        Ok(Self(parse_json(&bytes)?, bytes))
    }
}

/// A JSON body that may be left out.
pub struct OptionalJsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(Self(parse_json(&read_json_body(request, MAX_JSON_BODY).await?)?));
        }
        match read_limited(request.into_body(), MAX_JSON_BODY).await? {
            bytes if bytes.is_empty() => Ok(Self(T::default())),
            _ => Err(ApiError::new(Code::UnsupportedMediaType, "send the body with `Content-Type: application/json`")),
        }
    }
}

/// The value of the path's last `{…}`: a name or an id.
pub struct Ref(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Ref {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::new(Code::NotFound, "the path is not UTF-8 text"))?;
        Ok(Self(text))
    }
}

/// The values of the path's two `{…}`: names or ids.
pub struct RefBelow {
    /// The first.
    pub of: String,
    /// The second, which belongs to the first.
    pub which: String,
}

impl<S: Send + Sync> FromRequestParts<S> for RefBelow {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((of, which)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::new(Code::NotFound, "the path is not UTF-8 text"))?;
        Ok(Self { of, which })
    }
}

/// The query string as `T`.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let axum::extract::Query(value) = axum::extract::Query::<T>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError(query_problem(&rejection.body_text())))?;
        Ok(Self(value))
    }
}

fn query_problem(text: &str) -> Problem {
    let detail = text.trim_start_matches("Failed to deserialize query string: ").to_owned();
    let problem = Problem::new(Code::InvalidQuery, format!("the query string cannot be used: {detail}"));
    let named = detail.split_once(": ").map(|(field, _)| field).filter(|field| !field.contains([' ', '`']));
    match named.or_else(|| quoted(&detail)) {
        Some(field) => problem.field(field),
        None => problem,
    }
}

async fn read_json_body(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    if !is_json(request.headers()) {
        return Err(ApiError::new(Code::UnsupportedMediaType, "send the body with `Content-Type: application/json`"));
    }
    if declared_length(request.headers()).is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    read_limited(request.into_body(), limit).await
}

/// Reads a body of at most `limit` bytes.
pub async fn read_limited(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(_) => Err(ApiError::new(Code::MalformedJson, "the body ended before it was complete")),
    }
}

/// What `Content-Length` promises.
pub fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the body says that it is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The body is over its limit.
pub fn too_large(limit: usize) -> ApiError {
    ApiError::new(Code::BodyTooLarge, format!("the body may have at most {limit} bytes"))
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // serde would take a list for a struct, field by field: an interface nobody promised.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| ApiError(json_problem(".", &error)))?;
        return Err(ApiError::new(Code::InvalidField, "the body is a list and not an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| ApiError(json_problem(&error.path().to_string(), error.inner())))?;
    deserializer.end().map_err(|error| ApiError(json_problem(".", &error)))?;
    Ok(value)
}

/// Sorts serde's error by what a client should do, and names the field.
fn json_problem(path: &str, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    if !error.is_data() {
        return Problem::new(Code::MalformedJson, format!("the body is not valid JSON: {text}"));
    }
    let named = quoted(&text).unwrap_or_default();
    let below = |name: &str| match path {
        "." | "?" => name.to_owned(),
        path if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        path => format!("{path}.{name}"),
    };
    if text.starts_with("unknown field") {
        return Problem::new(Code::UnknownField, format!("the body has a field this API does not know: {text}"))
            .field(below(named));
    }
    if text.starts_with("missing field") {
        return Problem::new(Code::MissingField, format!("the body lacks '{named}'")).field(below(named));
    }
    let problem = Problem::new(Code::InvalidField, format!("a field cannot be used: {text}"));
    if matches!(path, "." | "?") { problem } else { problem.field(path) }
}

/// What stands between the first two backticks.
fn quoted(text: &str) -> Option<&str> {
    text.split('`').nth(1)
}

#[cfg(test)]
mod tests {
    use roost_types::{Code, CreateInstance};

    use super::*;

    #[test]
    fn bad_bodies_name_their_code_and_field() {
        let table: &[(&str, Code, Option<&str>)] = &[
            ("", Code::MalformedJson, None),
            ("{", Code::MalformedJson, None),
            ("{} {}", Code::MalformedJson, None),
            (r#"{"image":"a"} x"#, Code::MalformedJson, None),
            ("[", Code::MalformedJson, None),
            ("[]", Code::InvalidField, None),
            (r#"[null,"a"]"#, Code::InvalidField, None),
            ("7", Code::InvalidField, None),
            (r#"{"image":7}"#, Code::InvalidField, Some("image")),
            (r#"{"image":"a","colour":"red"}"#, Code::UnknownField, Some("colour")),
            (r#"{"image":"a","constraints":{"nod":"x"}}"#, Code::UnknownField, Some("constraints.nod")),
            (r#"{"image":"a","size":"huge"}"#, Code::InvalidField, Some("size")),
            (r#"{"image":"a","publish":["80:80","x"]}"#, Code::InvalidField, Some("publish[1]")),
            (r#"{"image":"a","cpu_millis":-1}"#, Code::InvalidField, Some("cpu_millis")),
            (r#"{"image":"a","image":"b"}"#, Code::InvalidField, None),
        ];
        for (body, code, field) in table {
            let problem = parse_json::<CreateInstance>(body.as_bytes()).unwrap_err().0;
            assert_eq!(problem.code, *code, "{body}: {problem}");
            if field.is_some() {
                assert_eq!(problem.field.as_deref(), *field, "{body}: {problem}");
            }
        }
    }
}
