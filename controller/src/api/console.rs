//! `GET /v1/instances/{i}/console`: the console of an instance that has its own init, as a WebSocket (messages:
//! `roost_types::stream`).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use roost_types::stream::{MAX_SCROLLBACK, Resize, StreamKind};
use roost_types::{Code, Problem};
use serde::Deserialize;

use super::extract::{Query, Ref};
use super::problem::{ApiError, ApiResult};
use crate::agents::streams::{Upgrade, splice};
use crate::state::App;

/// How many lines of its log a console shows first, unless told.
const SCROLLBACK: u32 = 100;

/// How to attach.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConsoleQuery {
    /// Columns of the terminal, which the console takes over together with `rows`.
    pub cols: Option<u16>,
    /// Rows of the terminal.
    pub rows: Option<u16>,
    /// How many lines of its log come first, 0 to 1000; 100 when absent.
    pub scrollback: Option<u32>,
}

/// Attaches to the console of an instance. Several may be attached; all see everything and may type. Becomes a WebSocket
/// once the node has opened the stream.
#[utoipa::path(get, path = "/v1/instances/{instance}/console", tag = "instances",
    params(("instance" = String, Path, description = "Name or id"), ConsoleQuery),
    responses((status = 101), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn console(
    State(app): State<Arc<App>>,
    Ref(instance): Ref,
    Query(query): Query<ConsoleQuery>,
    upgrade: Upgrade,
) -> ApiResult<Response> {
    let scrollback = query.scrollback.unwrap_or(SCROLLBACK);
    if scrollback > MAX_SCROLLBACK {
        let detail = format!("at most {MAX_SCROLLBACK} lines can be shown first");
        return Err(ApiError(Problem::new(Code::InvalidQuery, detail).field("scrollback")));
    }
    let size = query.cols.zip(query.rows).map(|(cols, rows)| Resize { cols, rows });
    let snapshot = app.core.snapshot();
    let (node, allocation) = snapshot.running(&instance)?;
    if snapshot.cluster.allocation(allocation).is_some_and(|row| !row.spec.system) {
        let detail = format!(
            "'{instance}' runs a command and no init of its own, so it has no console: use exec -it, or logs -f"
        );
        return Err(ApiError::new(Code::Conflict, detail));
    }
    let agent = app.streams.open(&app.core, node, allocation, StreamKind::Console { size, scrollback }).await?;
    Ok(upgrade.on_upgrade(move |user| splice(user, agent)))
}
