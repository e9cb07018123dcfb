//! `/v1/alerts`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use roost_model::{AlertRow, Command, Reply};
use roost_types::{AcknowledgeAlert, Alert, AlertId, AlertState, Page, Problem, Severity, TestAlerts, TestResults};
use serde::de::DeserializeOwned;

use super::extract::{OptionalJsonBody, Query, Ref};
use super::instances::unexpected;
use super::paging::{ListQuery, invalid, item, page};
use super::problem::{ApiError, ApiResult, json};
use crate::state::App;

/// Fields a list can be filtered by.
const FILTERS: &[&str] = &["state", "severity", "kind", "object"];

/// Lists alerts, oldest first. `filter` may have several conditions: `state=firing,severity=critical`; of `state`,
/// `severity`, `kind` and `object`.
#[utoipa::path(get, path = "/v1/alerts", tag = "alerts", params(ListQuery),
    responses((status = 200, body = Page<Alert>), (status = 400, body = Problem)))]
pub async fn list(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> ApiResult<Response> {
    let (limit, after) = (query.limit()?, query.after::<AlertId>()?);
    let wanted = Wanted::of(&query.filters(FILTERS)?)?;
    let snapshot = app.core.snapshot();
    let alerts = snapshot.cluster.alerts().filter(|row| after.is_none_or(|after| row.id > after) && wanted.takes(row));
    Ok(page(alerts.map(|row| (row.id, item(&snapshot.cluster.alert(row)))), limit))
}

/// An alert, by its id or, while it fires, by its key.
#[utoipa::path(get, path = "/v1/alerts/{alert}", tag = "alerts",
    params(("alert" = String, Path, description = "Id, or the key of one that fires")),
    responses((status = 200, body = Alert), (status = 404, body = Problem)))]
pub async fn show(State(app): State<Arc<App>>, Ref(alert): Ref) -> ApiResult<Response> {
    let snapshot = app.core.snapshot();
    json(StatusCode::OK, &snapshot.cluster.alert(snapshot.cluster.find_alert(&alert)?))
}

/// Says that a person has seen an alert: nobody is reminded of it any more.
#[utoipa::path(post, path = "/v1/alerts/{alert}/acknowledge", tag = "alerts",
    params(("alert" = String, Path, description = "Id, or the key of one that fires")), request_body = AcknowledgeAlert,
    responses((status = 200, body = Alert), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub async fn acknowledge(
    State(app): State<Arc<App>>,
    Ref(alert): Ref,
    OptionalJsonBody(said): OptionalJsonBody<AcknowledgeAlert>,
) -> ApiResult<Response> {
    let answer = app.core.submit(Command::AcknowledgeAlert { alert, said }).await?;
    let Reply::Alert(id) = answer.reply else { return Err(unexpected()) };
    let cluster = &answer.snapshot.cluster;
    json(StatusCode::OK, &cluster.alert(cluster.find_alert(&id.to_string())?))
}

/// Sends a test message to those who are told of alerts, and says what came of it.
#[utoipa::path(post, path = "/v1/alerts/test", tag = "alerts", request_body = TestAlerts,
    responses((status = 200, body = TestResults), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 429, body = Problem)))]
pub async fn test(
    State(app): State<Arc<App>>,
    OptionalJsonBody(TestAlerts { receiver }): OptionalJsonBody<TestAlerts>,
) -> ApiResult<Response> {
    json(StatusCode::OK, &TestResults { items: app.receivers.test(receiver.as_ref()).await? })
}

/// What a list is asked for.
#[derive(Default)]
struct Wanted<'q> {
    state: Option<AlertState>,
    severity: Option<Severity>,
    kind: Option<&'q str>,
    object: Option<&'q str>,
}

impl<'q> Wanted<'q> {
    fn of(conditions: &[(&'q str, &'q str)]) -> ApiResult<Self> {
        let mut wanted = Self::default();
        for (field, value) in conditions {
            match *field {
                "state" => wanted.state = Some(word(value, "firing, acknowledged or resolved")?),
                "severity" => wanted.severity = Some(word(value, "warning or critical")?),
                "kind" => wanted.kind = Some(value),
                _ => wanted.object = Some(value),
            }
        }
        Ok(wanted)
    }

    fn takes(&self, row: &AlertRow) -> bool {
        let (kind, object) = row.kind_and_object();
        self.state.is_none_or(|state| row.state == state)
            && self.severity.is_none_or(|severity| row.severity == severity)
            && self.kind.is_none_or(|wanted| kind == wanted)
            && self.object.is_none_or(|wanted| object == wanted)
    }
}

fn word<T: DeserializeOwned>(value: &str, known: &str) -> Result<T, ApiError> {
    serde_json::from_value(value.into()).map_err(|_| invalid("filter", format!("'{value}' is not {known}")))
}
