//! What a request must look like before anything is decided about it: every refusal names the field and the fix.

mod first_boot;
mod limits;

use std::collections::BTreeMap;
use std::sync::Arc;

use roost_scheduler::collide;
use roost_types::image_transfer::PEER_PORT;
use roost_types::instance::{CreateInstance, InstanceKind, MAX_PRIORITY, Network, PatchInstance, Transport};
use roost_types::size::Resources;
use roost_types::{
    Code, DEFAULT_PROJECT, Desired, Image, InstanceId, MemoryBytes, Name, OperationId, Problem, Publish, Size,
    SnapshotSource, Timestamp,
};

use crate::cluster::{Cluster, list_or_none};
use crate::row::{InstanceRow, Source};
use crate::snapshots;

/// Words in a command.
const MAX_COMMAND_WORDS: usize = 128;
/// Bytes in a command.
const MAX_COMMAND_BYTES: usize = 4096;
/// Environment variables.
const MAX_ENV: usize = 128;
/// Bytes of one environment variable's value.
const MAX_ENV_VALUE: usize = 4096;
/// Published ports of an instance.
const MAX_PUBLISH: usize = 32;
/// Labels of an object.
const MAX_LABELS: usize = 32;
/// Bytes of a label's key or value.
const MAX_LABEL: usize = 128;
/// Cpu that may be asked for, in thousandths of a core.
const CPU: std::ops::RangeInclusive<u32> = 50..=64_000;
/// The smallest writable layer that is of use.
const MIN_DISK: MemoryBytes = MemoryBytes::mib(16);
/// The smallest container that can start.
const MIN_MEMORY: MemoryBytes = MemoryBytes::mib(8);

/// The project of everything that names none.
pub fn default_project() -> Name {
    DEFAULT_PROJECT.parse().expect("the default project's name is a name")
}

fn invalid(field: &str, detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidField, detail).field(field)
}

/// The chosen name, if one was.
pub fn name(request: &CreateInstance) -> Result<Option<Name>, Problem> {
    request.name.as_deref().map(name_of).transpose()
}

/// A name that a person chose, in the field `name`.
pub fn name_of(text: &str) -> Result<Name, Problem> {
    let bad = |e| Problem::new(Code::InvalidName, format!("'{}': {e}", shorten(text))).field("name");
    text.parse().map_err(bad)
}

/// The project: there from its first instance on.
pub fn project(request: &CreateInstance) -> Result<Name, Problem> {
    let Some(text) = &request.project else { return Ok(default_project()) };
    text.parse().map_err(|e| invalid("project", format!("'{}': {e}", shorten(text))))
}

/// What the instance is to be given.
fn resources(request: &CreateInstance) -> Result<(Option<Size>, Resources), Problem> {
    match (request.size, request.cpu_millis, request.memory_bytes) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(invalid("size", "give either size, or cpu_millis and memory_bytes, not both"))
        }
        (Some(size), None, None) => Ok((Some(size), size.resources())),
        (None, None, None) => Ok((Some(Size::Nano), Size::Nano.resources())),
        (None, Some(cpu_millis), Some(memory_bytes)) => custom(cpu_millis, memory_bytes).map(|r| (None, r)),
        (None, None, Some(_)) => Err(missing("cpu_millis", "memory_bytes")),
        (None, Some(_), None) => Err(missing("memory_bytes", "cpu_millis")),
    }
}

/// What an instance that has `now` is to be given, if the request says.
///
/// # Errors
/// `invalid_field`, with the field.
pub fn resized(
    size: Option<Size>,
    now: Resources,
    patch: &PatchInstance,
) -> Result<Option<(Option<Size>, Resources)>, Problem> {
    let disk_bytes = disk(patch.disk_bytes, now.disk_bytes)?;
    let limits = patch.limits.applied_to(now.limits);
    let (size, resources) = match (patch.size, patch.cpu_millis, patch.memory_bytes) {
        (None, None, None) if patch.disk_bytes.is_none() && patch.limits.is_empty() => return Ok(None),
        (None, None, None) => (size, Resources { disk_bytes, limits, ..now }),
        (Some(size), None, None) => {
            let resources = size.resources();
            let disk_bytes = if patch.disk_bytes.is_some() { disk_bytes } else { resources.disk_bytes };
            (Some(size), Resources { disk_bytes, limits, ..resources })
        }
        (Some(_), ..) => return Err(invalid("size", "give either size, or cpu_millis and memory_bytes, not both")),
        (None, cpu_millis, memory_bytes) => {
            let custom = custom(cpu_millis.unwrap_or(now.cpu_millis), memory_bytes.unwrap_or(now.memory_bytes))?;
            (None, Resources { disk_bytes, limits, pids: now.pids, ..custom })
        }
    };
    limits::check(&resources)?;
    Ok(Some((size, resources)))
}

/// A priority in its range.
///
/// # Errors
/// `invalid_field`.
pub fn priority(priority: i8) -> Result<i8, Problem> {
    if (-MAX_PRIORITY..=MAX_PRIORITY).contains(&priority) {
        Ok(priority)
    } else {
        Err(invalid("priority", format!("{priority} is not in -{MAX_PRIORITY} to {MAX_PRIORITY}")))
    }
}

fn disk(asked: Option<MemoryBytes>, otherwise: MemoryBytes) -> Result<MemoryBytes, Problem> {
    match asked {
        Some(bytes) if bytes < MIN_DISK => Err(invalid("disk_bytes", format!("{} is less than {MIN_DISK}", bytes.0))),
        Some(bytes) => Ok(bytes),
        None => Ok(otherwise),
    }
}

fn missing(field: &str, with: &str) -> Problem {
    Problem::new(Code::MissingField, format!("{with} needs {field} beside it; or give a size")).field(field)
}

fn custom(cpu_millis: u32, memory_bytes: MemoryBytes) -> Result<Resources, Problem> {
    if !CPU.contains(&cpu_millis) {
        return Err(invalid("cpu_millis", format!("{cpu_millis} is not in {} to {}", CPU.start(), CPU.end())));
    }
    if memory_bytes < MIN_MEMORY {
        return Err(invalid("memory_bytes", format!("{} is less than {MIN_MEMORY}", memory_bytes.0)));
    }
    let small = Size::Small.resources();
    Ok(Resources { cpu_millis, memory_bytes, ..small })
}

/// The row of a new instance, if the request can be used.
pub fn row(
    cluster: &Cluster,
    request: &CreateInstance,
    name: Name,
    id: InstanceId,
    created_by: OperationId,
    now: Timestamp,
) -> Result<InstanceRow, Problem> {
    if let Some(source) = &request.source {
        return row_from_snapshot(cluster, (request, source), name, id, created_by, now);
    }
    let project = project(request)?;
    let (size, mut resources) = resources(request)?;
    resources.disk_bytes = disk(request.disk_bytes, resources.disk_bytes)?;
    resources.limits = request.limits;
    limits::check(&resources)?;
    create(request)?;
    if request.image.is_empty() {
        let detail = "name the image to launch, or the snapshot to begin with in source";
        return Err(Problem::new(Code::MissingField, detail).field("image"));
    }
    let images = cluster.find_images(&request.image)?;
    let starts_by_itself = |image: &&Arc<Image>| image.init.is_some() || !image.startup.command.is_empty();
    if request.command.is_none() && !images.iter().all(starts_by_itself) {
        let detail = format!("image '{}' has no init or command of its own: give a command to run", request.image);
        return Err(Problem::new(Code::MissingField, detail).field("command"));
    }
    if let Some(node) = &request.constraints.node {
        cluster.find_node(node).map_err(|_| unknown_node(cluster, node))?;
    }
    let mut digests = images.iter().map(|image| image.digest.clone());
    let digest = digests.next().ok_or_else(|| crate::cluster::not_found("image", &request.image))?;
    Ok(InstanceRow {
        id,
        name,
        project,
        kind: request.kind,
        image: request.image.clone(),
        digest,
        variants: digests.collect(),
        size,
        resources,
        disk_asked: request.disk_bytes.is_some(),
        command: request.command.clone(),
        env: request.env.clone(),
        publish: request.publish.clone(),
        network: request.network,
        constraints: request.constraints.clone(),
        restart: request.restart,
        node_loss: request.node_loss,
        priority: priority(request.priority)?,
        labels: request.labels.clone(),
        desired: Desired::Running,
        generation: 0,
        epoch: 1,
        allocation: None,
        moving: None,
        stranded: false,
        halted: None,
        stop_seconds: None,
        snapshots: Vec::new(),
        restoring: None,
        source: None,
        moved_at: None,
        placement: None,
        idempotency: None,
        created_by,
        created_at: now,
    })
}

/// The row of a new instance that begins with a snapshot: what the request does not say is as it is there.
fn row_from_snapshot(
    cluster: &Cluster,
    (request, wanted): (&CreateInstance, &SnapshotSource),
    name: Name,
    id: InstanceId,
    created_by: OperationId,
    now: Timestamp,
) -> Result<InstanceRow, Problem> {
    let below = |field: &str, problem: Problem| problem.field(format!("source.{field}"));
    let owner = cluster.find_instance(&wanted.instance).map_err(|problem| below("instance", problem))?;
    let snapshot = snapshots::find_ready(owner, &wanted.snapshot).map_err(|problem| below("snapshot", problem))?;
    if !request.image.is_empty() {
        return Err(invalid("image", "a snapshot has its image: leave image out, or source"));
    }
    let says_nothing = request.size.is_none() && request.cpu_millis.is_none() && request.memory_bytes.is_none();
    let limits = if says_nothing && request.limits.is_none() { owner.resources.limits } else { request.limits };
    let merged = CreateInstance {
        source: None,
        limits,
        image: owner.digest.to_string(),
        command: request.command.clone().or_else(|| owner.command.clone()),
        env: if request.env.is_empty() { owner.env.clone() } else { request.env.clone() },
        ..request.clone()
    };
    let mut new = row(cluster, &merged, name, id, created_by, now)?;
    new.image.clone_from(&owner.image);
    if says_nothing {
        (new.size, new.resources) = (owner.size, Resources { limits, ..owner.resources });
        limits::check(&new.resources)?;
    }
    new.source = Some(Source { instance: owner.id, snapshot: snapshot.id });
    Ok(new)
}

fn unknown_node(cluster: &Cluster, node: &str) -> Problem {
    let known: Vec<&str> = cluster.node_names.keys().map(Name::as_str).collect();
    invalid("constraints.node", format!("there is no node '{}'; there are: {}", shorten(node), list_or_none(&known)))
}

/// Everything else of a launch request.
fn create(request: &CreateInstance) -> Result<(), Problem> {
    if request.kind == InstanceKind::Board {
        return Err(invalid("kind", "whole boards are not offered by this release; leave kind out for a container"));
    }
    if let Some(command) = &request.command {
        words(command)?;
    }
    environment(&request.env)?;
    first_boot::check(request)?;
    ports(&request.publish)?;
    if request.network == Network::Lan && !request.publish.is_empty() {
        let detail = "an instance on the LAN is reached at its own address there: leave publish out";
        return Err(invalid("publish", detail));
    }
    labels("labels", &request.labels)?;
    labels("constraints.labels", &request.constraints.labels)
}

fn words(command: &[String]) -> Result<(), Problem> {
    let bytes: usize = command.iter().map(String::len).sum();
    match command.first() {
        None => Err(invalid("command", "an empty command cannot be run; leave it out for the image's own init")),
        Some(first) if first.is_empty() => Err(invalid("command[0]", "the program's name is empty")),
        Some(_) if command.len() > MAX_COMMAND_WORDS || bytes > MAX_COMMAND_BYTES => {
            Err(invalid("command", format!("more than {MAX_COMMAND_WORDS} words or {MAX_COMMAND_BYTES} bytes")))
        }
        Some(_) => match command.iter().position(|word| word.contains('\0')) {
            Some(at) => Err(invalid(&format!("command[{at}]"), "a NUL byte cannot be passed to a program")),
            None => Ok(()),
        },
    }
}

fn environment(env: &BTreeMap<String, String>) -> Result<(), Problem> {
    if env.len() > MAX_ENV {
        return Err(invalid("env", format!("more than {MAX_ENV} variables")));
    }
    for (key, value) in env {
        let starts_well = key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let all_allowed = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !starts_well || !all_allowed || key.len() > MAX_LABEL {
            let detail = format!("'{}' is not a variable name: letters, digits and '_'", shorten(key));
            return Err(invalid("env", detail));
        }
        if value.contains(['\0', '\n']) || value.len() > MAX_ENV_VALUE {
            let detail = format!("no NUL or line break, and at most {MAX_ENV_VALUE} bytes");
            return Err(invalid(&format!("env.{key}"), detail));
        }
    }
    Ok(())
}

fn ports(publish: &[Publish]) -> Result<(), Problem> {
    if publish.len() > MAX_PUBLISH {
        return Err(invalid("publish", format!("more than {MAX_PUBLISH} ports")));
    }
    for (at, one) in publish.iter().enumerate() {
        if one.host == PEER_PORT && one.transport == Transport::Tcp {
            let detail = format!("port {PEER_PORT} is where boards fetch images from one another: choose another one");
            return Err(invalid(&format!("publish[{at}]"), detail));
        }
        if publish[..at].iter().any(|other| collide(one, other)) {
            return Err(invalid(&format!("publish[{at}]"), format!("host port {} is there twice", one.host)));
        }
    }
    Ok(())
}

/// Labels of an object.
pub fn labels(field: &str, labels: &BTreeMap<String, String>) -> Result<(), Problem> {
    let fits = |text: &str| text.len() <= MAX_LABEL && !text.chars().any(char::is_control);
    if labels.len() > MAX_LABELS {
        return Err(invalid(field, format!("more than {MAX_LABELS} labels")));
    }
    match labels.iter().find(|(key, value)| key.is_empty() || !fits(key) || !fits(value)) {
        Some((key, _)) => {
            let detail = format!("'{}': 1 to {MAX_LABEL} printable bytes, value at most {MAX_LABEL}", shorten(key));
            Err(invalid(field, detail))
        }
        None => Ok(()),
    }
}

/// The text, cut so that an error never carries a caller's novel.
pub fn shorten(text: &str) -> String {
    const KEPT: usize = 80;
    if text.chars().count() <= KEPT { text.to_owned() } else { text.chars().take(KEPT).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use roost_types::UserData;

    use super::*;

    fn refused(edit: impl FnOnce(&mut CreateInstance)) -> (Code, String) {
        let mut request = CreateInstance::of_image("busybox");
        edit(&mut request);
        let problem = name(&request)
            .and_then(|_| project(&request))
            .and_then(|_| resources(&request))
            .and_then(|_| create(&request))
            .unwrap_err();
        (problem.code, problem.field.unwrap_or_default())
    }

    #[test]
    fn the_smallest_request_is_accepted_as_nano() {
        let request = CreateInstance::of_image("busybox");
        assert_eq!(create(&request), Ok(()));
        assert_eq!(resources(&request).unwrap().0, Some(Size::Nano));
    }

    #[test]
    fn every_refusal_names_its_field() {
        let port = |text: &str| text.parse::<Publish>().unwrap();
        let cases = [
            (refused(|r| r.name = Some("No Good".into())), Code::InvalidName, "name"),
            (refused(|r| r.project = Some("No Project".into())), Code::InvalidField, "project"),
            (refused(|r| r.kind = InstanceKind::Board), Code::InvalidField, "kind"),
            (refused(|r| (r.size, r.cpu_millis) = (Some(Size::Nano), Some(100))), Code::InvalidField, "size"),
            (refused(|r| r.cpu_millis = Some(100)), Code::MissingField, "memory_bytes"),
            (refused(|r| r.memory_bytes = Some(MemoryBytes::mib(64))), Code::MissingField, "cpu_millis"),
            (
                refused(|r| (r.cpu_millis, r.memory_bytes) = (Some(1), Some(MemoryBytes::mib(64)))),
                Code::InvalidField,
                "cpu_millis",
            ),
            (
                refused(|r| (r.cpu_millis, r.memory_bytes) = (Some(100), Some(MemoryBytes(1)))),
                Code::InvalidField,
                "memory_bytes",
            ),
            (refused(|r| r.command = Some(vec![])), Code::InvalidField, "command"),
            (refused(|r| r.command = Some(vec!["a\0b".into()])), Code::InvalidField, "command[0]"),
            (refused(|r| r.command = Some(vec!["a".into(); 129])), Code::InvalidField, "command"),
            (refused(|r| drop(r.env.insert("A B".into(), "x".into()))), Code::InvalidField, "env"),
            (refused(|r| drop(r.env.insert("A".into(), "x\ny".into()))), Code::InvalidField, "env.A"),
            (refused(|r| r.publish = vec![port("80:80"), port("80:81")]), Code::InvalidField, "publish[1]"),
            (refused(|r| (r.network, r.publish) = (Network::Lan, vec![port("80:80")])), Code::InvalidField, "publish"),
            (refused(|r| drop(r.labels.insert(String::new(), "x".into()))), Code::InvalidField, "labels"),
            (refused(|r| r.user_data = Some(UserData("x".repeat(65_537)))), Code::InvalidField, "user_data"),
            (refused(|r| r.ssh_keys = vec!["ssh-dss AAAA".into()]), Code::InvalidField, "ssh_keys[0]"),
        ];
        for ((code, field), want_code, want_field) in cases {
            assert_eq!((code, field.as_str()), (want_code, want_field));
        }
    }
}
