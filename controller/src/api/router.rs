//! Every route of the public API on one screen.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::require_user;
use super::openapi::Document;
use super::problem::no_such_method;
use super::unread::read_on;
use super::{
    actions, alerts, console, dashboard, dev, events, exec, files, images, instances, logs, metrics, nodes, operations,
    placements, rack, service, session, snapshots, stats,
};
use crate::state::App;

/// Routes that need a token or a session.
pub(super) fn for_users() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(service::about))
        .routes(routes!(instances::list, instances::create))
        .routes(routes!(instances::show, instances::patch, instances::delete))
        .routes(routes!(instances::start))
        .routes(routes!(instances::stop))
        .routes(routes!(instances::restart))
        .routes(routes!(instances::relocate))
        .routes(routes!(snapshots::list, snapshots::create))
        .routes(routes!(snapshots::delete))
        .routes(routes!(snapshots::restore))
        .routes(routes!(placements::of_instance))
        .routes(routes!(exec::exec))
        .routes(routes!(console::console))
        .routes(routes!(logs::logs))
        .routes(routes!(stats::stats))
        .routes(routes!(files::read, files::write, files::delete))
        .routes(routes!(placements::dry_run))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::show, nodes::patch, nodes::delete))
        .routes(routes!(nodes::drain))
        .routes(routes!(nodes::power))
        .routes(routes!(images::list, images::create))
        .routes(routes!(images::show, images::delete))
        .routes(routes!(images::rootfs))
        .routes(routes!(images::distribution))
        .routes(routes!(rack::show))
        .routes(routes!(rack::hubs))
        .routes(routes!(rack::probes))
        .routes(routes!(actions::list))
        .routes(routes!(actions::approve))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::show))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(alerts::test))
        .routes(routes!(operations::list))
        .routes(routes!(operations::show, operations::cancel))
        .routes(routes!(operations::wait))
        .routes(routes!(events::events))
        .routes(routes!(service::sizes))
        .routes(routes!(metrics::metrics))
        .routes(routes!(dev::command))
}

/// Routes that anyone may ask.
pub(super) fn for_anyone() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(session::sign_in, session::sign_out))
        .routes(routes!(service::health))
        .routes(routes!(service::ready))
        .routes(routes!(service::openapi))
}

/// Everything the controller answers: API, agents, dashboard.
pub fn router(app: &Arc<App>) -> Router {
    let (users, _) = for_users().split_for_parts();
    let (anyone, _) = for_anyone().split_for_parts();
    let users =
        users.method_not_allowed_fallback(no_such_method).layer(from_fn_with_state(Arc::clone(app), require_user));
    anyone
        .route("/", get(dashboard::index))
        .merge(users)
        .merge(crate::agents::router(app))
        .fallback(dashboard::file)
        .method_not_allowed_fallback(no_such_method)
        .layer(SetResponseHeaderLayer::if_not_present(
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        ))
        .layer(from_fn(read_on))
        .with_state(Arc::clone(app))
}
