//! Images come and go; their files are the shell's.

use roost_types::operation::Progress;
use roost_types::{Code, EventKind, Image, OperationId, OperationKind, OperationStatus, Problem};

use crate::command::Reply;
use crate::draft::Draft;
use crate::row::{InstanceRow, Kind, Row};

pub fn add(draft: &mut Draft, image: &Image) -> Reply {
    let known = draft.cluster.images.get(&image.digest).cloned();
    for alias in &image.aliases {
        take_alias(draft, alias, image);
    }
    let mut row = image.clone();
    if let Some(known) = known {
        row.created_at = known.created_at;
        let kept = known.aliases.iter().filter(|alias| !image.aliases.contains(alias)).cloned();
        row.aliases.extend(kept);
    }
    row.aliases.sort();
    let subject = format!("/v1/images/{}", row.digest);
    let message = format!("image {} was stored: {} bytes", row.aliases.join(", "), row.size_bytes);
    let digest = row.digest.clone();
    draft.put(Row::Image(row));
    draft.event(EventKind::ImageCreated, subject, message);
    Reply::Image(digest)
}

pub fn begin_import(draft: &mut Draft, alias: &str) -> Reply {
    Reply::Operation(draft.open(OperationKind::ImageImport, format!("/v1/images/{alias}")))
}

/// An operation that has ended (it was cancelled) is not touched any more.
pub fn progress(draft: &mut Draft, id: OperationId, progress: &Progress) -> Reply {
    if is_open(draft, id) {
        draft.edit_operation(id, |operation| operation.progress = progress.clone());
    }
    Reply::Operation(id)
}

pub fn finish_import(draft: &mut Draft, id: OperationId, outcome: Result<&Image, Problem>) -> Result<Reply, Problem> {
    if !is_open(draft, id) {
        return Err(Problem::new(Code::Conflict, "the import was cancelled"));
    }
    match outcome {
        Ok(image) => {
            let reply = add(draft, image);
            draft.finish(id, Ok(()));
            Ok(reply)
        }
        Err(problem) => {
            draft.finish(id, Err(problem));
            Ok(Reply::Operation(id))
        }
    }
}

fn is_open(draft: &Draft, id: OperationId) -> bool {
    draft.cluster.operations.get(&id).is_some_and(|operation| operation.status == OperationStatus::Running)
}

/// What was being imported when the controller stopped is gone: its files are swept at the start.
pub fn abandon_imports(draft: &mut Draft) {
    let open: Vec<OperationId> = draft.cluster.open_operations.iter().copied().collect();
    for id in open {
        if draft.cluster.operations.get(&id).is_some_and(|operation| operation.kind == OperationKind::ImageImport) {
            let detail = "the controller was restarted during the import: start it again";
            draft.finish(id, Err(Problem::new(Code::Unavailable, detail)));
        }
    }
}

/// Takes an alias from the image of the same instruction set that has it.
fn take_alias(draft: &mut Draft, alias: &str, new: &Image) {
    let same_arch = draft.cluster.aliases.get(alias).and_then(|stands_for| stands_for.get(&new.arch));
    let Some(old) = same_arch.filter(|digest| **digest != new.digest) else { return };
    let Some(old) = draft.cluster.images.get(old) else { return };
    let mut old = Image::clone(old);
    old.aliases.retain(|other| other != alias);
    draft.put(Row::Image(old));
}

fn uses(row: &InstanceRow, image: &Image) -> bool {
    row.digest == image.digest || row.variants.contains(&image.digest)
}

pub fn delete(draft: &mut Draft, reference: &str) -> Result<Reply, Problem> {
    let image = draft.cluster.find_image(reference)?.clone();
    if let Some(user) = draft.cluster.instances.values().find(|row| uses(row, &image)) {
        let detail = format!("instance '{}' uses image '{reference}': delete the instance first", user.name);
        return Err(Problem::new(Code::Conflict, detail));
    }
    draft.delete(Kind::Image, image.digest.to_string());
    draft.event(
        EventKind::ImageDeleted,
        format!("/v1/images/{}", image.digest),
        format!("image {reference} was removed"),
    );
    Ok(Reply::ImageForgotten(image.digest.clone()))
}
