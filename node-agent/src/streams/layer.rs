//! A writable layer on its way to another node.

use std::io::{self, Write};
use std::path::PathBuf;

use roost_types::stream::{StreamEnd, channel};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{MAX_DATA, Socket, StreamError};
use crate::layers::{self, LayerError};
use crate::trees::TreeError;

/// Pieces that may wait for the network.
const QUEUE: usize = 4;

pub(super) async fn serve(socket: &mut Socket, dir: PathBuf) -> Result<StreamEnd, StreamError> {
    let (pieces, mut arriving) = mpsc::channel::<Vec<u8>>(QUEUE);
    let exporting = spawn_blocking(move || {
        let mut out = layers::export(&dir, Pieces { buffer: Vec::with_capacity(MAX_DATA), pieces })?;
        out.flush().map_err(|error| LayerError::from(TreeError::Archive(error)))
    });
    while let Some(piece) = arriving.recv().await {
        socket.send(channel::STDOUT, &piece).await?;
    }
    let result = exporting.await.map_err(|error| StreamError::Process("export", io::Error::other(error)))?;
    result?;
    Ok(StreamEnd::default())
}

/// Collects what is written into messages.
struct Pieces {
    buffer: Vec<u8>,
    pieces: mpsc::Sender<Vec<u8>>,
}

impl Write for Pieces {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == MAX_DATA {
            self.flush()?;
        }
        let n = data.len().min(MAX_DATA - self.buffer.len());
        self.buffer.extend_from_slice(&data[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(MAX_DATA));
        self.pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
