//! `/v1/instances/{i}/files?path=`: files of a running instance, read, written, listed and removed.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use roost_types::file::{FileAttributes, FileInfo, FileKind, FileRequest, check_path};
use roost_types::stream::StreamKind;
use roost_types::{Code, Page, Problem};
use serde::Deserialize;

use super::extract::{Query, Ref, declared_length};
use super::problem::{ApiError, ApiResult};
use crate::agents::file_stream::FileStream;
use crate::state::App;

/// The last id that an instance has.
const LAST_ID: u32 = 65_535;

/// What to read.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadQuery {
    /// Path inside the instance, from its root.
    pub path: String,
    /// As a tar archive, with everything below it. Its names begin with the last part of the path.
    #[serde(default)]
    pub archive: bool,
    /// Follow the last part of the path when it is a symbolic link. Without `archive` it always is.
    #[serde(default)]
    pub follow: bool,
}

/// What to write, and how.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WriteQuery {
    /// Path inside the instance, from its root.
    pub path: String,
    /// Mode in octal digits. Default: that of what is replaced, else 0644, for a directory 0755.
    pub mode: Option<String>,
    /// Owner inside the instance, 0 to 65535. Default: that of what is replaced, else 0.
    pub uid: Option<u32>,
    /// Group inside the instance, 0 to 65535. Default: that of what is replaced, else 0.
    pub gid: Option<u32>,
    /// Make the directories above it where they lack.
    #[serde(default)]
    pub parents: bool,
    /// Make a directory; the body is empty.
    #[serde(default)]
    pub directory: bool,
    /// The body is a tar archive to unpack into the directory `path`.
    #[serde(default)]
    pub archive: bool,
}

/// What to remove.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Path inside the instance, from its root. A symbolic link is removed itself.
    pub path: String,
    /// A directory with everything below it.
    #[serde(default)]
    pub recursive: bool,
}

/// Reads a file, lists a directory, or packs either as a tar archive. `X-Roost-Type`, `X-Roost-Mode`, `X-Roost-Uid`,
/// `X-Roost-Gid` and `X-Roost-Modified` tell what it is; `HEAD` tells only that.
#[utoipa::path(get, path = "/v1/instances/{instance}/files", tag = "files",
    params(("instance" = String, Path, description = "Name or id"), ReadQuery),
    responses((status = 200, description = "A file's bytes, a tar archive, or the entries of a directory",
            content((Page<FileInfo> = "application/json"), (String = "application/octet-stream"),
                (String = "application/x-tar"))),
        (status = 400, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn read(
    State(app): State<Arc<App>>,
    Ref(instance): Ref,
    Query(query): Query<ReadQuery>,
) -> ApiResult<Response> {
    let path = checked(query.path)?;
    let archive = query.archive;
    let request = if archive { FileRequest::Pack { path, follow: query.follow } } else { FileRequest::Read { path } };
    let mut stream = open(&app, &instance, request).await?;
    let info = stream.info().await?;
    let mut response = if archive {
        content_of(stream.content(), "application/x-tar")
    } else if info.kind == FileKind::Directory {
        content_of(as_page(stream.content()), "application/json")
    } else {
        let mut response = content_of(stream.content(), "application/octet-stream");
        // Files of the kernel's own say that they are empty and are not.
        if info.size_bytes > 0 {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(info.size_bytes));
        }
        response
    };
    describe(response.headers_mut(), &info);
    Ok(response)
}

/// Writes a file in one step, makes a directory, or unpacks an archive into one.
#[utoipa::path(put, path = "/v1/instances/{instance}/files", tag = "files",
    params(("instance" = String, Path, description = "Name or id"), WriteQuery,
        ("Content-Length" = Option<u64>, Header, description = "Needed, except with `archive`")),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 204), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 411, body = Problem),
        (status = 413, body = Problem), (status = 503, body = Problem), (status = 507, body = Problem)))]
pub async fn write(
    State(app): State<Arc<App>>,
    Ref(instance): Ref,
    Query(query): Query<WriteQuery>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<StatusCode> {
    let attributes = attributes(&query)?;
    let path = checked(query.path)?;
    let parents = query.parents;
    let most = disk_of(&app, &instance)?;
    let request = match (query.directory, query.archive) {
        (true, true) => return Err(bad("archive", "`directory` and `archive` exclude each other")),
        (true, false) => FileRequest::MakeDirectory { path, attributes, parents },
        (false, true) => FileRequest::Unpack { path, max_bytes: most },
        (false, false) => {
            let detail = "say how long the file is with Content-Length, so that room can be made sure of";
            let bytes = declared_length(&headers).ok_or_else(|| ApiError::new(Code::LengthRequired, detail))?;
            if bytes > most {
                let detail = format!("the file has {bytes} bytes, and the instance's disk only {most}");
                return Err(ApiError::new(Code::BodyTooLarge, detail));
            }
            FileRequest::Write { path, attributes, parents, bytes }
        }
    };
    let has_body = !query.directory;
    let stream = open(&app, &instance, request).await?;
    if has_body {
        stream.feed(body).await?
    } else {
        stream.end().await?
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a file, a link, or a directory.
#[utoipa::path(delete, path = "/v1/instances/{instance}/files", tag = "files",
    params(("instance" = String, Path, description = "Name or id"), DeleteQuery),
    responses((status = 204), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Ref(instance): Ref,
    Query(query): Query<DeleteQuery>,
) -> ApiResult<StatusCode> {
    let request = FileRequest::Delete { path: checked(query.path)?, recursive: query.recursive };
    open(&app, &instance, request).await?.end().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn open(app: &App, instance: &str, request: FileRequest) -> ApiResult<FileStream> {
    let (node, allocation) = app.core.snapshot().running(instance)?;
    let socket = app.streams.open(&app.core, node, allocation, StreamKind::Files(request)).await?;
    Ok(FileStream::new(socket))
}

/// What the instance may have on its disk, in bytes.
fn disk_of(app: &App, instance: &str) -> ApiResult<u64> {
    let snapshot = app.core.snapshot();
    let (_, allocation) = snapshot.running(instance)?;
    let row = snapshot.cluster.allocation(allocation);
    let none = || ApiError::not_found("allocation", &allocation.to_string());
    Ok(row.ok_or_else(none)?.spec.resources.disk_bytes.0)
}

fn checked(path: String) -> ApiResult<String> {
    match check_path(&path) {
        Ok(_) => Ok(path),
        Err(detail) => Err(bad("path", &detail)),
    }
}

fn attributes(query: &WriteQuery) -> ApiResult<FileAttributes> {
    let mode = query.mode.as_deref().map(|text| {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.ok_or_else(|| bad("mode", &format!("'{text}' is not a mode: write up to four octal digits, like 0644")))
    });
    for (name, id) in [("uid", query.uid), ("gid", query.gid)] {
        if id.is_some_and(|id| id > LAST_ID) {
            return Err(bad(name, &format!("an instance has the ids 0 to {LAST_ID}")));
        }
    }
    Ok(FileAttributes { mode: mode.transpose()?, uid: query.uid, gid: query.gid })
}

fn bad(field: &str, detail: &str) -> ApiError {
    ApiError(Problem::new(Code::InvalidQuery, detail).field(field))
}

fn content_of(content: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static, kind: &'static str) -> Response {
    let mut response = Response::new(Body::from_stream(content));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A JSON list as the page that lists of this API are.
fn as_page(
    list: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let one = |text: &'static str| futures_util::stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
    one("{\"items\":").chain(list).chain(one(",\"next_cursor\":null}"))
}

fn describe(headers: &mut HeaderMap, info: &FileInfo) {
    for (name, value) in [
        ("x-roost-type", info.kind.as_str().to_owned()),
        ("x-roost-mode", info.mode.clone()),
        ("x-roost-uid", info.uid.to_string()),
        ("x-roost-gid", info.gid.to_string()),
        ("x-roost-modified", info.modified_at.to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(mode: &str, uid: u32) -> WriteQuery {
        WriteQuery {
            path: "/x".into(),
            mode: Some(mode.into()),
            uid: Some(uid),
            gid: None,
            parents: false,
            directory: false,
            archive: false,
        }
    }

    #[test]
    fn modes_are_octal_and_ids_the_instances_own() {
        assert_eq!(attributes(&query("4755", 7)).unwrap().mode, Some(0o4755));
        for (mode, uid, field) in [("0888", 0, "mode"), ("77777", 0, "mode"), ("-1", 0, "mode"), ("644", 65_536, "uid")]
        {
            let problem = attributes(&query(mode, uid)).unwrap_err().0;
            assert_eq!((problem.code, problem.field.as_deref()), (Code::InvalidQuery, Some(field)));
        }
    }
}
