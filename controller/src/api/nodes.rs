//! `/v1/nodes`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use roost_model::{Command, Reply};
use roost_types::node::PowerRequest;
use roost_types::{Node, NodeId, Operation, Page, PatchNode, Problem};

use super::extract::{JsonBody, Query, Ref};
use super::instances::{if_match, set_etag, unexpected};
use super::paging::{ListQuery, page};
use super::problem::{ApiError, ApiResult, json_bytes};
use super::wait;
use crate::core::Snapshot;
use crate::power;
use crate::state::App;

/// Fields a list can be filtered by.
const FILTERS: &[&str] = &["status", "thermal", "name"];

/// Lists nodes, in the order they joined.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", params(ListQuery),
    responses((status = 200, body = Page<Node>), (status = 400, body = Problem)))]
pub async fn list(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> ApiResult<Response> {
    let (limit, after, filter) = (query.limit()?, query.after()?, query.filter(FILTERS)?);
    let snapshot = app.core.snapshot();
    let items = snapshot.nodes_after(after).filter(|(id, _)| match filter {
        None => true,
        Some((field, value)) => snapshot.node(*id).is_some_and(|node| matches(&node, field, value)),
    });
    Ok(page(items, limit))
}

fn matches(node: &Node, field: &str, value: &str) -> bool {
    match field {
        "status" => node.status.as_str() == value,
        "thermal" => node.thermal.state.as_str() == value,
        "name" => node.name.as_str() == value,
        _ => false,
    }
}

/// Shows a node.
#[utoipa::path(get, path = "/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path, description = "Name or id")),
    responses((status = 200, body = Node), (status = 404, body = Problem)))]
pub async fn show(State(app): State<Arc<App>>, Ref(node): Ref) -> ApiResult<Response> {
    let snapshot = app.core.snapshot();
    let id = snapshot.cluster.find_node(&node)?.id;
    shown(&snapshot, id)
}

fn shown(snapshot: &Snapshot, id: NodeId) -> ApiResult<Response> {
    let bytes = snapshot.node_json(id).ok_or_else(|| ApiError::not_found("node", &id.to_string()))?;
    let mut response = json_bytes(StatusCode::OK, bytes);
    set_etag(&mut response, snapshot.cluster.find_node(&id.to_string())?.generation);
    Ok(response)
}

/// Changes settings of a node.
#[utoipa::path(patch, path = "/v1/nodes/{node}", tag = "nodes", request_body = PatchNode,
    params(("node" = String, Path, description = "Name or id"),
        ("If-Match" = Option<String>, Header, description = "Only when its ETag still is this")),
    responses((status = 200, body = Node), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 412, body = Problem)))]
pub async fn patch(
    State(app): State<Arc<App>>,
    Ref(node): Ref,
    headers: HeaderMap,
    JsonBody(patch): JsonBody<PatchNode>,
) -> ApiResult<Response> {
    let if_match = if_match(&headers)?;
    let answer = app.core.submit(Command::PatchNode { node, patch, if_match }).await?;
    let Reply::Node(id) = answer.reply else { return Err(unexpected()) };
    shown(&answer.snapshot, id)
}

/// Forgets a node that is down and has nothing.
#[utoipa::path(delete, path = "/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path, description = "Name or id")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn delete(State(app): State<Arc<App>>, Ref(node): Ref) -> ApiResult<StatusCode> {
    app.core.submit(Command::DeleteNode { node }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Empties a node: its instances go elsewhere, one at a time.
#[utoipa::path(post, path = "/v1/nodes/{node}/drain", tag = "nodes",
    params(("node" = String, Path, description = "Name or id"), ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = Node), (status = 202, body = Operation), (status = 404, body = Problem)))]
pub async fn drain(State(app): State<Arc<App>>, Ref(node): Ref, headers: HeaderMap) -> ApiResult<Response> {
    let wait = wait::preferred(&headers)?;
    let answer = app.core.submit(Command::DrainNode { node }).await?;
    let Reply::NodeOperation { node, operation } = answer.reply else { return Err(unexpected()) };
    wait::answer(&app.core, operation, wait, || shown(&app.core.snapshot(), node)).await
}

/// Switches a node's power.
#[utoipa::path(post, path = "/v1/nodes/{node}/power", tag = "nodes", request_body = PowerRequest,
    params(("node" = String, Path, description = "Name or id"), ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = Node), (status = 202, body = Operation), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn power(
    State(app): State<Arc<App>>,
    Ref(node): Ref,
    headers: HeaderMap,
    JsonBody(request): JsonBody<PowerRequest>,
) -> ApiResult<Response> {
    let wait = wait::preferred(&headers)?;
    let (node, operation, _) = power::begin(&app.core, &app.power, node, request).await?;
    wait::answer(&app.core, operation, wait, || shown(&app.core.snapshot(), node)).await
}
