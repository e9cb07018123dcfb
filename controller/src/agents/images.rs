//! Images for nodes: where a node gets one (`POST /agent/v1/images/{digest}/source`), and the bytes of its root file, by
//! digest only (`GET /agent/v1/images/{digest}`).

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use roost_model::{Command, Reply, Supply};
use roost_types::image_transfer::{AskImageSource, ImageSource, MAX_FAILED};
use roost_types::{Code, ImageDigest, Name, NodeId, Problem};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::id_of;
use crate::api::auth::Caller;
use crate::api::extract::{JsonBody, Ref};
use crate::api::problem::{ApiError, ApiResult, json};
use crate::images::serve_file;
use crate::state::App;
use crate::{clock, credentials, random};

/// How long a node that must wait for its turn is held before it is told to ask again.
const HOLD: Duration = Duration::from_secs(2);
/// How often it is looked meanwhile whether it is its turn.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The bytes.
pub async fn image(State(app): State<Arc<App>>, Ref(digest): Ref, headers: HeaderMap) -> ApiResult<Response> {
    let digest = known(&app, &digest)?;
    let sent = app.images.sent_to_nodes(&digest);
    serve_file(&app.images.path(&digest), digest.as_str(), &headers, Some(sent)).await
}

/// Where the node that asks gets an image that it should run: held until it is its turn, at most [`HOLD`].
pub async fn source(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Ref(digest): Ref,
    JsonBody(asked): JsonBody<AskImageSource>,
) -> ApiResult<Response> {
    let (digest, node) = (known(&app, &digest)?, id_of(&app, &caller)?);
    if asked.failed.len() > MAX_FAILED {
        let detail = format!("more than {MAX_FAILED} nodes");
        return Err(ApiError(Problem::new(Code::InvalidField, detail).field("failed")));
    }
    let deadline = Instant::now() + HOLD;
    loop {
        let source = match app.core.snapshot().cluster.image_supply(node, &digest, &asked.failed, clock::now())? {
            Supply::Later => ImageSource::Later,
            Supply::Controller | Supply::Node(_) => decide(&app, node, &digest, &asked.failed).await?,
        };
        if source != ImageSource::Later || Instant::now() >= deadline {
            return json(StatusCode::OK, &source);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn known(app: &App, digest: &str) -> ApiResult<ImageDigest> {
    let digest: ImageDigest = digest.parse().map_err(|why: String| ApiError::new(Code::UnknownImage, why))?;
    match app.core.snapshot().image(&digest) {
        Some(_) => Ok(digest),
        None => Err(ApiError::new(Code::UnknownImage, format!("there is no image '{digest}'"))),
    }
}

/// Has the model decide for good, and tells the node that is to send it.
async fn decide(app: &App, node: NodeId, image: &ImageDigest, failed: &[Name]) -> ApiResult<ImageSource> {
    let ticket = random::bytes::<32>().map_err(|error| ApiError::internal("making a ticket", &error))?;
    let ticket = credentials::hex(&ticket);
    let command = Command::AskImageSource {
        node,
        image: image.clone(),
        failed: failed.to_vec(),
        ticket_sha256: credentials::hex(&Sha256::digest(&ticket)),
    };
    let answer = app.core.submit(command).await?;
    let Reply::ImageSupply(supply) = answer.reply else {
        return Err(ApiError::internal("ask for an image", &"the model answered something else"));
    };
    let cluster = &answer.snapshot.cluster;
    Ok(match supply {
        Supply::Later => ImageSource::Later,
        Supply::Controller => ImageSource::Controller,
        Supply::Node(source) => match (cluster.node(source), cluster.image_server(source)) {
            (Some(row), Some((address, port))) => {
                app.core.wake_node(source);
                ImageSource::Node { node: row.name.clone(), address, port, ticket }
            }
            // It was forgotten or fell silent since.
            (None, _) | (_, None) => ImageSource::Later,
        },
    })
}
