//! What users ask of instances. Each verb changes the wish and opens an operation; `reconcile` does the rest.

use roost_types::instance::{CreateInstance, MAX_STOP_SECONDS, PatchInstance};
use roost_types::name::reference;
use roost_types::size::Resources;
use roost_types::{Code, Desired, EventKind, FirstBoot, InstanceId, Name, OperationId, OperationKind, Problem};

use super::resize;
use crate::command::{Idempotency, Reply};
use crate::draft::Draft;
use crate::row::{FirstBootRow, InstanceRow, Row};
use crate::{place, reconcile, validate};

pub fn create(
    draft: &mut Draft,
    request: &CreateInstance,
    idempotency: Option<&Idempotency>,
) -> Result<Reply, Problem> {
    if let Some(done) = idempotency.and_then(|idem| repeated(draft, idem)) {
        return done;
    }
    let project = validate::project(request)?;
    let name = match validate::name(request)? {
        Some(name) => free_name(draft, &project, name)?,
        None => {
            let stem = request.source.as_ref().map_or(&request.image, |source| &source.instance);
            make_name(draft, &project, stem)
        }
    };
    let id = draft.instance_id();
    let operation = draft.open(OperationKind::InstanceCreate, resource(id));
    let mut row = validate::row(&draft.cluster, request, name, id, operation, draft.now)?;
    row.generation = draft.next_revision();
    row.idempotency = idempotency.map(|idem| (idem.key.clone(), idem.fingerprint.clone()));
    place::check_possible(&draft.cluster, &row)?;
    let message = match &request.source {
        None => format!("instance {} was asked for: image {}", row.name, row.image),
        Some(source) => {
            let from = (&source.snapshot, &source.instance);
            format!("instance {} was asked for: snapshot {} of {}", row.name, from.0, from.1)
        }
    };
    let subject = subject(&row.project, &row.name);
    draft.put(Row::Instance(row));
    let content = FirstBoot { user_data: request.user_data.clone(), ssh_keys: request.ssh_keys.clone() };
    if !content.is_empty() {
        draft.put(Row::FirstBoot(FirstBootRow { instance: id, content }));
    }
    draft.event(EventKind::InstanceCreated, subject, message);
    reconcile::instance(draft, id);
    Ok(Reply::Instance { instance: id, operation })
}

/// The answer to a request that was made before with the same key.
fn repeated(draft: &Draft, idem: &Idempotency) -> Option<Result<Reply, Problem>> {
    let row = draft.cluster.idempotency.get(&idem.key).and_then(|id| draft.cluster.instances.get(id))?;
    let same = row.idempotency.as_ref().is_some_and(|(_, fingerprint)| *fingerprint == idem.fingerprint);
    Some(if same {
        Ok(Reply::Instance { instance: row.id, operation: row.created_by })
    } else {
        let detail = "this Idempotency-Key came with another body before: use a new key for a new request";
        Err(Problem::new(Code::IdempotencyMismatch, detail))
    })
}

fn free_name(draft: &Draft, project: &Name, name: Name) -> Result<Name, Problem> {
    if draft.cluster.instance_names.contains_key(&(project.clone(), name.clone())) {
        let detail = format!("an instance '{name}' exists: choose another name or delete it first");
        return Err(Problem::new(Code::NameTaken, detail).field("name"));
    }
    Ok(name)
}

fn make_name(draft: &mut Draft, project: &Name, image: &str) -> Name {
    let stem: String = image.chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit()).take(40).collect();
    let stem = if stem.starts_with(|c: char| c.is_ascii_lowercase()) { stem } else { "instance".to_owned() };
    loop {
        let suffix = draft.name_suffix();
        let Ok(name) = format!("{stem}-{suffix}").parse::<Name>() else { continue };
        if !draft.cluster.instance_names.contains_key(&(project.clone(), name.clone())) {
            return name;
        }
    }
}

/// Path of an instance, as operations name it.
pub fn resource(id: InstanceId) -> String {
    format!("/v1/instances/{id}")
}

/// Path of an instance, as events name it.
pub fn subject(project: &Name, name: &Name) -> String {
    format!("/v1/instances/{}", reference(project, name))
}

/// The instance, which must not be on its way out.
pub fn find(draft: &Draft, reference: &str) -> Result<InstanceRow, Problem> {
    let row = draft.cluster.find_instance(reference)?;
    match row.desired {
        Desired::Deleted => Err(Problem::new(Code::Conflict, format!("instance '{}' is being deleted", row.name))),
        Desired::Running | Desired::Stopped => Ok(InstanceRow::clone(row)),
    }
}

pub fn patch(
    draft: &mut Draft,
    reference: &str,
    patch: &PatchInstance,
    if_match: Option<u64>,
) -> Result<Reply, Problem> {
    let row = find(draft, reference)?;
    check_generation(row.generation, if_match)?;
    if let Some(labels) = &patch.labels {
        validate::labels("labels", labels)?;
    }
    let priority = patch.priority.map(validate::priority).transpose()?;
    let resized = resize::wanted(draft, &row, patch)?;
    let name = patch.name.as_deref().map(validate::name_of).transpose()?.filter(|name| *name != row.name);
    let name = name.map(|name| free_name(draft, &row.project, name)).transpose()?;
    let generation = draft.next_revision();
    draft.edit_instance(row.id, |row| {
        row.generation = generation;
        if let Some((size, resources)) = resized {
            (row.size, row.resources) = (size, resources);
            row.disk_asked |= patch.disk_bytes.is_some();
        }
        row.labels = patch.labels.clone().unwrap_or_else(|| row.labels.clone());
        row.restart = patch.restart.unwrap_or(row.restart);
        row.node_loss = patch.node_loss.unwrap_or(row.node_loss);
        row.priority = priority.unwrap_or(row.priority);
    });
    if let Some(name) = name {
        rename(draft, &row, &name);
    }
    if let Some(allocation) = row.allocation.filter(|_| patch.restart.is_some() || resized.is_some()) {
        draft.edit_spec(allocation, |row| {
            row.spec.restart = patch.restart.unwrap_or(row.spec.restart);
            row.spec.resources = resized.map_or(row.spec.resources, |(_, resources)| resources);
        });
    }
    let name = draft.cluster.instances.get(&row.id).map_or(&row.name, |row| &row.name).clone();
    let same = |to: Resources| Resources { limits: row.resources.limits, ..to } == row.resources;
    if let Some((_, resources)) = resized {
        let message = if same(resources) {
            format!("limits of instance {name} changed")
        } else {
            resized_from(&name, row.resources, resources)
        };
        draft.event(EventKind::InstanceUpdated, subject(&row.project, &name), message);
        // A smaller one may fit at last; what it gives back, another may take.
        draft.make_room();
        reconcile::pending(draft);
    } else if patch.labels.is_some()
        || patch.restart.is_some()
        || patch.node_loss.is_some()
        || patch.priority.is_some()
        || patch.name.is_none()
    {
        draft.event(
            EventKind::InstanceUpdated,
            subject(&row.project, &name),
            format!("settings of instance {name} changed"),
        );
    }
    Ok(Reply::InstanceUpdated(row.id))
}

fn resized_from(name: &Name, from: Resources, to: Resources) -> String {
    let (before, after) = (from.memory_bytes.0 >> 20, to.memory_bytes.0 >> 20);
    format!(
        "instance {name} gets {} thousandths of a core and {after} MiB (before: {} and {before} MiB)",
        to.cpu_millis, from.cpu_millis
    )
}

/// Gives it another name everywhere; what runs learns it at its next start.
fn rename(draft: &mut Draft, row: &InstanceRow, name: &Name) {
    draft.edit_instance(row.id, |row| row.name = name.clone());
    let all: Vec<_> = draft.cluster.allocations_of(row.id).map(|row| row.spec.id).collect();
    for allocation in all {
        draft.edit_spec(allocation, |row| row.spec.name = name.clone());
    }
    let message = format!("instance {} is called {name} now", row.name);
    draft.event(EventKind::InstanceRenamed, subject(&row.project, name), message);
}

/// Refuses a change to something that has changed since the caller read it.
pub fn check_generation(now: u64, if_match: Option<u64>) -> Result<(), Problem> {
    match if_match {
        Some(then) if then != now => {
            let detail = format!("it is at generation {now}, not {then}: read it again");
            Err(Problem::new(Code::PreconditionFailed, detail))
        }
        Some(_) | None => Ok(()),
    }
}

/// Changes the wish, opens the operation and sets it going.
fn wish(
    draft: &mut Draft,
    row: &InstanceRow,
    kind: OperationKind,
    edit: impl FnOnce(&mut InstanceRow),
) -> (InstanceId, OperationId) {
    supersede(draft, row.id);
    let operation = draft.open(kind, resource(row.id));
    let generation = draft.next_revision();
    draft.edit_instance(row.id, |row| {
        row.generation = generation;
        row.halted = None;
        edit(row);
    });
    reconcile::instance(draft, row.id);
    (row.id, operation)
}

/// Ends the operations that an opposite wish makes pointless.
pub fn supersede(draft: &mut Draft, id: InstanceId) {
    for operation in reconcile::open_operations(&draft.cluster, id) {
        let detail = "a later request changed what is wanted of the instance";
        draft.finish(operation, Err(Problem::new(Code::Conflict, detail)));
    }
}

pub fn start(draft: &mut Draft, reference: &str) -> Result<Reply, Problem> {
    let row = find(draft, reference)?;
    let epoch = row.epoch + u64::from(reconcile::has_settled(&draft.cluster, &row));
    let (instance, operation) = wish(draft, &row, OperationKind::InstanceStart, |row| {
        row.desired = Desired::Running;
        row.epoch = epoch;
    });
    Ok(Reply::Instance { instance, operation })
}

pub fn stop(draft: &mut Draft, reference: &str, timeout_seconds: Option<u32>) -> Result<Reply, Problem> {
    let row = find(draft, reference)?;
    if let Some(seconds) = timeout_seconds.filter(|seconds| *seconds > MAX_STOP_SECONDS) {
        let detail = format!("{seconds} is not 0 to {MAX_STOP_SECONDS} seconds");
        return Err(Problem::new(Code::InvalidField, detail).field("timeout_seconds"));
    }
    let (instance, operation) = wish(draft, &row, OperationKind::InstanceStop, |row| {
        row.desired = Desired::Stopped;
        row.stop_seconds = timeout_seconds;
    });
    Ok(Reply::Instance { instance, operation })
}

pub fn restart(draft: &mut Draft, reference: &str) -> Result<Reply, Problem> {
    let row = find(draft, reference)?;
    let (instance, operation) = wish(draft, &row, OperationKind::InstanceRestart, |row| {
        row.desired = Desired::Running;
        row.epoch += 1;
    });
    Ok(Reply::Instance { instance, operation })
}

pub fn delete(draft: &mut Draft, reference: &str) -> Result<Reply, Problem> {
    let row = InstanceRow::clone(draft.cluster.find_instance(reference)?);
    super::snapshots::refuse_if_source(draft, &row, None)?;
    let (instance, operation) = wish(draft, &row, OperationKind::InstanceDelete, |row| row.desired = Desired::Deleted);
    Ok(Reply::Instance { instance, operation })
}

pub fn move_to(draft: &mut Draft, reference: &str, to: Option<&str>) -> Result<Reply, Problem> {
    let row = find(draft, reference)?;
    let to = to.map(|to| draft.cluster.find_node(to).map(|node| node.id)).transpose();
    let to = to.map_err(|problem| Problem { code: Code::InvalidField, ..problem }.field("to"))?;
    supersede(draft, row.id);
    let operation = draft.open(OperationKind::InstanceMove, resource(row.id));
    reconcile::begin_move(draft, row.id, to, "a user asked for it")?;
    Ok(Reply::Instance { instance: row.id, operation })
}
