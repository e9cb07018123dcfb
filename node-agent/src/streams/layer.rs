//! A writable layer on its way to another node.

use std::io::{self, Write};
use std::path::PathBuf;

use roost_types::stream::{StreamEnd, channel};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{MAX_DATA, Socket, StreamError};
use crate::layers::{self, LayerError};
use crate::trees::{Pieces, TreeError};

/// Pieces that may wait for the network.
const QUEUE: usize = 4;

pub(super) async fn serve(socket: &mut Socket, dir: PathBuf) -> Result<StreamEnd, StreamError> {
    let (pieces, mut arriving) = mpsc::channel::<Vec<u8>>(QUEUE);
    let exporting = spawn_blocking(move || {
        let mut out = layers::export(&dir, Pieces::new(MAX_DATA, |piece| pieces.blocking_send(piece).is_ok()))?;
        out.flush().map_err(|error| LayerError::from(TreeError::Archive(error)))
    });
    while let Some(piece) = arriving.recv().await {
        socket.send(channel::STDOUT, &piece).await?;
    }
    let result = exporting.await.map_err(|error| StreamError::Process("export", io::Error::other(error)))?;
    result?;
    Ok(StreamEnd::default())
}
