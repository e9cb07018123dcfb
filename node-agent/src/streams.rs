//! Streams the controller asked for: the agent dials a WebSocket and speaks the messages of `roost_types::stream`.
//!
//! ```text
//!   controller ── sync answer: stream {id, kind} ──▶ agent ── WebSocket /agent/v1/streams/{id} ──▶ controller
//! ```
//!
//! Backpressure is the connection's own: nothing is read from a process, a log or a layer before the piece before it
//! was taken. When the connection goes, what served it ends: a process started by exec is killed.

mod console;
mod exec;
mod files;
mod layer;
mod logs;
mod pipe;
mod stats;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use roost_types::stream::{MAX_MESSAGE, StreamEnd, StreamKind, StreamRequest, channel};
use roost_types::{AllocationId, Code};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::controller::{Controller, HttpError};
use crate::errors::chain;
use crate::layers;
use crate::runtime::{Runtime, RuntimeError};

/// How long the controller may take to accept the WebSocket.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the controller may take to close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The most data in a message: the channel byte takes one.
pub(crate) const MAX_DATA: usize = MAX_MESSAGE - 1;

/// Where an allocation's writable layer is.
pub type LayerDir = Arc<dyn Fn(AllocationId) -> PathBuf + Send + Sync>;

/// What streams need.
pub struct Streams<R> {
    /// What runs containers.
    pub runtime: Arc<R>,
    /// Whom to dial.
    pub controller: Controller,
    /// Where layers are.
    pub layer_dir: LayerDir,
}

/// Why a stream ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The controller cannot be reached.
    #[error("dial the stream")]
    Dial(#[from] HttpError),
    /// The WebSocket broke, or the other side closed it.
    #[error("the stream broke")]
    Broken(#[from] Box<WsError>),
    /// The user went away.
    #[error("the other side closed the stream")]
    Closed,
    /// What it is about could not be done.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A pipe or terminal of the process.
    #[error("{0} of the process")]
    Process(&'static str, #[source] std::io::Error),
    /// The layer could not be read.
    #[error(transparent)]
    Layer(#[from] layers::LayerError),
}

/// A dialled stream.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn dial(controller: &Controller, request: &StreamRequest) -> Result<Self, StreamError> {
        let path = format!("ws://{}:{}/agent/v1/streams/{}", controller.host(), controller.port(), request.id);
        let mut http = path.into_client_request().map_err(Box::new)?;
        controller.authorize(http.headers_mut());
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .write_buffer_size(0);
        let dialling = client_async_with_config(http, controller.dial().await?, Some(config));
        match tokio::time::timeout(ACCEPT_TIMEOUT, dialling).await {
            Ok(answer) => Ok(Self(answer.map_err(Box::new)?.0)),
            Err(_) => Err(HttpError::Timeout(format!("{controller:?}")).into()),
        }
    }

    /// Sends `data`, at most [`MAX_DATA`] long, on `channel`.
    pub(crate) async fn send(&mut self, channel: u8, data: &[u8]) -> Result<(), StreamError> {
        let mut message = BytesMut::with_capacity(data.len() + 1);
        message.put_u8(channel);
        message.put_slice(data);
        self.0.send(Message::Binary(message.freeze())).await.map_err(|e| Box::new(e).into())
    }

    /// Fails when the other side is known to be gone: sending is what tells.
    pub(crate) async fn probe(&mut self) -> Result<(), StreamError> {
        self.0.send(Message::Ping(Bytes::new())).await.map_err(|e| Box::new(e).into())
    }

    /// The next message: its channel and its data. Safe to cancel.
    pub(crate) async fn receive(&mut self) -> Result<(u8, Bytes), StreamError> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(mut message))) if !message.is_empty() => {
                    let data = message.split_off(1);
                    return Ok((message[0], data));
                }
                Some(Ok(Message::Close(_))) | None => return Err(StreamError::Closed),
                Some(Ok(
                    Message::Binary(_) | Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
                )) => {}
                Some(Err(error)) => return Err(Box::new(error).into()),
            }
        }
    }

    async fn finish(mut self, end: &StreamEnd) -> Result<(), StreamError> {
        let json = serde_json::to_vec(end).unwrap_or_default();
        self.send(channel::END, &json).await?;
        match self.0.close(None).await {
            Ok(()) | Err(WsError::ConnectionClosed) => {}
            Err(error) => return Err(Box::new(error).into()),
        }
        // A connection that is closed with something unread is reset, and what was sent last may be lost with it.
        let rest = async { while let Some(Ok(_)) = self.0.next().await {} };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, rest).await;
        Ok(())
    }
}

/// Serves one stream from dialling to its end.
pub async fn serve<R: Runtime>(streams: Arc<Streams<R>>, request: StreamRequest) {
    let id = request.id;
    if let Err(error) = serve_once(&streams, request).await {
        tracing::info!(stream.id = %id, error = %chain(&error), "a stream ended early");
    }
}

async fn serve_once<R: Runtime>(streams: &Streams<R>, request: StreamRequest) -> Result<(), StreamError> {
    let mut socket = Socket::dial(&streams.controller, &request).await?;
    let id = request.allocation;
    let result = match request.kind {
        StreamKind::Exec { command, env, tty, stdin, user, workdir } => {
            let env = env.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            let wish = exec::Wish { command, env, tty, stdin, user, workdir };
            exec::serve(&*streams.runtime, &mut socket, id, wish).await
        }
        StreamKind::Console { size, scrollback } => {
            console::serve(&*streams.runtime, &mut socket, id, size, scrollback).await
        }
        StreamKind::Logs { follow, tail } => logs::serve(&*streams.runtime, &mut socket, id, (follow, tail)).await,
        StreamKind::Stats => stats::serve(&*streams.runtime, &mut socket, id).await,
        StreamKind::Files(wish) => files::serve(&*streams.runtime, &mut socket, id, &wish).await,
        StreamKind::ExportLayer { snapshot } => {
            let layer = (streams.layer_dir)(id);
            let dir = snapshot.map_or_else(|| layer.clone(), |snapshot| layers::snapshots::files(&layer, snapshot));
            layer::serve(&mut socket, dir).await
        }
    };
    let end = match result {
        Ok(end) => end,
        Err(error @ (StreamError::Closed | StreamError::Broken(_) | StreamError::Dial(_))) => return Err(error),
        Err(error) => failed(&error),
    };
    socket.finish(&end).await
}

/// What the user is told of `error`: a command that cannot be executed has the shell's exit code.
fn failed(error: &StreamError) -> StreamEnd {
    let (exit, code) = match error {
        StreamError::Runtime(RuntimeError::Command { code, .. }) => {
            (Some(roost_types::ExitStatus { code: *code, oom_killed: false, at: crate::clock::now() }), None)
        }
        StreamError::Runtime(RuntimeError::NotRunning | RuntimeError::NoContainer(_)) => (None, Some(Code::NotRunning)),
        StreamError::Runtime(RuntimeError::Unsupported(_) | RuntimeError::NotFrozen) => (None, Some(Code::Conflict)),
        StreamError::Runtime(RuntimeError::Step { .. })
        | StreamError::Dial(_)
        | StreamError::Broken(_)
        | StreamError::Closed
        | StreamError::Process(..)
        | StreamError::Layer(_) => (None, None),
    };
    StreamEnd { exit, error: Some(chain(error)), code }
}

#[cfg(test)]
mod tests;
