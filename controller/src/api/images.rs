//! `/v1/images`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use roost_model::{Command, Reply};
use roost_types::image::{ArchiveKind, ImportImage, MAX_IMAGE_BYTES, RootfsFormat, Startup, check_alias};
use roost_types::image_transfer::ImageDistribution;
use roost_types::{Arch, Code, Image, ImageManifest, Operation, Page, Problem};
use serde::Deserialize;

use super::extract::{JsonBody, Query, Ref, declared_length, is_json};
use super::instances::unexpected;
use super::paging::{ListQuery, item, page};
use super::problem::{ApiError, ApiResult, json};
use super::wait::{answer, preferred};
use crate::images::import::{Place, Source, Wish, begin};
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

/// What a body is that `POST /v1/images` takes.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CreateQuery {
    /// The alias that will stand for it: 1 to 63 of `a-z 0-9 . _ -`
    alias: Option<String>,
    /// The body is an archive to be made into an image; without it, the body is the root file itself
    from: Option<ArchiveKind>,
    /// Instruction set; needed for a root file, and for an archive that has several or does not tell
    arch: Option<Arch>,
    /// File system of the root file
    format: Option<RootfsFormat>,
    /// Path of the root file's own init
    init: Option<String>,
    /// Which image of an archive with several
    tag: Option<String>,
    /// One line for people
    #[serde(default)]
    description: String,
}

/// Stores an image. The body is the root file, or with `from` an archive, or JSON that says where to fetch one.
///
/// A root file is answered with the image. Everything else is slow work: 202 and an operation, or with `Prefer: wait=N` the
/// image once it is there.
#[utoipa::path(post, path = "/v1/images", tag = "images", params(CreateQuery),
    request_body(content(
        (Vec<u8> = "application/octet-stream"),
        (ImportImage = "application/json"),
    ), description = "The root file, the archive, or where it is"),
    responses((status = 201, body = Image), (status = 202, body = Operation), (status = 400, body = Problem),
        (status = 413, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem),
        (status = 507, body = Problem)))]
pub async fn create(
    State(app): State<Arc<App>>,
    Query(query): Query<CreateQuery>,
    headers: HeaderMap,
    request: Request,
) -> ApiResult<Response> {
    if is_json(&headers) {
        let JsonBody(wanted) = JsonBody::<ImportImage>::from_request(request, &()).await?;
        return fetch(&app, wanted, &headers).await;
    }
    if declared_length(&headers).is_some_and(|length| length > MAX_IMAGE_BYTES) {
        return Err(ApiError(too_large()));
    }
    let alias = checked_alias(query.alias.clone())?;
    match query.from {
        Some(kind) => upload(&app, alias, kind, query, &headers, request.into_body()).await,
        None => store(&app, manifest(alias, query)?, request.into_body()).await,
    }
}

fn checked_alias(alias: Option<String>) -> ApiResult<String> {
    let alias = alias.ok_or_else(|| missing(Code::InvalidQuery, "alias"))?;
    match check_alias(&alias) {
        Ok(()) => Ok(alias),
        Err(why) => Err(ApiError(Problem::new(Code::InvalidField, why).field("alias"))),
    }
}

/// A query parameter or, by its code, a field of the body that is not there.
fn missing(code: Code, field: &str) -> ApiError {
    ApiError(Problem::new(code, format!("'{field}' is needed")).field(field))
}

/// What a root file must be told with.
fn manifest(alias: String, query: CreateQuery) -> ApiResult<ImageManifest> {
    Ok(ImageManifest {
        alias,
        arch: query.arch.ok_or_else(|| missing(Code::InvalidQuery, "arch"))?,
        format: query.format.ok_or_else(|| missing(Code::InvalidQuery, "format"))?,
        init: query.init,
        description: query.description,
    })
}

/// Makes an image of an uploaded archive.
async fn upload(
    app: &Arc<App>,
    alias: String,
    kind: ArchiveKind,
    query: CreateQuery,
    headers: &HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    for (field, given) in [("format", query.format.is_some()), ("init", query.init.is_some())] {
        if given {
            let detail = format!("'{field}' is for root files; of an archive it is found out");
            return Err(ApiError(Problem::new(Code::InvalidField, detail).field(field)));
        }
    }
    let place = app.importer.place(&app.images.staging())?;
    place.store(body).await?;
    let wish = Wish { alias, kind, arch: query.arch, tag: query.tag, description: query.description };
    import(app, Source::Uploaded, wish, place, headers).await
}

/// Makes an image of what a URL or registry has.
async fn fetch(app: &Arc<App>, wanted: ImportImage, headers: &HeaderMap) -> ApiResult<Response> {
    let invalid = |field: &str, why: String| ApiError(Problem::new(Code::InvalidField, why).field(field));
    let alias = checked_alias(Some(wanted.alias))?;
    let source = match (wanted.url, wanted.registry) {
        (Some(url), None) => {
            let hex = wanted.sha256.ok_or_else(|| missing(Code::MissingField, "sha256"))?;
            let sha256 = format!("sha256:{}", hex.trim_start_matches("sha256:").to_ascii_lowercase());
            Source::Web {
                sha256: sha256.parse().map_err(|why| invalid("sha256", why))?,
                url: url::Url::parse(&url).map_err(|error| invalid("url", format!("it is not a URL: {error}")))?,
            }
        }
        (None, Some(reference)) => Source::Registry(reference.parse().map_err(|why| invalid("registry", why))?),
        (Some(_), Some(_)) => return Err(invalid("registry", "give either url or registry, not both".to_owned())),
        (None, None) => return Err(missing(Code::MissingField, "url")),
    };
    let wish =
        Wish { alias, kind: ArchiveKind::Auto, arch: wanted.arch, tag: wanted.tag, description: wanted.description };
    let place = app.importer.place(&app.images.staging())?;
    import(app, source, wish, place, headers).await
}

async fn import(app: &Arc<App>, source: Source, wish: Wish, place: Place, headers: &HeaderMap) -> ApiResult<Response> {
    let wait = preferred(headers)?;
    let (alias, arch) = (wish.alias.clone(), wish.arch);
    let id = begin(app, source, wish, place).await?;
    answer(&app.core, id, wait, || {
        let snapshot = app.core.snapshot();
        let images = snapshot.cluster.find_images(&alias)?;
        let newest = images.iter().filter(|image| arch.is_none_or(|arch| image.arch == arch));
        let newest = newest.max_by_key(|image| image.created_at).ok_or_else(unexpected)?;
        json(StatusCode::CREATED, newest.as_ref())
    })
    .await
}

/// Stores a root file.
async fn store(app: &Arc<App>, manifest: ImageManifest, body: Body) -> ApiResult<Response> {
    let staged = app.images.stage(body, manifest.format).await?;
    let digest = staged.digest.clone();
    let image = Image {
        digest: digest.clone(),
        aliases: vec![manifest.alias],
        arch: manifest.arch,
        format: manifest.format,
        size_bytes: staged.size,
        init: manifest.init,
        startup: Startup::default(),
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

/// Shows where an image is, which nodes are getting it, and how many bytes of it the controller and nodes have sent.
#[utoipa::path(get, path = "/v1/images/{image}/distribution", tag = "images",
    params(("image" = String, Path, description = "Alias or digest")),
    responses((status = 200, body = ImageDistribution), (status = 404, body = Problem)))]
pub async fn distribution(State(app): State<Arc<App>>, Ref(image): Ref) -> ApiResult<Response> {
    let snapshot = app.core.snapshot();
    let image = snapshot.cluster.find_image(&image)?;
    let sent_by_controller = app.images.sent_to_nodes(&image.digest).load(Ordering::Relaxed);
    let known = snapshot.cluster.image_distribution(image, crate::clock::now());
    json(StatusCode::OK, &ImageDistribution { sent_by_controller, ..known })
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
    serve_file(&app.images.path(&digest), digest.as_str(), &headers, None).await
}
