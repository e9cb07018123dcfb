//! Files of a running container: the process that works on them inside, spliced to a stream.

use std::time::Duration;

use roost_types::stream::StreamEnd;
use roost_types::{AllocationId, FileRequest};

use super::{Socket, StreamError, exec};
use crate::runtime::Runtime;

/// How long the process has, once its user is gone, to see the end of its input and take half-written files away.
const TIDY: Duration = Duration::from_secs(2);

pub(super) async fn serve<R: Runtime>(
    runtime: &R,
    socket: &mut Socket,
    id: AllocationId,
    request: &FileRequest,
) -> Result<StreamEnd, StreamError> {
    let stdin = match request {
        FileRequest::Write { .. } | FileRequest::Unpack { .. } => true,
        FileRequest::Read { .. }
        | FileRequest::Pack { .. }
        | FileRequest::MakeDirectory { .. }
        | FileRequest::Delete { .. } => false,
    };
    let session = runtime.files(id, request).await?;
    // While it is held the process is not killed.
    let control = session.control.clone();
    let ended = exec::converse(session, socket, false, stdin).await;
    if ended.is_err() {
        tokio::spawn(async move {
            tokio::time::sleep(TIDY).await;
            drop(control);
        });
    }
    ended
}
