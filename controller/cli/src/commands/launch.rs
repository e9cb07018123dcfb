//! `roost launch`.

use reqwest::Method;
use roost_types::instance::Network;
use roost_types::{CreateInstance, Instance, MemoryBytes, Operation};

use super::{finish, instance};
use crate::args::LaunchArgs;
use crate::client::{Client, Outcome, segment};
use crate::error::CliError;
use crate::output::{Style, print};

/// Asks for an instance and, unless told otherwise, waits until it runs.
pub async fn launch(client: &Client, style: Style, args: LaunchArgs) -> Result<(), CliError> {
    let wait = !args.no_wait;
    let body = request_of(args);
    let label = body.name.clone().unwrap_or_else(|| body.image.clone());
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
fn request_of(args: LaunchArgs) -> CreateInstance {
    let mut body = CreateInstance::of_image(args.image);
    body.name = args.name;
    body.size = args.size;
    body.cpu_millis = args.cpu_millis;
    body.memory_bytes = args.memory.map(MemoryBytes);
    body.disk_bytes = args.disk.map(MemoryBytes);
    body.command = (!args.command.is_empty()).then_some(args.command);
    body.env = args.env.into_iter().collect();
    body.publish = args.publish;
    body.network = if args.lan { Network::Lan } else { Network::Bridge };
    body.constraints.node = args.node;
    body.project = args.project;
    body.restart = args.restart.map(Into::into).unwrap_or_default();
    body.labels = args.label.into_iter().collect();
    body
}
