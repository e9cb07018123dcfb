//! `roost file …`: files of an instance, one at a time.

use reqwest::Method;
use roost_types::{FileInfo, FileKind, Page};

use super::copy::{There, files_path};
use crate::args::FileCommand;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Columns, Style, print};

/// Runs a verb on files.
pub async fn run(client: &Client, style: Style, command: FileCommand) -> Result<(), CliError> {
    match command {
        FileCommand::List { place } => list(client, style, &There::required(&place)?).await,
        FileCommand::Delete { places, recursive } => {
            for place in places {
                let there = There::required(&place)?;
                let path = format!("{}&recursive={recursive}", files_path(&there, &there.path));
                client.send(client.request(Method::DELETE, &path)).await?;
                print(&format!("{place}\n"))?;
            }
            Ok(())
        }
        FileCommand::Mkdir { place, parents, mode } => {
            let there = There::required(&place)?;
            let mode = mode.map(|mode| format!("&mode={}", segment(&mode))).unwrap_or_default();
            let path = format!("{}&directory=true&parents={parents}{mode}", files_path(&there, &there.path));
            client.send(client.request(Method::PUT, &path)).await?;
            print(&format!("{place}\n"))
        }
    }
}

async fn list(client: &Client, style: Style, there: &There) -> Result<(), CliError> {
    // Of anything but a directory the content is left where it is: a link is listed as what it points at.
    let answer = client.send(client.request(Method::GET, &files_path(there, &there.path))).await?;
    let is_directory = answer.headers().get("x-roost-type").is_some_and(|kind| kind == "directory");
    let entries = if is_directory {
        client.json::<Page<FileInfo>>(answer).await?.items
    } else {
        vec![of_headers(&answer, &there.path)?]
    };
    let columns = Columns {
        headings: &["MODE", "UID", "GID", "SIZE", "MODIFIED", "NAME"],
        row: &row,
        name: &|entry| entry.name.clone(),
    };
    print(&style.list(&entries, &columns)?)
}

fn of_headers(answer: &reqwest::Response, path: &str) -> Result<FileInfo, CliError> {
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let told = serde_json::json!({
        "name": path.rsplit('/').next(),
        "kind": header("x-roost-type"),
        "mode": header("x-roost-mode"),
        "uid": header("x-roost-uid").parse::<u32>().unwrap_or_default(),
        "gid": header("x-roost-gid").parse::<u32>().unwrap_or_default(),
        "size_bytes": answer.content_length().unwrap_or_default(),
        "modified_at": header("x-roost-modified"),
    });
    serde_json::from_value(told).map_err(|e| CliError::step("reading what the file is", e))
}

fn row(entry: &FileInfo) -> Vec<String> {
    let kind = match entry.kind {
        FileKind::File => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::Special => 's',
    };
    let target = entry.target.as_ref().map(|target| format!(" -> {target}")).unwrap_or_default();
    vec![
        format!("{kind}{}", entry.mode),
        entry.uid.to_string(),
        entry.gid.to_string(),
        entry.size_bytes.to_string(),
        entry.modified_at.to_string(),
        format!("{}{target}", entry.name),
    ]
}
