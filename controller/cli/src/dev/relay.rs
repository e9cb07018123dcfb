//! The cable between the simulated Arduino and the controller: a pty whose other end copies the simulator's line, so that
//! it can be pulled, and so that noise can be put on it.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::error::CliError;

/// A plugged-in cable; dropping it pulls it out, which hangs up whoever has it open.
#[derive(Debug)]
pub struct Cable {
    link: PathBuf,
    near: Arc<Mutex<Sender>>,
    /// Held open so that the line does not hang up when the controller closes it.
    _far: OwnedFd,
    copies: [JoinHandle<()>; 2],
}

impl Cable {
    /// Connects a chip's line with a new pty and makes `link` point to it.
    ///
    /// # Errors
    /// When the line or pty cannot be opened.
    pub fn plug(chip: &Path, link: &Path) -> Result<Self, CliError> {
        let failed =
            |e: &dyn std::fmt::Display| CliError::step(format!("plugging the hub in at {}", link.display()), e);
        let line =
            OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(chip).map_err(|e| failed(&e))?;
        let (from_chip, to_chip) = asynchronous(line.into()).map_err(|e| failed(&e))?;
        let Pty { master, slave, name } = Pty::open().map_err(|e| failed(&e))?;
        raw(&slave).map_err(|e| failed(&e))?;
        let (from_host, to_host) = asynchronous(master).map_err(|e| failed(&e))?;
        match std::fs::remove_file(link) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&e)),
            _ => {}
        }
        std::os::unix::fs::symlink(&name, link).map_err(|e| failed(&e))?;
        let near = Arc::new(Mutex::new(to_host));
        let copies = [
            tokio::spawn(copy(from_chip, Arc::clone(&near))),
            tokio::spawn(copy(from_host, Arc::new(Mutex::new(to_chip)))),
        ];
        Ok(Self { link: link.to_owned(), near, _far: slave, copies })
    }

    /// Puts bytes on the line as if the firmware had sent them.
    ///
    /// # Errors
    /// When the line is gone.
    pub async fn inject(&self, bytes: &[u8]) -> Result<(), CliError> {
        self.near.lock().await.write_all(bytes).await.map_err(|e| CliError::step("putting noise on the hub's line", e))
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for copy in &self.copies {
            copy.abort();
        }
        // The path vanishes as one below /dev/serial/by-id does; it may have been replaced already.
        let _ = std::fs::remove_file(&self.link);
    }
}

/// Both ends of a new pty.
struct Pty {
    master: OwnedFd,
    slave: OwnedFd,
    /// Path of the slave.
    name: String,
}

impl Pty {
    /// Not `openpty`: what that opens every board switched on later would inherit, and hold the line up when it is pulled.
    fn open() -> std::io::Result<Self> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname_r(&master)?;
        let slave = OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(&name)?;
        Ok(Self { master: master.into(), slave: slave.into(), name })
    }
}

#[expect(clippy::cast_possible_wrap, reason = "a small flag")]
const O_NOCTTY: i32 = OFlags::NOCTTY.bits() as i32;

fn raw(fd: &OwnedFd) -> rustix::io::Result<()> {
    let mut settings = tcgetattr(fd)?;
    settings.make_raw();
    tcsetattr(fd, OptionalActions::Now, &settings)
}

/// Both directions of a terminal. The pipe types are the runtime's plainest wrapper of a descriptor; they ask for nothing
/// that a terminal does not do.
fn asynchronous(fd: OwnedFd) -> std::io::Result<(Receiver, Sender)> {
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    let write = Sender::from_owned_fd_unchecked(fd.try_clone()?)?;
    Ok((Receiver::from_owned_fd_unchecked(fd)?, write))
}

/// Copies until one side is gone.
async fn copy(mut from: Receiver, to: Arc<Mutex<Sender>>) {
    let mut buffer = [0; 1024];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 || to.lock().await.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_process_started_while_it_is_plugged_does_not_hold_the_line_up() {
        let link = std::env::temp_dir().join(format!("roost-cable-held-{}", std::process::id()));
        let chip = Pty::open().unwrap();
        let cable = Cable::plug(Path::new(&chip.name), &link).unwrap();
        let mut host = OpenOptions::new().read(true).custom_flags(O_NOCTTY).open(&link).unwrap();
        let mut board = std::process::Command::new("sleep").arg("600").spawn().unwrap();

        drop(cable);
        let end = tokio::task::spawn_blocking(move || host.read(&mut [0; 16]));
        let hung_up = tokio::time::timeout(PATIENCE, end).await;
        board.kill().unwrap();
        board.wait().unwrap();
        assert!(matches!(hung_up, Ok(Ok(Ok(0) | Err(_)))), "{hung_up:?}");
    }

    #[tokio::test]
    async fn carries_bytes_both_ways_takes_noise_and_hangs_up_when_pulled() {
        let dir = std::env::temp_dir().join(format!("roost-cable-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let chip = Pty::open().unwrap();
        raw(&chip.slave).unwrap();
        let link = dir.join("hub0");
        let cable = Cable::plug(Path::new(&chip.name), &link).unwrap();
        let mut host = OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(&link).unwrap();
        let mut firmware = std::fs::File::from(chip.master);

        firmware.write_all(b"$T").unwrap();
        host.write_all(b"?").unwrap();
        cable.inject(b"noise").await.unwrap();
        let host_reads = tokio::task::spawn_blocking(move || {
            let (mut heard, mut buffer) = (Vec::new(), [0; 16]);
            while heard.len() < 7 {
                let n = host.read(&mut buffer).unwrap();
                heard.extend_from_slice(&buffer[..n]);
            }
            (host, heard)
        });
        let (mut host, mut heard) = host_reads.await.unwrap();
        heard.sort_unstable();
        let mut expected = b"$Tnoise".to_vec();
        expected.sort_unstable();
        assert_eq!(heard, expected);
        let asked = tokio::task::spawn_blocking(move || {
            let mut byte = [0; 1];
            firmware.read_exact(&mut byte).unwrap();
            byte[0]
        });
        assert_eq!(asked.await.unwrap(), b'?');

        drop(cable);
        tokio::task::yield_now().await;
        let end = tokio::task::spawn_blocking(move || host.read(&mut [0; 16])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        assert!(!link.exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
