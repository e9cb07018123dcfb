//! What a container uses, once.

use roost_types::AllocationId;
use roost_types::stream::{StreamEnd, channel};

use super::{Socket, StreamError};
use crate::runtime::Runtime;

pub(super) async fn serve<R: Runtime>(
    runtime: &R,
    socket: &mut Socket,
    id: AllocationId,
) -> Result<StreamEnd, StreamError> {
    let stats = runtime.stats(id).await?;
    // Numbers and names of fields always serialise, in less than a message.
    socket.send(channel::STDOUT, &serde_json::to_vec(&stats).unwrap_or_default()).await?;
    Ok(StreamEnd::default())
}
