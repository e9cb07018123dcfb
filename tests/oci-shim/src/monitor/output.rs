//! Where a container's output goes: to the files that `create` was called with, or to a terminal that was handed over.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use roost_agent::runtime::linux::LinuxRuntime;
use roost_agent::runtime::{LogChunk, Runtime};
use roost_types::AllocationId;
use tokio::task::JoinHandle;

use crate::record::Record;
use crate::terminal::Terminal;

/// A container's output, being handed on.
pub enum Output {
    /// To standard output and error.
    Files {
        /// Follows the log.
        following: JoinHandle<()>,
        /// Bytes handed on: of output, of errors.
        written: Arc<Mutex<[usize; 2]>>,
    },
    /// From its console.
    Terminal(Terminal),
}

impl Output {
    /// Begins to hand it on.
    ///
    /// # Errors
    /// The log or the console cannot be had.
    pub async fn begin(runtime: &LinuxRuntime, record: &Record) -> Result<Self> {
        if record.terminal {
            let console = runtime.attach(record.allocation, 1000).await.context("attach to the console")?;
            return Ok(Self::Terminal(match &record.console_socket {
                Some(socket) => Terminal::hand_over(console, socket)?,
                None => Terminal::show(console)?,
            }));
        }
        let mut log = runtime.logs(record.allocation, None, true).await.context("follow the log")?;
        let written = Arc::new(Mutex::new([0; 2]));
        let counted = Arc::clone(&written);
        let following = tokio::spawn(async move {
            while let Some(chunk) = log.recv().await {
                write(&chunk, &mut counted.lock().unwrap_or_else(PoisonError::into_inner));
            }
        });
        Ok(Self::Files { following, written })
    }

    /// Hands on what is left of a container that has ended.
    pub async fn finish(self, runtime: &LinuxRuntime, id: AllocationId) {
        match self {
            Self::Terminal(terminal) => terminal.finish().await,
            Self::Files { following, written } => {
                following.abort();
                let _ = following.await;
                let done = *written.lock().unwrap_or_else(PoisonError::into_inner);
                // A container that was deleted meanwhile has no log any more.
                let Ok(mut log) = runtime.logs(id, None, false).await else { return };
                let mut passed = [0; 2];
                while let Some(mut chunk) = log.recv().await {
                    let stream = usize::from(chunk.stderr);
                    let known = done[stream].saturating_sub(passed[stream]).min(chunk.bytes.len());
                    passed[stream] += chunk.bytes.len();
                    chunk.bytes.drain(..known);
                    write(&chunk, &mut [0; 2]);
                }
            }
        }
    }
}

/// A reader that has gone away is not missed.
fn write(chunk: &LogChunk, written: &mut [usize; 2]) {
    written[usize::from(chunk.stderr)] += chunk.bytes.len();
    if chunk.stderr {
        let _ = std::io::stderr().write_all(&chunk.bytes);
    } else {
        let mut out = std::io::stdout();
        let _ = out.write_all(&chunk.bytes).and_then(|()| out.flush());
    }
}
