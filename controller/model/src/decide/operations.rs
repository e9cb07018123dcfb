//! Operations are given up.

use roost_types::{Code, OperationId, OperationKind, OperationStatus, Problem};

use crate::cluster::not_found;
use crate::command::Reply;
use crate::draft::Draft;

/// Gives up waiting. What was already begun on a node is not undone: the wish of the instance stays.
pub fn cancel(draft: &mut Draft, id: OperationId) -> Result<Reply, Problem> {
    let row = draft.cluster.operations.get(&id).ok_or_else(|| not_found("operation", &id.to_string()))?;
    if row.status.is_final() {
        return Err(Problem::new(Code::Conflict, "the operation has already ended"));
    }
    let undo = match row.kind {
        OperationKind::InstanceCreate => row.resource.strip_prefix("/v1/instances/").map(str::to_owned),
        // The shell sees the end and stops fetching or converting.
        OperationKind::NodeDrain | OperationKind::ImageImport => None,
        OperationKind::InstanceStart
        | OperationKind::InstanceStop
        | OperationKind::InstanceRestart
        | OperationKind::InstanceDelete
        | OperationKind::InstanceMove
        | OperationKind::SnapshotCreate
        | OperationKind::SnapshotDelete
        | OperationKind::SnapshotRestore
        | OperationKind::NodePower => {
            return Err(Problem::new(
                Code::Conflict,
                "only a launch, a drain or an import can be cancelled; ask for the opposite",
            ));
        }
    };
    if let Some(node) = row.resource.strip_prefix("/v1/nodes/").and_then(|id| id.parse().ok()) {
        super::nodes::end_drain(draft, node);
    }
    draft.edit_operation(id, |operation| operation.status = OperationStatus::Cancelled);
    if let Some(instance) = undo {
        super::instances::delete(draft, &instance)?;
    }
    Ok(Reply::Operation(id))
}
