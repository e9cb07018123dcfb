//! `/v1/instances`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use roost_model::{Command, Idempotency, Reply};
use roost_types::first_boot::MAX_LAUNCH_BODY;
use roost_types::instance::{InstanceKind, StopInstance};
use roost_types::{Code, CreateInstance, Instance, InstanceId, MAX_JSON_BODY, Operation, Page, PatchInstance, Problem};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::extract::{JsonBody, OptionalJsonBody, Query, RawJsonBody, Ref, too_large};
use super::paging::{ListQuery, page};
use super::problem::{ApiError, ApiResult, json_bytes};
use super::wait;
use crate::core::{Core, Snapshot};
use crate::state::App;

/// Fields a list can be filtered by.
const FILTERS: &[&str] = &["state", "node", "name", "project", "image", "kind"];
/// Longest `Idempotency-Key`.
const MAX_KEY: usize = 128;

/// The query of the list of instances: that of every list, and the project.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InstancesQuery {
    /// Items of the page, 1 to 1000; 100 when absent.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// `FIELD=VALUE`: only items with that value.
    pub filter: Option<String>,
    /// Only instances of this project.
    pub project: Option<String>,
}

/// Lists instances, oldest first.
#[utoipa::path(get, path = "/v1/instances", tag = "instances", params(InstancesQuery),
    responses((status = 200, body = Page<Instance>), (status = 400, body = Problem)))]
pub async fn list(State(app): State<Arc<App>>, Query(query): Query<InstancesQuery>) -> ApiResult<Response> {
    let InstancesQuery { limit, cursor, filter, project } = query;
    let query = ListQuery { limit, cursor, filter };
    let (limit, after, filter) = (query.limit()?, query.after()?, query.filter(FILTERS)?);
    let snapshot = app.core.snapshot();
    let in_project = |id: &InstanceId| {
        let of = |wanted: &String| snapshot.cluster.instance(*id).is_some_and(|row| row.project.as_str() == *wanted);
        project.as_ref().is_none_or(of)
    };
    let items = snapshot.instances_after(after).filter(|(id, _)| in_project(id)).filter(|(id, _)| match filter {
        None => true,
        Some((field, value)) => snapshot.instance(*id).is_some_and(|found| matches(&found, field, value)),
    });
    Ok(page(items, limit))
}

fn matches(instance: &Instance, field: &str, value: &str) -> bool {
    match field {
        "state" => instance.state.as_str() == value,
        "node" => instance.node.as_ref().is_some_and(|node| node.as_str() == value),
        "name" => instance.name.as_str() == value,
        "project" => instance.project.as_str() == value,
        "image" => instance.image == value || instance.image_digest == value,
        "kind" => match instance.kind {
            InstanceKind::Container => value == "container",
            InstanceKind::Board => value == "board",
        },
        _ => false,
    }
}

/// Launches an instance.
#[utoipa::path(post, path = "/v1/instances", tag = "instances", request_body = CreateInstance,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with this key does nothing new"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: answer when it runs, within N ≤ 60 seconds")),
    responses((status = 201, body = Instance), (status = 202, body = Operation), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 507, body = Problem)))]
pub async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawJsonBody(request, bytes): RawJsonBody<CreateInstance, MAX_LAUNCH_BODY>,
) -> ApiResult<Response> {
    if bytes.len() > MAX_JSON_BODY && request.user_data.is_none() && request.ssh_keys.is_empty() {
        return Err(too_large(MAX_JSON_BODY));
    }
    let wait = wait::preferred(&headers)?;
    let idempotency = match headers.get("idempotency-key") {
        None => None,
        Some(value) => {
            let fingerprint = crate::credentials::hex(&Sha256::digest(&bytes));
            Some(Idempotency { key: idempotency_key(value)?, fingerprint })
        }
    };
    let answer = app.core.submit(Command::CreateInstance { request: Box::new(request), idempotency }).await?;
    let Reply::Instance { instance, operation } = answer.reply else { return Err(unexpected()) };
    wait::answer(&app.core, operation, wait, || shown(&app.core.snapshot(), instance, StatusCode::CREATED)).await
}

fn idempotency_key(value: &HeaderValue) -> ApiResult<String> {
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= MAX_KEY);
    text.map(str::to_owned).ok_or_else(|| {
        let detail = format!("an Idempotency-Key is 1 to {MAX_KEY} printable ASCII characters");
        ApiError(Problem::new(Code::InvalidField, detail).field("idempotency-key"))
    })
}

/// Shows an instance.
#[utoipa::path(get, path = "/v1/instances/{instance}", tag = "instances",
    params(("instance" = String, Path, description = "Name (`NAME.PROJECT` outside the default project) or id")),
    responses((status = 200, body = Instance), (status = 404, body = Problem)))]
pub async fn show(State(app): State<Arc<App>>, Ref(instance): Ref) -> ApiResult<Response> {
    let snapshot = app.core.snapshot();
    let id = snapshot.cluster.find_instance(&instance)?.id;
    shown(&snapshot, id, StatusCode::OK)
}

fn shown(snapshot: &Snapshot, id: InstanceId, status: StatusCode) -> ApiResult<Response> {
    let none = || ApiError::not_found("instance", &id.to_string());
    let bytes = snapshot.instance_json(id).ok_or_else(none)?;
    let mut response = json_bytes(status, bytes);
    let generation = snapshot.cluster.find_instance(&id.to_string())?.generation;
    set_etag(&mut response, generation);
    if status == StatusCode::CREATED
        && let Ok(location) = HeaderValue::from_str(&format!("/v1/instances/{id}"))
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Names the generation of what is shown.
pub fn set_etag(response: &mut Response, generation: u64) {
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{generation}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
}

/// The generation that `If-Match` names.
pub fn if_match(headers: &HeaderMap) -> ApiResult<Option<u64>> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let tag = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    tag.and_then(|tag| tag.parse().ok()).map(Some).ok_or_else(|| {
        ApiError(Problem::new(Code::PreconditionFailed, "If-Match holds no ETag of this API").field("if-match"))
    })
}

/// Changes settings of an instance.
#[utoipa::path(patch, path = "/v1/instances/{instance}", tag = "instances", request_body = PatchInstance,
    params(("instance" = String, Path, description = "Name (`NAME.PROJECT` outside the default project) or id"),
        ("If-Match" = Option<String>, Header, description = "Only when its ETag still is this")),
    responses((status = 200, body = Instance), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 412, body = Problem)))]
pub async fn patch(
    State(app): State<Arc<App>>,
    Ref(instance): Ref,
    headers: HeaderMap,
    JsonBody(patch): JsonBody<PatchInstance>,
) -> ApiResult<Response> {
    let if_match = if_match(&headers)?;
    let answer = app.core.submit(Command::PatchInstance { instance, patch, if_match }).await?;
    let Reply::InstanceUpdated(id) = answer.reply else { return Err(unexpected()) };
    shown(&answer.snapshot, id, StatusCode::OK)
}

/// Deletes an instance.
#[utoipa::path(delete, path = "/v1/instances/{instance}", tag = "instances",
    params(("instance" = String, Path, description = "Name (`NAME.PROJECT` outside the default project) or id"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: answer when nothing of it is left")),
    responses((status = 202, body = Operation), (status = 204), (status = 404, body = Problem)))]
pub async fn delete(State(app): State<Arc<App>>, Ref(instance): Ref, headers: HeaderMap) -> ApiResult<Response> {
    let wait = wait::preferred(&headers)?;
    let (_, operation) = begin(&app.core, Command::DeleteInstance { instance }).await?;
    wait::answer(&app.core, operation, wait, || {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    })
    .await
}

/// Starts a stopped or failed instance.
#[utoipa::path(post, path = "/v1/instances/{instance}/start", tag = "instances",
    params(("instance" = String, Path, description = "Name (`NAME.PROJECT` outside the default project) or id"), ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = Instance), (status = 202, body = Operation), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub async fn start(State(app): State<Arc<App>>, Ref(instance): Ref, headers: HeaderMap) -> ApiResult<Response> {
    slow(&app, &headers, Command::StartInstance { instance }).await
}

/// Stops an instance and keeps its data.
#[utoipa::path(post, path = "/v1/instances/{instance}/stop", tag = "instances", request_body = Option<StopInstance>,
    params(("instance" = String, Path, description = "Name (`NAME.PROJECT` outside the default project) or id"), ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = Instance), (status = 202, body = Operation), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub async fn stop(
    State(app): State<Arc<App>>,
    Ref(instance): Ref,
    headers: HeaderMap,
    OptionalJsonBody(request): OptionalJsonBody<StopInstance>,
) -> ApiResult<Response> {
    let StopInstance { timeout_seconds } = request;
    slow(&app, &headers, Command::StopInstance { instance, timeout_seconds }).await
}

/// Stops and starts an instance.
#[utoipa::path(post, path = "/v1/instances/{instance}/restart", tag = "instances",
    params(("instance" = String, Path, description = "Name (`NAME.PROJECT` outside the default project) or id"), ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = Instance), (status = 202, body = Operation), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub async fn restart(State(app): State<Arc<App>>, Ref(instance): Ref, headers: HeaderMap) -> ApiResult<Response> {
    slow(&app, &headers, Command::RestartInstance { instance }).await
}

/// Where to move an instance.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// Name or id of the node; the scheduler chooses when absent.
    #[serde(default)]
    pub node: Option<String>,
}

/// Takes an instance to another node.
#[utoipa::path(post, path = "/v1/instances/{instance}/move", tag = "instances", request_body = MoveRequest,
    params(("instance" = String, Path, description = "Name (`NAME.PROJECT` outside the default project) or id"), ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = Instance), (status = 202, body = Operation), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub async fn relocate(
    State(app): State<Arc<App>>,
    Ref(instance): Ref,
    headers: HeaderMap,
    JsonBody(request): JsonBody<MoveRequest>,
) -> ApiResult<Response> {
    slow(&app, &headers, Command::MoveInstance { instance, to: request.node }).await
}

/// Begins slow work on an instance and answers with it, or with the receipt.
pub async fn slow(app: &App, headers: &HeaderMap, command: Command) -> ApiResult<Response> {
    let wait = wait::preferred(headers)?;
    let (instance, operation) = begin(&app.core, command).await?;
    wait::answer(&app.core, operation, wait, || shown(&app.core.snapshot(), instance, StatusCode::OK)).await
}

async fn begin(core: &Core, command: Command) -> ApiResult<(InstanceId, roost_types::OperationId)> {
    match core.submit(command).await?.reply {
        Reply::Instance { instance, operation } => Ok((instance, operation)),
        _ => Err(unexpected()),
    }
}

/// The model answered a command with the reply of another.
pub fn unexpected() -> ApiError {
    ApiError::internal("the decision", &"the model answered with another command's reply")
}
