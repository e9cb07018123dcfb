//! Out of an instance to here.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use futures_util::StreamExt;
use reqwest::{Method, Response};
use roost_agent::errors::chain;
use roost_agent::trees::{Owner, Rules, unpack};
use roost_types::FileKind;
use rustix::fs::{CWD, Mode, OFlags};
use tokio::sync::mpsc;

use super::Choices;
use super::place::{There, files_path, is_contents, landing, last_part};
use crate::client::Client;
use crate::error::CliError;
use crate::progress::Transfer;

/// Pieces that may wait for the disk.
const QUEUE: usize = 8;

/// Copies a file or directory.
pub async fn tree(client: &Client, from: &There, to: &Path, choices: &Choices) -> Result<(), CliError> {
    let answer = ask(client, from, choices).await?;
    let is_directory = answer.headers().get("x-roost-type").is_some_and(|kind| kind == "directory");
    let contents = is_contents(&from.path);
    let here = fs::metadata(to).ok().map(|about| if about.is_dir() { FileKind::Directory } else { FileKind::File });
    let land = landing(&to.to_string_lossy(), here, last_part(&from.path), is_directory, contents)?;
    let (directory, top) = match (contents, land.name) {
        // What is in it becomes what is in a new directory.
        (true, Some(name)) => {
            let made = Path::new(&land.directory).join(name);
            fs::create_dir(&made).map_err(|e| CliError::step(format!("making {}", made.display()), e))?;
            (made, None)
        }
        (_, name) => (land.directory.into(), name),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, &directory, flags, Mode::empty())
        .map_err(|e| CliError::step(format!("opening {}", directory.display()), io::Error::from(e)))?;
    let rules = Rules {
        owner: if choices.keep_owners { Owner::Kept } else { Owner::Mine },
        top: top.map(String::into_bytes),
        ..Rules::LOCAL
    };
    let what = format!("writing to {}", to.display());
    receive(client, answer, choices, move |archive| {
        unpack(root, archive, u64::MAX, rules).map(drop).map_err(|e| CliError::step(what, chain(&e)))
    })
    .await
}

/// Writes the archive to standard output.
pub async fn stream(client: &Client, from: &There, choices: &Choices) -> Result<(), CliError> {
    let answer = ask(client, from, choices).await?;
    receive(client, answer, choices, |mut archive| {
        let mut out = io::stdout().lock();
        match io::copy(&mut archive, &mut out).and_then(|_| out.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|e| CliError::step("copying to standard output", e)),
        }
    })
    .await
}

async fn ask(client: &Client, from: &There, choices: &Choices) -> Result<Response, CliError> {
    let path = format!("{}&archive=true&follow={}", files_path(from, &from.path), choices.follow);
    client.send(client.request(Method::GET, &path)).await
}

/// Has `read`, in a thread of its own, read the body of an answer.
async fn receive(
    client: &Client,
    answer: Response,
    choices: &Choices,
    read: impl FnOnce(Chunks) -> Result<(), CliError> + Send + 'static,
) -> Result<(), CliError> {
    let (pieces, arriving) = mpsc::channel(QUEUE);
    let reading = tokio::task::spawn_blocking(move || read(Chunks { arriving, piece: Vec::new(), at: 0 }));
    let transfer = Transfer::begin(&choices.what, choices.quiet);
    let mut body = answer.bytes_stream();
    let mut broken = None;
    while let Some(chunk) = body.next().await {
        let piece = match chunk {
            Ok(chunk) => Ok(chunk.to_vec()),
            Err(error) => {
                broken = Some(client.unreachable(&error));
                Err(io::Error::from(io::ErrorKind::UnexpectedEof))
            }
        };
        transfer.add(piece.as_ref().map_or(0, Vec::len));
        // A reader that failed says why itself.
        if pieces.send(piece).await.is_err() || broken.is_some() {
            break;
        }
    }
    drop(pieces);
    let read = reading.await.map_err(|e| CliError::step("unpacking", e))?;
    transfer.end();
    match broken {
        Some(CliError::Unreachable { .. }) => {
            Err(CliError::Failed("the copy broke off: not all of it came; look at the instance and its node".into()))
        }
        Some(_) | None => read,
    }
}

/// The pieces of a body, to be read.
struct Chunks {
    arriving: mpsc::Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.arriving.blocking_recv() {
                Some(piece) => (self.piece, self.at) = (piece?, 0),
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.piece.len() - self.at);
        buffer[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
