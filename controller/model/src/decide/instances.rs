//! What users ask of instances. Each verb changes the wish and opens an operation; `reconcile` does the rest.

use roost_types::instance::{CreateInstance, PatchInstance};
use roost_types::name::reference;
use roost_types::size::Resources;
use roost_types::{Code, Desired, EventKind, InstanceId, Name, OperationId, OperationKind, Problem};

use super::resize;
use crate::command::{Idempotency, Reply};
use crate::draft::Draft;
use crate::row::{InstanceRow, Row};
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
        None => make_name(draft, &project, &request.image),
    };
    let id = draft.instance_id();
    let operation = draft.open(OperationKind::InstanceCreate, resource(id));
    let mut row = validate::row(&draft.cluster, request, name, id, operation, draft.now)?;
    row.generation = draft.next_revision();
    row.idempotency = idempotency.map(|idem| (idem.key.clone(), idem.fingerprint.clone()));
    place::check_possible(&draft.cluster, &row)?;
    let message = format!("instance {} was asked for: image {}", row.name, row.image);
    let subject = subject(&row.project, &row.name);
    draft.put(Row::Instance(row));
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
fn find(draft: &Draft, reference: &str) -> Result<InstanceRow, Problem> {
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
    let resized = resize::wanted(draft, &row, patch)?;
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
    });
    if let Some(allocation) = row.allocation.filter(|_| patch.restart.is_some() || resized.is_some()) {
        draft.edit_settings(allocation, |spec| {
            spec.restart = patch.restart.unwrap_or(spec.restart);
            spec.resources = resized.map_or(spec.resources, |(_, resources)| resources);
        });
    }
    draft.event(
        EventKind::InstanceUpdated,
        subject(&row.project, &row.name),
        updated(&row, resized.map(|(_, resources)| resources)),
    );
    if resized.is_some() {
        // A smaller one may fit at last; what it gives back, another may take.
        draft.make_room();
        reconcile::pending(draft);
    }
    Ok(Reply::InstanceUpdated(row.id))
}

fn updated(row: &InstanceRow, to: Option<Resources>) -> String {
    match to {
        Some(to) => format!(
            "instance {} gets {} thousandths of a core and {} MiB (before: {} and {} MiB)",
            row.name,
            to.cpu_millis,
            to.memory_bytes.0 >> 20,
            row.resources.cpu_millis,
            row.resources.memory_bytes.0 >> 20
        ),
        None => format!("settings of instance {} changed", row.name),
    }
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
        edit(row);
    });
    reconcile::instance(draft, row.id);
    (row.id, operation)
}

/// Ends the operations that an opposite wish makes pointless.
fn supersede(draft: &mut Draft, id: InstanceId) {
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

pub fn stop(draft: &mut Draft, reference: &str) -> Result<Reply, Problem> {
    let row = find(draft, reference)?;
    let (instance, operation) = wish(draft, &row, OperationKind::InstanceStop, |row| row.desired = Desired::Stopped);
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
