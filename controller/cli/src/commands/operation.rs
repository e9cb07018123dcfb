//! `roost operation …`.

use reqwest::Method;
use roost_types::Operation;

use super::finish;
use super::instance::word;
use crate::args::OperationCommand;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Columns, Style, or_dash, print};
use crate::time;

/// Runs a verb on operations.
pub async fn run(client: &Client, style: Style, command: OperationCommand) -> Result<(), CliError> {
    let path = |id: &str| format!("/v1/operations/{}", segment(id));
    match command {
        OperationCommand::List => list(client, style).await,
        OperationCommand::Info { operation } => show(style, &client.get(&path(&operation)).await?),
        OperationCommand::Cancel { operation } => {
            client.act(Method::DELETE, &path(&operation)).await?;
            print(&format!("{operation}\n"))
        }
        OperationCommand::Wait { operation } => {
            let found: Operation = client.get(&path(&operation)).await?;
            let what = format!("{} {}", word(&found.kind), found.resource);
            show(style, &finish(client, style, found, &what).await?)
        }
    }
}

async fn list(client: &Client, style: Style) -> Result<(), CliError> {
    let operations: Vec<Operation> = client.list("/v1/operations").await?;
    let now = time::now();
    let row = |op: &Operation| {
        let progress = format!("{}/{} {}", op.progress.done, op.progress.total, op.progress.unit);
        let age = time::age(now.since(op.created_at).as_secs());
        vec![op.id.to_string(), word(&op.kind), word(&op.status), progress, op.resource.clone(), age]
    };
    let headings = ["ID", "KIND", "STATUS", "PROGRESS", "RESOURCE", "AGE"];
    print(&style.list(&operations, &Columns { headings: &headings, row: &row, name: &|op| op.id.to_string() })?)
}

fn show(style: Style, op: &Operation) -> Result<(), CliError> {
    let lines = [
        ("Id", op.id.to_string()),
        ("Kind", word(&op.kind)),
        ("Status", word(&op.status)),
        ("Progress", format!("{}/{} {}", op.progress.done, op.progress.total, op.progress.unit)),
        ("Resource", op.resource.clone()),
        ("Error", or_dash(op.error.as_ref())),
        ("Created", op.created_at.to_string()),
        ("Updated", op.updated_at.to_string()),
    ];
    print(&style.one(op, &op.id.to_string(), &lines)?)
}
