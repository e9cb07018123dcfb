//! A WebSocket of the API whose messages are those of `roost_types::stream`: opening it, and carrying bytes both ways.

use std::io::{Read, Write};

use futures_util::{SinkExt, StreamExt};
use roost_types::stream::{StreamEnd, channel};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::client::Client;
use crate::error::CliError;

/// An open stream.
pub type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Opens the stream at a path of the API.
///
/// # Errors
/// When the controller cannot be reached or refuses.
pub async fn open(client: &Client, path: &str) -> Result<Socket, CliError> {
    let request = upgrade(client, path)?;
    let (socket, _) = tokio_tungstenite::connect_async(request).await.map_err(|e| refused(client, e))?;
    Ok(socket)
}

fn upgrade(client: &Client, path: &str) -> Result<tungstenite::handshake::client::Request, CliError> {
    let url = format!("{}{path}", client.url().replacen("http", "ws", 1));
    let bad = |e: &dyn std::fmt::Display| CliError::step(format!("opening {url}"), e);
    let mut request = url.as_str().into_client_request().map_err(|e| bad(&e))?;
    let bearer = format!("Bearer {}", client.token()).parse().map_err(|e| bad(&e))?;
    request.headers_mut().insert("authorization", bearer);
    Ok(request)
}

/// A refused upgrade carries a problem like every other refusal.
fn refused(client: &Client, error: tungstenite::Error) -> CliError {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            match serde_json::from_slice(body) {
                Ok(problem) => CliError::Refused(Box::new(problem)),
                Err(_) => {
                    CliError::step("opening the stream", format!("the controller answered {}", response.status()))
                }
            }
        }
        other => CliError::Unreachable { url: client.url().to_owned(), reason: other.to_string() },
    }
}

/// Carries bytes both ways until the agent says how it ended. Neither way waits for the other: a command may take no
/// input before its output is taken.
///
/// # Errors
/// When the stream breaks off, or output cannot be written.
pub async fn converse(socket: Socket, mut outgoing: mpsc::Receiver<Vec<u8>>) -> Result<StreamEnd, CliError> {
    let (mut sink, mut stream) = socket.split();
    let sending = async {
        // What cannot be sent any more is told by the reading side, with its reason.
        while let Some(data) = outgoing.recv().await
            && sink.send(Message::Binary(data.into())).await.is_ok()
        {}
    };
    let receiving = async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Binary(data))) => {
                    if let Some(end) = received(&data)? {
                        return Ok(end);
                    }
                }
                Some(Ok(Message::Close(_))) | None => {
                    return Err(CliError::Failed("the stream ended before the command did".into()));
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(CliError::step("reading the stream", e)),
            }
        }
    };
    tokio::pin!(receiving);
    tokio::select! {
        end = &mut receiving => return end,
        () = sending => {}
    }
    receiving.await
}

/// Acts on one message; the last one is returned.
fn received(data: &[u8]) -> Result<Option<StreamEnd>, CliError> {
    let Some((channel, data)) = data.split_first() else { return Ok(None) };
    match *channel {
        channel::STDOUT => write_all(&mut std::io::stdout().lock(), data)?,
        channel::STDERR => write_all(&mut std::io::stderr().lock(), data)?,
        channel::END => {
            return serde_json::from_slice(data)
                .map(Some)
                .map_err(|e| CliError::step("reading how the command ended", e));
        }
        _ => {}
    }
    Ok(None)
}

fn write_all(out: &mut impl Write, data: &[u8]) -> Result<(), CliError> {
    out.write_all(data).and_then(|()| out.flush()).map_err(CliError::from)
}

/// Reads standard input in a thread of its own: such a read cannot be called off, and must not hold up the end.
pub fn read_stdin(send: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![channel::STDIN; 32 * 1024];
    loop {
        match std::io::stdin().read(&mut buffer[1..]) {
            Ok(n) if n > 0 => {
                if send.blocking_send(buffer[..=n].to_vec()).is_err() {
                    return;
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => {
                // The other side may be gone already, and then nobody needs to know.
                let _ = send.blocking_send(vec![channel::STDIN_CLOSE]);
                return;
            }
        }
    }
}

/// A message with a JSON body.
pub fn control(channel: u8, body: &impl Serialize) -> Vec<u8> {
    let mut message = vec![channel];
    // Our own small structs always serialise.
    message.extend(serde_json::to_vec(body).unwrap_or_default());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_carries_the_status() {
        let end = [
            &[channel::END][..],
            br#"{"exit":{"code":127,"oom_killed":false,"at":"2026-11-24T06:00:00Z"},"error":null}"#,
        ]
        .concat();
        assert_eq!(received(&end).unwrap().unwrap().exit.unwrap().code, 127);
        assert!(received(&[]).unwrap().is_none());
        assert!(received(&[channel::END, b'{']).is_err());
    }
}
