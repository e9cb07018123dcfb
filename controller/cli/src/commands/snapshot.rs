//! `roost snapshot …`.

use reqwest::Method;
use roost_types::{CreateSnapshot, Operation, Snapshot};

use super::finish;
use crate::args::SnapshotCommand;
use crate::client::{Client, Outcome, segment};
use crate::error::CliError;
use crate::output::{Columns, Style, or_dash, print};
use crate::time;

/// Runs one of them.
pub async fn run(client: &Client, style: Style, command: SnapshotCommand) -> Result<(), CliError> {
    match command {
        SnapshotCommand::Create { instance, name, no_wait } => create(client, style, &instance, name, no_wait).await,
        SnapshotCommand::List { instance } => list(client, style, &instance).await,
        SnapshotCommand::Restore { instance, snapshot, no_wait } => {
            let path = format!("{}/{}/restore", path_of(&instance), segment(&snapshot));
            let doing = format!("restoring {instance}");
            act(client, style, (Method::POST, &path, no_wait), &doing, &instance).await
        }
        SnapshotCommand::Delete { instance, snapshot, no_wait } => {
            let path = format!("{}/{}", path_of(&instance), segment(&snapshot));
            let doing = format!("deleting snapshot {snapshot} of {instance}");
            act(client, style, (Method::DELETE, &path, no_wait), &doing, &snapshot).await
        }
    }
}

fn path_of(instance: &str) -> String {
    format!("/v1/instances/{}/snapshots", segment(instance))
}

async fn create(
    client: &Client,
    style: Style,
    instance: &str,
    name: Option<String>,
    no_wait: bool,
) -> Result<(), CliError> {
    let path = path_of(instance);
    let body = CreateSnapshot { name };
    let operation: Operation = match client.change::<Snapshot>(Method::POST, &path, Some(&body)).await? {
        Outcome::Done(made) => return print(&format!("{}\n", made.name)),
        Outcome::Accepted(operation) => *operation,
    };
    let id = operation.resource.rsplit('/').next().unwrap_or_default().to_owned();
    if !no_wait {
        finish(client, style, operation, &format!("keeping the files of {instance}")).await?;
    }
    let all: Vec<Snapshot> = client.list(&path).await?;
    let made = all.into_iter().find(|snapshot| snapshot.id.to_string() == id);
    print(&made.map_or_else(|| format!("{id}\n"), |snapshot| format!("{}\n", snapshot.name)))
}

async fn list(client: &Client, style: Style, instance: &str) -> Result<(), CliError> {
    let snapshots: Vec<Snapshot> = client.list(&path_of(instance)).await?;
    let now = time::now();
    let row = |s: &Snapshot| {
        vec![
            s.name.to_string(),
            s.state.as_str().to_owned(),
            or_dash(s.size_bytes),
            time::age(now.since(s.created_at).as_secs()),
        ]
    };
    let headings = ["NAME", "STATE", "SIZE", "AGE"];
    print(&style.list(&snapshots, &Columns { headings: &headings, row: &row, name: &|s| s.name.to_string() })?)
}

async fn act(
    client: &Client,
    style: Style,
    (method, path, no_wait): (Method, &str, bool),
    doing: &str,
    name: &str,
) -> Result<(), CliError> {
    if let (Some(operation), false) = (client.act(method, path).await?, no_wait) {
        finish(client, style, operation, doing).await?;
    }
    print(&format!("{name}\n"))
}
