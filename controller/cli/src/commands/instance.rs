//! Instances: `list`, `info`, `start`, `stop`, `restart`, `delete`, `move`, `resize`.

use reqwest::Method;
use roost_types::instance::{PatchInstance, StopInstance};
use roost_types::name::reference;
use roost_types::{Instance, Limits, MemoryBytes, Operation};
use serde::Serialize;

use super::finish;
use crate::args::{ManyArgs, ResizeArgs};
use crate::client::{Client, Outcome, segment};
use crate::error::CliError;
use crate::output::{Columns, Format, Style, or_dash, print};
use crate::time;

/// What is done to an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Start.
    Start,
    /// Stop.
    Stop {
        /// Seconds it may take.
        timeout_seconds: Option<u32>,
    },
    /// Stop and start.
    Restart,
    /// Delete.
    Delete,
}

impl Verb {
    fn doing(self) -> &'static str {
        match self {
            Self::Start => "starting",
            Self::Stop { .. } => "stopping",
            Self::Restart => "restarting",
            Self::Delete => "deleting",
        }
    }

    fn body(self) -> Option<StopInstance> {
        match self {
            Self::Stop { timeout_seconds: Some(seconds) } => Some(StopInstance { timeout_seconds: Some(seconds) }),
            Self::Stop { timeout_seconds: None } | Self::Start | Self::Restart | Self::Delete => None,
        }
    }

    fn request(self, path: &str) -> (Method, String) {
        match self {
            Self::Start => (Method::POST, format!("{path}/start")),
            Self::Stop { .. } => (Method::POST, format!("{path}/stop")),
            Self::Restart => (Method::POST, format!("{path}/restart")),
            Self::Delete => (Method::DELETE, path.to_owned()),
        }
    }
}

/// `roost list`.
pub async fn list(client: &Client, style: Style, filter: Option<&str>, project: Option<&str>) -> Result<(), CliError> {
    let path = project.map_or_else(|| "/v1/instances".to_owned(), |p| format!("/v1/instances?project={}", segment(p)));
    let mut instances: Vec<Instance> = client.list(&path).await?;
    if let Some(text) = filter {
        let node = |i: &Instance| i.node.as_ref().is_some_and(|n| n.as_str().contains(text));
        instances.retain(|i| i.name.as_str().contains(text) || i.state.as_str().contains(text) || node(i));
    }
    let now = time::now();
    let row = |i: &Instance| {
        vec![
            reference(&i.project, &i.name),
            i.state.to_string(),
            or_dash(i.node.as_ref()),
            or_dash(i.address),
            or_dash(ports(i)),
            i.image.clone(),
            i.size.map_or_else(|| format!("{}m/{}", i.cpu_millis, i.memory_bytes), |s| s.to_string()),
            time::age(now.since(i.created_at).as_secs()),
        ]
    };
    let headings = ["NAME", "STATE", "NODE", "ADDRESS", "PORTS", "IMAGE", "SIZE", "AGE"];
    print(
        &style
            .list(&instances, &Columns { headings: &headings, row: &row, name: &|i| reference(&i.project, &i.name) })?,
    )
}

fn ports(instance: &Instance) -> Option<String> {
    let texts: Vec<String> = instance.publish.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

/// `roost info`.
pub async fn info(client: &Client, style: Style, instance: &str) -> Result<(), CliError> {
    show(style, &client.get::<Instance>(&format!("/v1/instances/{}", segment(instance))).await?)
}

/// `roost resize`.
pub async fn resize(client: &Client, style: Style, args: &ResizeArgs) -> Result<(), CliError> {
    let patch = PatchInstance {
        size: args.size,
        cpu_millis: args.cpu_millis,
        memory_bytes: args.memory.map(MemoryBytes),
        disk_bytes: args.disk.map(MemoryBytes),
        limits: args.limits.patch(),
        ..PatchInstance::default()
    };
    let path = format!("/v1/instances/{}", segment(&args.instance));
    let response = client.send(client.request(Method::PATCH, &path).json(&patch)).await?;
    show(style, &client.json::<Instance>(response).await?)
}

/// Prints all of one instance.
pub fn show(style: Style, i: &Instance) -> Result<(), CliError> {
    let pairs = |map: &std::collections::BTreeMap<String, String>| {
        map.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
    };
    let command = i.command.as_ref().map_or_else(|| "the image's own".to_owned(), |words| words.join(" "));
    let exit =
        i.exit_status.map(|e| format!("{}{} at {}", e.code, if e.oom_killed { " (out of memory)" } else { "" }, e.at));
    let size = i.size.map(|s| format!("{s}: ")).unwrap_or_default();
    let mut lines = vec![
        ("Name", i.name.to_string()),
        ("Id", i.id.to_string()),
        ("Project", i.project.to_string()),
        ("State", i.state.to_string()),
    ];
    if !i.state_reason.is_empty() {
        lines.push(("Reason", i.state_reason.clone()));
    }
    lines.extend([
        ("Node", or_dash(i.node.as_ref())),
        ("Network", if i.network.is_bridge() { "bridge".to_owned() } else { "lan".to_owned() }),
        ("Address", or_dash(i.address)),
        ("Ports", or_dash(ports(i))),
        ("Image", format!("{} ({})", i.image, i.image_digest)),
        ("Size", format!("{size}{} millicores, {}, {} of disk", i.cpu_millis, i.memory_bytes, i.disk_bytes)),
        ("Limits", or_dash(limits(&i.limits))),
        ("Command", command),
        ("Restart", format!("{}, restarted {} times", word(&i.restart), i.restarts)),
        ("Node loss", word(&i.node_loss)),
        ("Priority", i.priority.to_string()),
        ("Created", i.created_at.to_string()),
        ("Started", or_dash(i.started_at)),
        ("Last exit", or_dash(exit)),
        ("Labels", pairs(&i.labels)),
    ]);
    print(&style.one(i, i.name.as_str(), &lines)?)
}

/// The limits beside a size that were asked for, by the names of the API.
fn limits(limits: &Limits) -> Option<String> {
    let serde_json::Value::Object(all) = serde_json::to_value(limits).ok()? else { return None };
    let texts: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

/// The word an enum of the API has on the wire.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text.replace('_', "-"),
        _ => String::new(),
    }
}

/// `roost start|stop|restart|delete A B C`: all are tried; the first error is the result.
pub async fn change_many(client: &Client, style: Style, verb: Verb, args: ManyArgs) -> Result<(), CliError> {
    let mut failure = None;
    for instance in &args.instances {
        match change_one(client, style, verb, instance, !args.no_wait).await {
            Ok(()) => print(&format!("{instance}\n"))?,
            Err(error) => {
                if let Some(earlier) = failure.replace(error) {
                    eprintln!("{}", earlier.for_people());
                }
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn change_one(client: &Client, style: Style, verb: Verb, instance: &str, wait: bool) -> Result<(), CliError> {
    let (method, path) = verb.request(&format!("/v1/instances/{}", segment(instance)));
    match client.act_with(method, &path, verb.body().as_ref()).await? {
        Some(operation) if wait => {
            finish(client, style, operation, &format!("{} {instance}", verb.doing())).await.map(drop)
        }
        Some(_) | None => Ok(()),
    }
}

/// `roost rename`.
pub async fn rename(client: &Client, style: Style, instance: &str, new: &str) -> Result<(), CliError> {
    let body = serde_json::json!({ "name": new });
    let path = format!("/v1/instances/{}", segment(instance));
    match client.change::<Instance>(Method::PATCH, &path, Some(&body)).await? {
        Outcome::Done(renamed) if style.format == Format::Table => print(&format!("{}\n", renamed.name)),
        Outcome::Done(renamed) => show(style, &renamed),
        Outcome::Accepted(_) => print(&format!("{new}\n")),
    }
}

/// `roost move`.
pub async fn relocate(
    client: &Client,
    style: Style,
    instance: &str,
    to: Option<String>,
    no_wait: bool,
) -> Result<(), CliError> {
    let body = to.map_or_else(|| serde_json::json!({}), |node| serde_json::json!({ "node": node }));
    let path = format!("/v1/instances/{}", segment(instance));
    let outcome = client.change::<serde_json::Value>(Method::POST, &format!("{path}/move"), Some(&body)).await?;
    if let (Outcome::Accepted(operation), false) = (outcome, no_wait) {
        let _: Operation = finish(client, style, *operation, &format!("moving {instance}")).await?;
        let moved: Instance = client.get(&path).await?;
        return print(&format!("{} is {} on {}\n", moved.name, moved.state, or_dash(moved.node.as_ref())));
    }
    print(&format!("{instance}\n"))
}
