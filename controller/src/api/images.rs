//! `/v1/images`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use roost_model::{Command, Reply};
use roost_types::image::{MAX_IMAGE_BYTES, RootfsFormat};
use roost_types::{Image, ImageManifest, Page, Problem};

use super::extract::{Query, Ref, declared_length};
use super::instances::unexpected;
use super::paging::{ListQuery, item, page};
use super::problem::{ApiError, ApiResult, json};
use crate::images::{serve_file, too_large};
use crate::state::App;

/// Lists images, by digest.
#[utoipa::path(get, path = "/v1/images", tag = "images", params(ListQuery),
    responses((status = 200, body = Page<Image>), (status = 400, body = Problem)))]
pub async fn list(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> ApiResult<Response> {
    query.unfiltered()?;
    let (limit, after) = (query.limit()?, query.after()?);
    let snapshot = app.core.snapshot();
    let items = snapshot.images().filter(|image| after.as_ref().is_none_or(|after| image.digest > *after));
    Ok(page(items.map(|image| (image.digest.clone(), item(image.as_ref()))), limit))
}

/// Stores an image. The body is the root file; the query says what it is.
#[utoipa::path(post, path = "/v1/images", tag = "images",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The root file"),
    params(("alias" = String, Query, description = "The alias that will stand for it"),
        ("arch" = roost_types::Arch, Query), ("format" = RootfsFormat, Query),
        ("init" = Option<String>, Query, description = "Path of the image's own init"),
        ("description" = Option<String>, Query, description = "One line for people")),
    responses((status = 201, body = Image), (status = 400, body = Problem), (status = 413, body = Problem),
        (status = 507, body = Problem)))]
pub async fn create(
    State(app): State<Arc<App>>,
    Query(manifest): Query<ImageManifest>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    if declared_length(&headers).is_some_and(|length| length > MAX_IMAGE_BYTES) {
        return Err(ApiError(too_large()));
    }
    let staged = app.images.stage(body, manifest.format).await?;
    let digest = staged.digest.clone();
    let image = Image {
        digest: digest.clone(),
        aliases: vec![manifest.alias],
        arch: manifest.arch,
        format: manifest.format,
        size_bytes: staged.size,
        init: manifest.init,
        description: manifest.description,
        created_at: crate::clock::now(),
    };
    let _changing = app.images.change().await;
    let known = app.core.snapshot().image(&digest).is_some();
    if !known {
        app.images.keep(&staged).await?;
    }
    match app.core.submit(Command::AddImage { image: Box::new(image) }).await {
        Ok(answer) => {
            let stored = answer.snapshot.image(&digest).ok_or_else(unexpected)?;
            json(StatusCode::CREATED, stored.as_ref())
        }
        Err(problem) => {
            if !known && let Err(error) = app.images.remove(&digest).await {
                tracing::warn!(%error, image = %digest, "the file of a refused image could not be removed");
            }
            Err(ApiError(problem))
        }
    }
}

/// Shows an image.
#[utoipa::path(get, path = "/v1/images/{image}", tag = "images",
    params(("image" = String, Path, description = "Alias, digest, or 8 or more of its digits")),
    responses((status = 200, body = Image), (status = 404, body = Problem)))]
pub async fn show(State(app): State<Arc<App>>, Ref(image): Ref) -> ApiResult<Response> {
    json(StatusCode::OK, app.core.snapshot().cluster.find_image(&image)?.as_ref())
}

/// Removes an image that no instance uses.
#[utoipa::path(delete, path = "/v1/images/{image}", tag = "images",
    params(("image" = String, Path, description = "Alias or digest")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn delete(State(app): State<Arc<App>>, Ref(image): Ref) -> ApiResult<StatusCode> {
    let _changing = app.images.change().await;
    let answer = app.core.submit(Command::DeleteImage { image }).await?;
    let Reply::ImageForgotten(digest) = answer.reply else { return Err(unexpected()) };
    app.images.remove(&digest).await.map_err(|cause| ApiError::internal("removing the image's file", &cause))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The root file's bytes; `Range` is honoured.
#[utoipa::path(get, path = "/v1/images/{image}/rootfs", tag = "images",
    params(("image" = String, Path, description = "Alias or digest")),
    responses((status = 200, content_type = "application/octet-stream"), (status = 206), (status = 416),
        (status = 404, body = Problem)))]
pub async fn rootfs(State(app): State<Arc<App>>, Ref(image): Ref, headers: HeaderMap) -> ApiResult<Response> {
    let digest = app.core.snapshot().cluster.find_image(&image)?.digest.clone();
    serve_file(&app.images.path(&digest), digest.as_str(), &headers).await
}
