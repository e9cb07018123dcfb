//! `roost exec`: a command in an instance, over one WebSocket.
//!
//! The first byte of a message is its channel (types `stream`). With a terminal the local one is raw until the command
//! ends, follows its size, and sends every key; without one SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use futures_util::{SinkExt, StreamExt};
use roost_types::stream::{Resize, Signal, StreamEnd, channel};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::args::ExecArgs;
use crate::client::{Client, segment};
use crate::error::CliError;

/// The command could not be run in the instance.
const CANNOT_RUN: u8 = 125;

/// Runs a command and gives back its exit status.
pub async fn exec(client: &Client, args: ExecArgs) -> Result<ExitCode, CliError> {
    if args.tty && args.stdin && !std::io::stdin().is_terminal() {
        return Err(CliError::Usage("standard input is not a terminal: leave -t out".into()));
    }
    let size = window_size().filter(|_| args.tty);
    let request = upgrade(client, &path_of(&args, size))?;
    let (socket, _) = tokio_tungstenite::connect_async(request).await.map_err(|e| refused(client, e))?;
    let _raw = if args.tty && args.stdin { RawTerminal::enter()? } else { None };

    let (send, outgoing) = mpsc::channel::<Vec<u8>>(16);
    if args.stdin {
        let send = send.clone();
        std::thread::spawn(move || read_stdin(&send));
    }
    tokio::spawn(if args.tty { Listener::Sizes } else { Listener::Signals }.listen(send));
    let end = converse(socket, outgoing).await?;
    Ok(match (end.exit, end.error) {
        (Some(exit), _) => ExitCode::from(u8::try_from(exit.code).unwrap_or(255)),
        (None, Some(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(CANNOT_RUN)
        }
        (None, None) => ExitCode::from(CANNOT_RUN),
    })
}

/// The path of the exec with its query.
fn path_of(args: &ExecArgs, size: Option<Resize>) -> String {
    let words: Vec<String> = args.command.iter().map(|word| format!("command={}", segment(word))).collect();
    let size = size.map(|s| format!("&cols={}&rows={}", s.cols, s.rows)).unwrap_or_default();
    let (instance, words) = (segment(&args.instance), words.join("&"));
    format!("/v1/instances/{instance}/exec?{words}&tty={}&stdin={}{size}", args.tty, args.stdin)
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

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Carries bytes both ways until the agent says how it ended. Neither way waits for the other: a command may take no
/// input before its output is taken.
async fn converse(socket: Socket, mut outgoing: mpsc::Receiver<Vec<u8>>) -> Result<StreamEnd, CliError> {
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
fn read_stdin(send: &mpsc::Sender<Vec<u8>>) {
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

/// What is passed on besides bytes.
#[derive(Clone, Copy)]
enum Listener {
    /// The terminal's size, whenever it changes.
    Sizes,
    /// Signals that would end us.
    Signals,
}

impl Listener {
    async fn listen(self, send: mpsc::Sender<Vec<u8>>) {
        match self {
            Self::Sizes => {
                let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
                while changes.recv().await.is_some() {
                    if let Some(size) = window_size()
                        && send.send(control(channel::RESIZE, &size)).await.is_err()
                    {
                        return;
                    }
                }
            }
            Self::Signals => {
                let kinds =
                    [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
                for kind in kinds {
                    let (send, Ok(mut signals)) = (send.clone(), signal(kind)) else { continue };
                    tokio::spawn(async move {
                        let message = control(channel::SIGNAL, &Signal { signal: kind.as_raw_value() });
                        while signals.recv().await.is_some() {
                            if send.send(message.clone()).await.is_err() {
                                return;
                            }
                        }
                    });
                }
            }
        }
    }
}

fn control(channel: u8, body: &impl Serialize) -> Vec<u8> {
    let mut message = vec![channel];
    // Our own small structs always serialise.
    message.extend(serde_json::to_vec(body).unwrap_or_default());
    message
}

fn window_size() -> Option<Resize> {
    let size = tcgetwinsize(std::io::stdout()).or_else(|_| tcgetwinsize(std::io::stdin())).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some(Resize { cols: size.ws_col, rows: size.ws_row })
}

/// The local terminal in raw mode; as it was when this is dropped.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Result<Option<Self>, CliError> {
        let failed = |e| CliError::step("setting the terminal to raw mode", e);
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // The terminal may be gone; there is nobody left to tell.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_travels_word_by_word() {
        let args = ExecArgs {
            stdin: true,
            tty: true,
            instance: "web".into(),
            command: vec!["sh".into(), "-c".into(), "a b&c".into()],
        };
        assert_eq!(
            path_of(&args, Some(Resize { cols: 80, rows: 24 })),
            "/v1/instances/web/exec?command=sh&command=-c&command=a%20b%26c&tty=true&stdin=true&cols=80&rows=24"
        );
    }

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
