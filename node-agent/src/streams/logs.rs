//! What a container's first process wrote.

use roost_types::AllocationId;
use roost_types::stream::{StreamEnd, channel};

use super::{MAX_DATA, Socket, StreamError};
use crate::runtime::Runtime;

pub(super) async fn serve<R: Runtime>(
    runtime: &R,
    socket: &mut Socket,
    id: AllocationId,
    (follow, tail): (bool, Option<u32>),
) -> Result<StreamEnd, StreamError> {
    let mut chunks = runtime.logs(id, tail, follow).await?;
    loop {
        tokio::select! {
            chunk = chunks.recv() => {
                let Some(chunk) = chunk else { return Ok(StreamEnd::default()) };
                let on = if chunk.stderr { channel::STDERR } else { channel::STDOUT };
                for piece in chunk.bytes.chunks(MAX_DATA) {
                    socket.send(on, piece).await?;
                }
            }
            // The user says nothing here; this is how it is seen that they went away.
            message = socket.receive() => { message?; }
        }
    }
}
