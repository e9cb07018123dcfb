//! The console of a container, spliced to a stream.

use bytes::Bytes;
use roost_types::AllocationId;
use roost_types::stream::{Resize, StreamEnd, channel};

use super::exec::{Feeder, probes};
use super::pipe::Pipe;
use super::{MAX_DATA, Socket, StreamError};
use crate::runtime::{Runtime, RuntimeError};

/// Pause before attaching again, in which a container that ended is known to have.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// Serves until the user goes away or the container has ended. A keeper that is replaced meanwhile is attached to again.
pub(super) async fn serve<R: Runtime>(
    runtime: &R,
    socket: &mut Socket,
    id: AllocationId,
    size: Option<Resize>,
    scrollback: u32,
) -> Result<StreamEnd, StreamError> {
    let mut lines = scrollback;
    loop {
        let line = match runtime.attach(id, lines).await {
            Err(RuntimeError::NotRunning | RuntimeError::NoContainer(_)) if lines == 0 => {
                return Ok(StreamEnd::default());
            }
            line => line?,
        };
        if let Some(size) = size {
            runtime.resize_console(id, size).await?;
        }
        attached(runtime, socket, id, line).await?;
        lines = 0;
        tokio::time::sleep(AGAIN).await;
    }
}

/// Carries bytes both ways until the console's side closes.
async fn attached<R: Runtime>(
    runtime: &R,
    socket: &mut Socket,
    id: AllocationId,
    line: std::os::fd::OwnedFd,
) -> Result<(), StreamError> {
    let broken = |source| StreamError::Process("console", source);
    let input = Feeder::start(Pipe::new(line.try_clone().map_err(broken)?).map_err(broken)?, false);
    let output = Pipe::new(line).map_err(broken)?;
    let mut buffer = vec![0; MAX_DATA.min(16 << 10)];
    let mut waiting: Option<Bytes> = None;
    let mut probe = probes();
    loop {
        tokio::select! {
            biased;
            n = output.read(&mut buffer) => match n {
                Ok(n @ 1..) => socket.send(channel::STDOUT, &buffer[..n]).await?,
                Ok(_) | Err(_) => return Ok(()),
            },
            () = input.pass_on(&mut waiting), if waiting.is_some() => {}
            message = socket.receive(), if waiting.is_none() => match message? {
                (channel::STDIN, data) => waiting = Some(data),
                (channel::RESIZE, data) => {
                    if let Ok(size) = serde_json::from_slice::<Resize>(&data) {
                        runtime.resize_console(id, size).await?;
                    }
                }
                (on, _) => tracing::debug!(channel = on, "a message on a channel that a console does not use"),
            },
            _ = probe.tick() => socket.probe().await?,
        }
    }
}
