//! A request about files on its way through a node's stream: what the process inside the instance says becomes a result
//! or a problem.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::ws::{Message, WebSocket};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, Stream, StreamExt};
use roost_types::file::{FileFailure, FileInfo, MAX_INFO_LINE};
use roost_types::stream::{MAX_MESSAGE, StreamEnd, channel};
use roost_types::{Code, Problem};

/// The most that is kept of what the process says went wrong.
const MAX_SAID: usize = 16 * 1024;
/// How long the rest of a refused upload is taken and dropped: a client that still sends would not read the refusal.
const DRAIN: Duration = Duration::from_secs(5);

/// A dialled stream of kind `files`.
pub struct FileStream {
    socket: WebSocket,
    /// Content that came with the line of information.
    ready: BytesMut,
    said: Vec<u8>,
}

/// What a message says.
enum Heard {
    Content(Bytes),
    Nothing,
    End(StreamEnd),
}

impl FileStream {
    /// Takes over a stream.
    #[must_use]
    pub fn new(socket: WebSocket) -> Self {
        Self { socket, ready: BytesMut::new(), said: Vec::new() }
    }

    /// Waits for the line that tells what is read.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn info(&mut self) -> Result<FileInfo, Problem> {
        loop {
            if let Some(line) = self.ready.iter().position(|byte| *byte == b'\n') {
                let line = self.ready.split_to(line + 1);
                return serde_json::from_slice(&line).map_err(|_| garbled());
            }
            if self.ready.len() > MAX_INFO_LINE {
                return Err(garbled());
            }
            let message = self.socket.recv().await;
            match hear(message, &mut self.said)? {
                Heard::Content(bytes) => self.ready.put(bytes),
                Heard::Nothing => {}
                Heard::End(end) => return Err(settle(&end, &self.said).err().unwrap_or_else(garbled)),
            }
        }
    }

    /// What follows the line. It ends with an error unless the process did what it was asked.
    pub fn content(self) -> impl Stream<Item = io::Result<Bytes>> {
        let ready = self.ready.freeze();
        let first = futures_util::stream::iter((!ready.is_empty()).then_some(Ok(ready)));
        let rest = futures_util::stream::try_unfold((self.socket, self.said), |(mut socket, mut said)| async move {
            loop {
                let message = socket.recv().await;
                match hear(message, &mut said).map_err(broken)? {
                    Heard::Content(bytes) => return Ok(Some((bytes, (socket, said)))),
                    Heard::Nothing => {}
                    Heard::End(end) => return settle(&end, &said).map(|()| None).map_err(broken),
                }
            }
        });
        first.chain(rest)
    }

    /// Sends `body` to the process and waits for its end.
    ///
    /// # Errors
    /// Why it could not be done; the rest of the body is then dropped.
    pub async fn feed(self, body: Body) -> Result<(), Problem> {
        let Self { socket, mut said, .. } = self;
        let mut body = body.into_data_stream();
        let (mut sink, mut stream) = socket.split();
        let ended = {
            let mut sending = pin!(send(&mut body, &mut sink));
            let mut receiving = pin!(async {
                loop {
                    let message = stream.next().await;
                    if let Heard::End(end) = hear(message, &mut said)? {
                        return settle(&end, &said);
                    }
                }
            });
            tokio::select! {
                ended = &mut receiving => ended,
                sent = &mut sending => match sent {
                    Ok(()) => receiving.await,
                    Err(problem) => Err(problem),
                },
            }
        };
        if ended.is_err() {
            let rest = async { while let Some(Ok(_)) = body.next().await {} };
            // Who still sends after that is cut off.
            let _ = tokio::time::timeout(DRAIN, rest).await;
        }
        ended
    }

    /// Waits for the end of a process that is sent nothing and says nothing.
    ///
    /// # Errors
    /// Why it could not be done.
    pub async fn end(mut self) -> Result<(), Problem> {
        loop {
            let message = self.socket.recv().await;
            if let Heard::End(end) = hear(message, &mut self.said)? {
                return settle(&end, &self.said);
            }
        }
    }
}

async fn send(
    body: &mut BodyDataStream,
    sink: &mut (impl SinkExt<Message, Error = axum::Error> + Unpin),
) -> Result<(), Problem> {
    while let Some(chunk) = body.next().await {
        let chunk = chunk
            .map_err(|_| Problem::new(Code::InvalidField, "the upload ended before it was complete").field("body"))?;
        for piece in chunk.chunks(MAX_MESSAGE - 1) {
            let mut message = BytesMut::with_capacity(piece.len() + 1);
            message.put_u8(channel::STDIN);
            message.put_slice(piece);
            if sink.send(Message::Binary(message.freeze())).await.is_err() {
                // The other direction tells why.
                return Ok(());
            }
        }
    }
    let _ = sink.send(Message::Binary(Bytes::from_static(&[channel::STDIN_CLOSE]))).await;
    Ok(())
}

fn hear(message: Option<Result<Message, axum::Error>>, said: &mut Vec<u8>) -> Result<Heard, Problem> {
    let Some(Ok(message)) = message else { return Err(lost()) };
    let Message::Binary(bytes) = message else { return Ok(Heard::Nothing) };
    match bytes.first() {
        Some(&channel::STDOUT) => Ok(Heard::Content(bytes.slice(1..))),
        Some(&channel::STDERR) => {
            let room = MAX_SAID.saturating_sub(said.len());
            said.extend(bytes[1..].iter().take(room));
            Ok(Heard::Nothing)
        }
        Some(&channel::END) => serde_json::from_slice(&bytes[1..]).map(Heard::End).map_err(|_| garbled()),
        Some(_) | None => Ok(Heard::Nothing),
    }
}

fn settle(end: &StreamEnd, said: &[u8]) -> Result<(), Problem> {
    match (&end.exit, &end.error) {
        (Some(exit), _) if exit.code == 0 => Ok(()),
        (Some(exit), _) => Err(match serde_json::from_slice::<FileFailure>(said) {
            Ok(failure) => Problem::new(failure.code, failure.detail),
            Err(_) if exit.code == 128 + 9 => {
                let detail = "the process that worked on the files was killed: the instance may be out of memory";
                Problem::new(Code::Unavailable, detail)
            }
            Err(_) => {
                let detail = format!("the process that worked on the files ended with status {}", exit.code);
                Problem::new(Code::Internal, detail)
            }
        }),
        (None, Some(error)) => Err(Problem::new(end.code.unwrap_or(Code::Unavailable), error.clone())),
        (None, None) => Err(garbled()),
    }
}

fn lost() -> Problem {
    Problem::new(Code::NodeUnreachable, "the node's stream broke off")
}

fn garbled() -> Problem {
    Problem::new(Code::Internal, "the node's answer about the file cannot be understood")
}

fn broken(problem: Problem) -> io::Error {
    io::Error::other(problem.detail)
}

#[cfg(test)]
mod tests {
    use roost_types::{ExitStatus, Timestamp};

    use super::*;

    fn ended(code: i32) -> StreamEnd {
        StreamEnd { exit: Some(ExitStatus { code, oom_killed: false, at: Timestamp(0) }), ..StreamEnd::default() }
    }

    #[test]
    fn an_end_is_a_result_or_a_problem() {
        assert!(settle(&ended(0), b"").is_ok());
        let said = br#"{"code":"disk_full","detail":"/x: no room"}"#;
        let problem = settle(&ended(1), said).unwrap_err();
        assert_eq!((problem.code, problem.status, problem.detail.as_str()), (Code::DiskFull, 507, "/x: no room"));
        assert_eq!(settle(&ended(1), b"{").unwrap_err().code, Code::Internal);
        assert!(settle(&ended(137), b"").unwrap_err().detail.contains("memory"));
        let refused = StreamEnd { error: Some("no".into()), code: Some(Code::NotRunning), ..StreamEnd::default() };
        assert_eq!(settle(&refused, b"").unwrap_err().status, 409);
    }
}
