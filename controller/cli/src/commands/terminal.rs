//! The local terminal and the signals of this process, while a stream has them.

use roost_types::stream::{Resize, Signal, channel};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::stream::control;
use crate::error::CliError;

/// What is passed on besides bytes.
#[derive(Clone, Copy)]
pub enum Listener {
    /// The terminal's size, whenever it changes.
    Sizes,
    /// Signals that would end us.
    Signals,
}

impl Listener {
    /// Listens until nobody takes what is heard.
    pub async fn listen(self, send: mpsc::Sender<Vec<u8>>) {
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

/// Waits for a signal that would end this process, and gives its number: what has the terminal puts it back first.
pub async fn told_to_end() -> i32 {
    let listen = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = listen(SignalKind::terminate()) => SignalKind::terminate().as_raw_value(),
        () = listen(SignalKind::hangup()) => SignalKind::hangup().as_raw_value(),
    }
}

/// The terminal's size.
pub fn window_size() -> Option<Resize> {
    let size = tcgetwinsize(std::io::stdout()).or_else(|_| tcgetwinsize(std::io::stdin())).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some(Resize { cols: size.ws_col, rows: size.ws_row })
}

/// The local terminal in raw mode; as it was when this is dropped.
pub struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Makes it raw.
    ///
    /// # Errors
    /// When standard input is no terminal.
    pub fn enter() -> Result<Self, CliError> {
        let failed = |e| CliError::step("setting the terminal to raw mode", e);
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // The terminal may be gone; there is nobody left to tell.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.before);
    }
}
