//! From here into an instance.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reqwest::{Body, Method};
use roost_agent::errors::chain;
use roost_agent::trees::{Owner, Pack, Pieces, Rules, TreeError};
use rustix::fs::{CWD, Mode, OFlags};
use tokio::sync::mpsc;

use super::Choices;
use super::place::{There, files_path, is_contents, kind_there, landing, last_part};
use crate::client::Client;
use crate::error::CliError;
use crate::progress::Transfer;

/// Pieces that may wait for the network.
const QUEUE: usize = 8;
/// The size of a piece.
const PIECE: usize = 64 << 10;

/// Copies a file or directory.
pub async fn tree(client: &Client, from: &Path, to: &There, choices: &Choices) -> Result<(), CliError> {
    let text = from.to_string_lossy().into_owned();
    let contents = is_contents(&text);
    let failed = |e: io::Error| CliError::step(format!("reading {text}"), e);
    let follow = choices.follow || contents || text.ends_with('/');
    let about = if follow { from.metadata() } else { from.symlink_metadata() }.map_err(failed)?;
    // `site/..` and the like have a name only once they are resolved.
    let name = match last_part(&text) {
        "" | "." | ".." => {
            from.canonicalize().map_err(failed)?.file_name().map(|name| name.to_string_lossy().into_owned())
        }
        plain => Some(plain.to_owned()),
    };
    let there = kind_there(client, to).await?;
    let land = landing(&to.path, there, &name.unwrap_or_default(), about.is_dir(), contents)?;
    let rules = Rules {
        owner: if choices.keep_owners { Owner::Kept } else { Owner::Given { uid: 0, gid: 0 } },
        ..Rules::INSIDE
    };
    let (from, top) = (from.to_owned(), land.name.unwrap_or_else(|| ".".to_owned()));
    send(client, to, &land.directory, choices, move |out| pack(&from, follow, &top, rules, out)).await
}

/// Unpacks the archive on standard input.
pub async fn stream(client: &Client, to: &There, choices: &Choices) -> Result<(), CliError> {
    let copy = |out: &mut dyn Write| {
        io::copy(&mut io::stdin().lock(), out)
            .and_then(|_| out.flush())
            .map_err(|e| CliError::step("reading standard input", e))
    };
    send(client, to, &to.path, choices, copy).await
}

fn pack(from: &Path, follow: bool, top: &str, rules: Rules, out: &mut dyn Write) -> Result<(), CliError> {
    let failed = |e: TreeError| CliError::step(format!("reading {}", from.display()), chain(&e));
    let read = |e: rustix::io::Errno| CliError::step(format!("reading {}", from.display()), io::Error::from(e));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut archive = Pack::new(out, rules);
    if follow {
        let file = rustix::fs::openat(CWD, from, flags, Mode::empty()).map_err(read)?;
        let is_directory = File::from(file.try_clone()?).metadata()?.is_dir();
        let added = if is_directory { archive.tree(file, top.as_bytes()) } else { archive.file(file, top.as_bytes()) };
        added.map_err(failed)?;
    } else {
        let parent = open_parent(from, flags).map_err(read)?;
        let name = from.file_name().unwrap_or_default().as_bytes();
        archive.entry(parent.as_fd(), name, top.as_bytes()).map_err(failed)?;
    }
    archive.finish().map_err(failed)?.flush().map_err(CliError::from)
}

fn open_parent(path: &Path, flags: OFlags) -> Result<OwnedFd, rustix::io::Errno> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent: PathBuf = parent.map_or_else(|| ".".into(), Path::to_path_buf);
    rustix::fs::openat(CWD, parent, flags | OFlags::DIRECTORY, Mode::empty())
}

/// Sends what `write` writes, in a thread of its own, to be unpacked into a directory of an instance.
async fn send(
    client: &Client,
    to: &There,
    directory: &str,
    choices: &Choices,
    write: impl FnOnce(&mut dyn Write) -> Result<(), CliError> + Send + 'static,
) -> Result<(), CliError> {
    let (pieces, mut arriving) = mpsc::channel::<io::Result<Vec<u8>>>(QUEUE);
    let broken = pieces.clone();
    let writing = tokio::task::spawn_blocking(move || {
        let mut out = Pieces::new(PIECE, |piece| pieces.blocking_send(Ok(piece)).is_ok());
        let done = write(&mut out);
        if done.is_err() {
            // So that a part is not taken for the whole. Nobody listens when the other side has refused already.
            let _ = broken.blocking_send(Err(io::ErrorKind::InvalidData.into()));
        }
        done
    });
    let transfer = Transfer::begin(&choices.what, choices.quiet);
    let counted = transfer.clone();
    let body = futures_util::stream::poll_fn(move |context| {
        let piece = arriving.poll_recv(context);
        if let std::task::Poll::Ready(Some(Ok(piece))) = &piece {
            counted.add(piece.len());
        }
        piece
    });
    let path = format!("{}&archive=true", files_path(to, directory));
    let request = client.request(Method::PUT, &path).body(Body::wrap_stream(body));
    let sent = client.send(request).await;
    let written = writing.await.map_err(|e| CliError::step("packing", e))?;
    transfer.end();
    match (sent, written) {
        // What the other side refused broke our side off, too.
        (Err(refused @ CliError::Refused(_)), _) => Err(refused),
        (_, Err(error)) => Err(error),
        (Err(error), Ok(())) => Err(error),
        (Ok(_), Ok(())) => Ok(()),
    }
}
