//! Giving an instance more or less while it runs.

use roost_types::instance::PatchInstance;
use roost_types::size::Resources;
use roost_types::{AllocationId, Code, Limits, Problem, Size};

use crate::draft::Draft;
use crate::row::InstanceRow;
use crate::{features, place, validate};

/// What the instance is to be given, if the request changes that.
///
/// # Errors
/// `invalid_field` for an amount that nobody could ask for, `too_large` for one that no node has, `conflict` when its
/// node has not enough left.
pub fn wanted(
    draft: &Draft,
    row: &InstanceRow,
    patch: &PatchInstance,
) -> Result<Option<(Option<Size>, Resources)>, Problem> {
    let Some((size, resources)) = validate::resized(row.size, row.resources, patch)? else { return Ok(None) };
    let larger = InstanceRow { size, resources, ..row.clone() };
    place::check_size(&draft.cluster, &larger)?;
    if let Some(allocation) = row.allocation {
        check_room(draft, row, resources, allocation)?;
        if patch.disk_bytes.is_some() {
            check_disk_limit(draft, allocation)?;
        }
        check_limits(draft, &patch.limits.applied_to(Limits::NONE), allocation)?;
    }
    Ok(Some((size, resources)))
}

/// Whether the node that has the instance can enforce a disk limit.
fn check_disk_limit(draft: &Draft, allocation: AllocationId) -> Result<(), Problem> {
    let node = draft.cluster.allocations.get(&allocation).and_then(|on| draft.cluster.nodes.get(&on.node));
    match node.and_then(|node| Some((node, node.denies(features::DISK_LIMIT)?))) {
        Some((node, advice)) => {
            let detail = format!("node {} cannot enforce a disk limit: {advice}", node.name);
            Err(Problem::new(Code::Conflict, detail).field("disk_bytes"))
        }
        None => Ok(()),
    }
}

/// Whether the node that has the instance can enforce what is asked for anew.
fn check_limits(draft: &Draft, asked: &Limits, allocation: AllocationId) -> Result<(), Problem> {
    let on = draft.cluster.allocations.get(&allocation).and_then(|on| draft.cluster.nodes.get(&on.node));
    let Some(node) = on else { return Ok(()) };
    match features::needed_by(asked).find_map(|(feature, field)| Some((node.lacks(feature)?, field))) {
        Some((advice, field)) => {
            let detail = format!("node {} cannot enforce this: {advice}", node.name);
            Err(Problem::new(Code::Conflict, detail).field(field))
        }
        None => Ok(()),
    }
}

/// Whether the node that has the instance can give the difference.
fn check_room(draft: &Draft, row: &InstanceRow, to: Resources, allocation: AllocationId) -> Result<(), Problem> {
    let Some(node) = draft.cluster.allocations.get(&allocation).and_then(|on| draft.cluster.nodes.get(&on.node)) else {
        return Ok(());
    };
    let (has, gave) = (place::capacity(&draft.cluster, node), place::allocated(&draft.cluster, node.id));
    let refuse = |field: &str, more: String, left: String| {
        let detail = format!(
            "node {} has {left} left and instance '{}' would need {more} more: ask for less, or move it to another \
             node first",
            node.name, row.name
        );
        Err(Problem::new(Code::Conflict, detail).field(if row.size.is_some() { "size" } else { field }))
    };
    let more = to.memory_bytes.0.saturating_sub(row.resources.memory_bytes.0);
    let left = has.memory_bytes.0.saturating_sub(gave.memory_bytes.0);
    if more > left {
        return refuse("memory_bytes", format!("{} MiB", more >> 20), format!("{} MiB", left >> 20));
    }
    let more = to.cpu_millis.saturating_sub(row.resources.cpu_millis);
    let left = has.cpu_millis.saturating_sub(gave.cpu_millis);
    if more > left {
        return refuse("cpu_millis", format!("{more} thousandths of a core"), format!("{left}"));
    }
    Ok(())
}
