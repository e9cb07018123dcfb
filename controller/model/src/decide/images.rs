//! Images come and go; their files are the shell's.

use roost_types::{Code, EventKind, Image, Problem};

use crate::command::Reply;
use crate::draft::Draft;
use crate::row::{Kind, Row};

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

/// Takes an alias from the image that has it.
fn take_alias(draft: &mut Draft, alias: &str, new: &Image) {
    let Some(old) = draft.cluster.aliases.get(alias).filter(|digest| **digest != new.digest) else { return };
    let Some(old) = draft.cluster.images.get(old) else { return };
    let mut old = Image::clone(old);
    old.aliases.retain(|other| other != alias);
    draft.put(Row::Image(old));
}

pub fn delete(draft: &mut Draft, reference: &str) -> Result<Reply, Problem> {
    let image = draft.cluster.find_image(reference)?.clone();
    if let Some(user) = draft.cluster.instances.values().find(|row| row.digest == image.digest) {
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
