//! `roost console`: the console of an instance, as on a serial line.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use roost_types::stream::channel;
use tokio::sync::{mpsc, oneshot};

use super::stream::{self, converse};
use super::terminal::{Listener, RawTerminal, told_to_end, window_size};
use crate::client::{Client, segment};
use crate::error::CliError;

/// What begins a command to this side: Ctrl-a, as with LXC and `screen`.
const PREFIX: u8 = 1;

/// Attaches until the user detaches, the instance stops, or the stream breaks.
pub async fn console(client: &Client, instance: &str, scrollback: u32) -> Result<ExitCode, CliError> {
    let terminal = std::io::stdin().is_terminal();
    let size = window_size().filter(|_| terminal);
    let size = size.map(|size| format!("&cols={}&rows={}", size.cols, size.rows)).unwrap_or_default();
    let path = format!("/v1/instances/{}/console?scrollback={scrollback}{size}", segment(instance));
    let socket = stream::open(client, &path).await?;
    if terminal {
        eprintln!("attached to the console of {instance}: Ctrl-a q detaches, Enter may bring a prompt");
    }
    let raw = terminal.then(RawTerminal::enter).transpose()?;
    let (send, outgoing) = mpsc::channel::<Vec<u8>>(16);
    let (detach, detached) = oneshot::channel();
    let typing = send.clone();
    std::thread::spawn(move || read_keys(&typing, terminal, detach));
    tokio::spawn(Listener::Sizes.listen(send));
    let end = tokio::select! {
        end = converse(socket, outgoing) => end?,
        Ok(()) = detached => {
            drop(raw);
            eprintln!("\ndetached from the console of {instance}");
            return Ok(ExitCode::SUCCESS);
        }
        signal = told_to_end() => return Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(255))),
    };
    drop(raw);
    match end.error {
        Some(error) => Err(CliError::Failed(error)),
        None => {
            eprintln!("\n{instance} has stopped");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Reads what is typed in a thread of its own: such a read cannot be called off. What is piped in has no commands to this
/// side, and its end leaves the console attached.
fn read_keys(send: &mpsc::Sender<Vec<u8>>, terminal: bool, detach: oneshot::Sender<()>) {
    let mut escape = Escape::default();
    let mut buffer = [0; 4096];
    loop {
        let n = match std::io::stdin().read(&mut buffer) {
            Ok(n) if n > 0 => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Ok(_) | Err(_) => {
                // A terminal that is gone has nobody to attach for.
                if terminal {
                    let _ = detach.send(());
                } else {
                    // Dropped, it would detach.
                    std::mem::forget(detach);
                }
                return;
            }
        };
        let (typed, leaves) = if terminal { escape.pass(&buffer[..n]) } else { (buffer[..n].to_vec(), false) };
        if !typed.is_empty() && send.blocking_send([&[channel::STDIN], typed.as_slice()].concat()).is_err() {
            return;
        }
        if leaves {
            let _ = detach.send(());
            return;
        }
    }
}

/// Finds commands to this side in what is typed: the prefix and `q` detach, the prefix twice is the prefix once.
#[derive(Default)]
struct Escape {
    after_prefix: bool,
}

impl Escape {
    /// What is to be sent on, and whether the user leaves.
    fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut sent = Vec::with_capacity(typed.len());
        for &key in typed {
            match (std::mem::take(&mut self.after_prefix), key) {
                (false, PREFIX) => self.after_prefix = true,
                (true, b'q') => return (sent, true),
                (false, key) | (true, key @ PREFIX) => sent.push(key),
                (true, key) => sent.extend([PREFIX, key]),
            }
        }
        (sent, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_prefix_and_q_detach() {
        let mut escape = Escape::default();
        assert_eq!(escape.pass(b"ls q\x01"), (b"ls q".to_vec(), false));
        assert_eq!(escape.pass(b"x\x01\x01q"), (b"\x01x\x01q".to_vec(), false));
        assert_eq!(escape.pass(b"a\x01qb"), (b"a".to_vec(), true));
    }
}
