//! `/v1/rack`, `/v1/hubs`, `/v1/probes`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use roost_types::rack::{Hub, Probe, RackView};
use roost_types::{Name, Page, Problem};

use super::extract::Query;
use super::paging::{ListQuery, item, page};
use super::problem::{ApiResult, json};
use crate::state::App;

/// The rack: zones, slots, temperatures, hubs.
#[utoipa::path(get, path = "/v1/rack", tag = "rack", responses((status = 200, body = RackView)))]
pub async fn show(State(app): State<Arc<App>>) -> ApiResult<Response> {
    json(StatusCode::OK, &app.core.snapshot().rack_view(crate::clock::now()))
}

/// Lists hubs with the counters of their lines.
#[utoipa::path(get, path = "/v1/hubs", tag = "rack", params(ListQuery),
    responses((status = 200, body = Page<Hub>), (status = 400, body = Problem)))]
pub async fn hubs(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> ApiResult<Response> {
    query.unfiltered()?;
    let (limit, after) = (query.limit()?, query.after::<Name>()?);
    let mut hubs = app.core.snapshot().rack_view(crate::clock::now()).hubs;
    hubs.sort_by(|a, b| a.name.cmp(&b.name));
    let hubs = hubs.iter().filter(|hub| after.as_ref().is_none_or(|after| hub.name > *after));
    Ok(page(hubs.map(|hub| (hub.name.clone(), item(hub))), limit))
}

/// Lists probes with their last readings.
#[utoipa::path(get, path = "/v1/probes", tag = "rack", params(ListQuery),
    responses((status = 200, body = Page<Probe>), (status = 400, body = Problem)))]
pub async fn probes(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> ApiResult<Response> {
    query.unfiltered()?;
    let (limit, after) = (query.limit()?, query.after::<roost_types::rack::ProbeId>()?);
    let view = app.core.snapshot().rack_view(crate::clock::now());
    let mut probes: Vec<&Probe> = view.hubs.iter().flat_map(|hub| &hub.probes).collect();
    probes.sort_by(|a, b| a.id.cmp(&b.id));
    let probes = probes.into_iter().filter(|probe| after.as_ref().is_none_or(|after| probe.id > *after));
    Ok(page(probes.map(|probe| (probe.id.clone(), item(probe))), limit))
}
