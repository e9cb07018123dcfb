//! `roost launch`.

use std::fs;
use std::path::Path;

use reqwest::Method;
use roost_types::instance::Network;
use roost_types::{CreateInstance, Instance, Limits, MemoryBytes, Operation, UserData};

use super::{finish, instance};
use crate::args::LaunchArgs;
use crate::client::{Client, Outcome, segment};
use crate::error::CliError;
use crate::output::{Style, print};

/// Asks for an instance and, unless told otherwise, waits until it runs.
pub async fn launch(client: &Client, style: Style, args: LaunchArgs) -> Result<(), CliError> {
    let wait = !args.no_wait;
    let body = request_of(args)?;
    let label = body.name.clone().unwrap_or_else(|| match &body.source {
        Some(source) => format!("{}/{}", source.instance, source.snapshot),
        None => body.image.clone(),
    });
    let operation: Operation = match client.change::<Instance>(Method::POST, "/v1/instances", Some(&body)).await? {
        Outcome::Done(made) => return instance::show(style, &made),
        Outcome::Accepted(operation) => *operation,
    };
    let resource = operation.resource.clone();
    if wait {
        finish(client, style, operation, &format!("launching {label}")).await?;
    }
    let id = resource.rsplit('/').next().unwrap_or_default();
    let made: Instance = client.get(&format!("/v1/instances/{}", segment(id))).await?;
    if wait && !style.quiet && style.format == crate::output::Format::Table {
        let node = made.node.as_ref().map(|n| format!(" on {n}")).unwrap_or_default();
        let address = made.address.map(|a| format!(" at {a}")).unwrap_or_default();
        return print(&format!("{} is {}{node}{address}\n", made.name, made.state));
    }
    instance::show(style, &made)
}

/// The request a command line stands for.
fn request_of(args: LaunchArgs) -> Result<CreateInstance, CliError> {
    // With --from, the one word is the name of the new instance.
    let (image, name) = if args.from.is_some() { (None, args.image) } else { (args.image, args.name) };
    let mut body = CreateInstance::of_image(image.unwrap_or_default());
    body.name = name;
    body.source = args.from;
    body.size = args.size;
    body.cpu_millis = args.cpu_millis;
    body.memory_bytes = args.memory.map(MemoryBytes);
    body.disk_bytes = args.disk.map(MemoryBytes);
    body.limits = args.limits.patch().applied_to(Limits::NONE);
    body.command = (!args.command.is_empty()).then_some(args.command);
    body.env = args.env.into_iter().collect();
    body.publish = args.publish;
    body.network = if args.lan { Network::Lan } else { Network::Bridge };
    body.constraints.node = args.node;
    body.project = args.project;
    body.restart = args.restart.map(Into::into).unwrap_or_default();
    body.priority = args.priority;
    body.labels = args.label.into_iter().collect();
    body.user_data = args.user_data.as_deref().map(read).transpose()?.map(UserData);
    for file in &args.ssh_key {
        let text = read(file)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        body.ssh_keys.extend(lines.map(str::to_owned));
    }
    Ok(body)
}

/// A file's text; that of standard input for `-`.
fn read(file: &Path) -> Result<String, CliError> {
    let text =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { fs::read_to_string(file) };
    text.map_err(|error| CliError::step(format!("reading {}", file.display()), error))
}
