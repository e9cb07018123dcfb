//! Sending an image file, whole or a range of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::api::problem::{ApiError, ApiResult};

/// Bytes read at a time: what one download holds in memory.
const CHUNK: usize = 64 * 1024;

/// Answers with a file, honouring `Range: bytes=A-[B]`; what is sent is added to `sent`.
///
/// # Errors
/// When the file cannot be opened.
pub async fn serve_file(
    path: &Path,
    etag: &str,
    headers: &HeaderMap,
    sent: Option<Arc<AtomicU64>>,
) -> ApiResult<Response> {
    let mut file = File::open(path).await.map_err(|e| ApiError::internal("opening the image", &e))?;
    let size = file.metadata().await.map_err(|e| ApiError::internal("reading the image", &e))?.len();
    let wanted = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).map(|text| parse(text, size));
    let (status, first, length) = match wanted {
        None | Some(Wanted::Whole) => (StatusCode::OK, 0, size),
        Some(Wanted::Part { first, length }) => (StatusCode::PARTIAL_CONTENT, first, length),
        Some(Wanted::Nothing) => return Ok(not_satisfiable(size)),
    };
    file.seek(std::io::SeekFrom::Start(first)).await.map_err(|e| ApiError::internal("reading the image", &e))?;
    let mut response = Response::new(Body::from_stream(chunks(file, length, sent)));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        fields.insert(header::ETAG, etag);
    }
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::from_str(&format!("bytes {first}-{}/{size}", first + length - 1))
    {
        fields.insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part { first: u64, length: u64 },
    Nothing,
}

/// One range; anything this server does not know is the whole file, as RFC 9110 allows.
fn parse(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::Whole;
    };
    let (first, last) = match (first.parse::<u64>(), last) {
        (Ok(first), "") => (first, size.saturating_sub(1)),
        (Ok(first), last) => match last.parse::<u64>() {
            Ok(last) if last >= first => (first, last.min(size.saturating_sub(1))),
            _ => return Wanted::Whole,
        },
        (Err(_), last) if first.is_empty() => match last.parse::<u64>() {
            Ok(0) => return Wanted::Nothing,
            Ok(count) => (size.saturating_sub(count), size.saturating_sub(1)),
            Err(_) => return Wanted::Whole,
        },
        (Err(_), _) => return Wanted::Whole,
    };
    if first >= size { Wanted::Nothing } else { Wanted::Part { first, length: last - first + 1 } }
}

fn not_satisfiable(size: u64) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    if let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}

fn chunks(
    file: File,
    length: u64,
    sent: Option<Arc<AtomicU64>>,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold((file, length, sent), |(mut file, left, sent)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
        let count = file.read(&mut chunk).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(count);
        if let Some(sent) = &sent {
            sent.fetch_add(count as u64, Ordering::Relaxed);
        }
        Ok(Some((Bytes::from(chunk), (file, left - count as u64, sent))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let part = |first, length| Wanted::Part { first, length };
        for (text, wanted) in [
            ("bytes=0-", part(0, 100)),
            ("bytes=10-19", part(10, 10)),
            ("bytes=90-500", part(90, 10)),
            ("bytes=-30", part(70, 30)),
            ("bytes=-500", part(0, 100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
        ] {
            assert_eq!(parse(text, 100), wanted, "{text}");
        }
    }
}
