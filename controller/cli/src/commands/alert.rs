//! `roost alert …`: what a person must look at, and whether people are told.

use reqwest::Method;
use roost_types::{AcknowledgeAlert, Alert, AlertState, Delivery, TestAlerts, TestResult, TestResults};

use super::instance::word;
use crate::args::AlertCommand;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Columns, Style, or_dash, print};
use crate::time;

/// Runs a verb on alerts.
pub async fn run(client: &Client, style: Style, command: AlertCommand) -> Result<(), CliError> {
    match command {
        AlertCommand::List { all } => list(client, style, all).await,
        AlertCommand::Info { alert } => show(style, &client.get(&path(&alert)).await?),
        AlertCommand::Ack { alerts, by, comment } => {
            let by = by.or_else(|| std::env::var("USER").ok());
            let said = AcknowledgeAlert { by, comment };
            for alert in alerts {
                let path = format!("{}/acknowledge", path(&alert));
                client.send(client.request(Method::POST, &path).json(&said)).await?;
                print(&format!("{alert}\n"))?;
            }
            Ok(())
        }
        AlertCommand::Test { receiver } => test(client, style, receiver).await,
    }
}

fn path(alert: &str) -> String {
    format!("/v1/alerts/{}", segment(alert))
}

async fn list(client: &Client, style: Style, all: bool) -> Result<(), CliError> {
    let mut alerts: Vec<Alert> = client.list("/v1/alerts").await?;
    alerts.retain(|alert| all || alert.state != AlertState::Resolved);
    let now = time::now();
    let row = |alert: &Alert| {
        let age = time::age(now.since(alert.fired_at).as_secs());
        let told = alert.deliveries.first().map(|delivery| word(&delivery.state));
        vec![
            alert.id.to_string(),
            alert.key.clone(),
            word(&alert.severity),
            word(&alert.state),
            age,
            or_dash(told),
            alert.message.clone(),
        ]
    };
    let headings = ["ID", "KEY", "SEVERITY", "STATE", "AGE", "TOLD", "MESSAGE"];
    print(&style.list(&alerts, &Columns { headings: &headings, row: &row, name: &|alert| alert.id.to_string() })?)
}

fn show(style: Style, alert: &Alert) -> Result<(), CliError> {
    let seen = alert.acknowledged.as_ref().map(|seen| {
        let by = seen.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let comment = seen.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
        format!("{}{by}{comment}", seen.at)
    });
    let mut lines = vec![
        ("Id", alert.id.to_string()),
        ("Key", alert.key.clone()),
        ("Severity", word(&alert.severity)),
        ("State", word(&alert.state)),
        ("Subject", alert.subject.clone()),
        ("Message", alert.message.clone()),
        ("Fired", format!("{}, {} since {}", alert.fired_at, times(alert.fires), alert.first_fired_at)),
        ("Resolved", or_dash(alert.resolved_at)),
        ("Acknowledged", or_dash(seen)),
    ];
    lines.extend(alert.deliveries.iter().map(|delivery| ("Told", told(delivery))));
    print(&style.one(alert, &alert.id.to_string(), &lines)?)
}

fn times(fires: u32) -> String {
    if fires == 1 { "once".to_owned() } else { format!("{fires} times") }
}

/// One line about a message.
fn told(delivery: &Delivery) -> String {
    let Delivery { receiver, reason, state, attempts, created_at, ended_at, next_attempt_at, error, .. } = delivery;
    let when = ended_at.unwrap_or(*created_at);
    let next = next_attempt_at.filter(|_| *attempts > 0).map(|at| format!(", again at {at}")).unwrap_or_default();
    let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{receiver} {} at {when} ({}, attempts: {attempts}{next}){error}", word(state), word(reason))
}

async fn test(client: &Client, style: Style, receiver: Option<String>) -> Result<(), CliError> {
    let receiver =
        receiver.map(|name| name.parse()).transpose().map_err(|e| CliError::step("the receiver's name", e))?;
    let request = client.request(Method::POST, "/v1/alerts/test").json(&TestAlerts { receiver });
    let answer = client.send(request).await?;
    let TestResults { items } = answer.json().await.map_err(|e| CliError::step("reading the answer", e))?;
    let row = |result: &TestResult| {
        let outcome = if result.delivered { "delivered" } else { "failed" };
        vec![
            result.receiver.to_string(),
            outcome.to_owned(),
            format!("{} ms", result.duration_ms),
            result.detail.clone(),
        ]
    };
    let headings = ["RECEIVER", "OUTCOME", "TOOK", "DETAIL"];
    print(
        &style
            .list(&items, &Columns { headings: &headings, row: &row, name: &|result| result.receiver.to_string() })?,
    )?;
    match items.iter().filter(|result| !result.delivered).count() {
        0 => Ok(()),
        failed => Err(CliError::Failed(format!("{failed} of {} were not told", items.len()))),
    }
}
