//! The terminal that OCI hands to a caller. A console of Roost is attached to instead, so a terminal of the shim's own is
//! put before it.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::task::JoinHandle;

/// How long the last output may take to come through.
const LAST: Duration = Duration::from_secs(2);

/// A terminal before a console.
pub struct Terminal {
    showing: JoinHandle<()>,
}

impl Terminal {
    /// Makes the terminal, sends it to the caller's socket and connects it with the console.
    ///
    /// # Errors
    /// The step that failed.
    pub fn hand_over(console: OwnedFd, socket: &Path) -> Result<Self> {
        let pair = nix::pty::openpty(None, None).context("make a terminal")?;
        let mut modes = tcgetattr(&pair.slave).context("read the terminal's modes")?;
        modes.make_raw();
        tcsetattr(&pair.slave, OptionalActions::Now, &modes).context("set the terminal's modes")?;
        hand_over(pair.master.as_fd(), socket)?;
        let console = blocking(console)?;
        let both = |fd: &OwnedFd| fd.try_clone().map(File::from).context("duplicate a terminal");
        let (keys, typed) = (both(&pair.slave)?, both(&console)?);
        std::thread::spawn(move || copy(keys, typed));
        let (shown, screen) = (File::from(console), File::from(pair.slave));
        Ok(Self { showing: tokio::task::spawn_blocking(move || copy(shown, screen)) })
    }

    /// Shows on standard output what is on a console, with the line ends of a file.
    ///
    /// # Errors
    /// The step that failed.
    pub fn show(console: OwnedFd) -> Result<Self> {
        let (console, out) = (File::from(blocking(console)?), io::stdout().as_fd().try_clone_to_owned());
        let out = File::from(out.context("duplicate standard output")?);
        Ok(Self { showing: tokio::task::spawn_blocking(move || copy_lines(console, out)) })
    }

    /// Waits until the last output came through.
    pub async fn finish(self) {
        let _ = tokio::time::timeout(LAST, self.showing).await;
    }
}

fn blocking(console: OwnedFd) -> Result<OwnedFd> {
    let flags = rustix::fs::fcntl_getfl(&console).context("read the console's flags")?;
    rustix::fs::fcntl_setfl(&console, flags - OFlags::NONBLOCK).context("set the console's flags")?;
    Ok(console)
}

fn copy(mut from: File, mut to: File) {
    let mut buffer = [0; 4096];
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..got]).is_err() {
            return;
        }
    }
}

fn copy_lines(mut from: File, mut to: File) {
    let mut buffer = [0; 4096];
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        let text: Vec<u8> = buffer[..got].iter().copied().filter(|byte| *byte != b'\r').collect();
        if to.write_all(&text).is_err() {
            return;
        }
    }
}

/// Sends a terminal to a socket, as OCI runtimes do.
///
/// # Errors
/// Nobody listens there.
pub fn hand_over(master: BorrowedFd<'_>, socket: &Path) -> Result<()> {
    let stream = UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [master];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(&stream, &[IoSlice::new(b"/dev/ptmx")], &mut ancillary, SendFlags::empty());
    sent.map_err(io::Error::from).with_context(|| format!("send the terminal to {}", socket.display()))?;
    Ok(())
}
