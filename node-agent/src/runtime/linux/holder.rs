//! The console holder: a process beside the keeper that holds consoles while there is no keeper.
//!
//! A terminal hangs up when the last descriptor of its multiplexer's end is closed, and cannot be opened again. The
//! keeper may die; so a second process, which does nothing that could fail, holds a duplicate of each. A new keeper takes
//! them from it. One per board, started with the first container that has a console; it ends when it holds nothing and
//! nobody is connected.
//!
//! ```text
//! keeper ── hold {id} + fd ─▶ holder        new keeper ── take {id} ─▶ holder ── fd ─▶ new keeper
//! ```

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::CloneFlags;
use roost_types::AllocationId;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::sys::{self, Cloned};
use super::wire::{self, Context, Failure};

/// How long an answer may take. The holder does nothing else; one that is stopped must not stop the keeper.
const ANSWER: Duration = Duration::from_secs(1);

/// Keeper to holder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    /// Hold the descriptor beside this message.
    Hold(AllocationId),
    /// Give a duplicate of one.
    Take(AllocationId),
    /// Let one go.
    Drop(AllocationId),
}

/// Holder to keeper, after each [`Ask`]: whether it holds one; with `Take` it is beside the message.
#[derive(Debug, Serialize, Deserialize)]
struct Held(bool);

/// The keeper's side.
pub struct Holder {
    socket_path: PathBuf,
    /// The mount namespace of the board: that of the keeper must not outlive it.
    board: OwnedFd,
    connection: Option<OwnedFd>,
}

impl Holder {
    /// Not connected yet. `board` is the board's mount namespace.
    #[must_use]
    pub fn new(run: &Path, board: OwnedFd) -> Self {
        Self { socket_path: run.join("consoles.sock"), board, connection: None }
    }

    /// Has a console held.
    ///
    /// # Errors
    /// The step that failed.
    pub fn hold(&mut self, id: AllocationId, console: BorrowedFd<'_>) -> Result<(), Failure> {
        if self.connection.is_none() {
            self.connection = Some(match connect(&self.socket_path) {
                Ok(connection) => connection,
                Err(_) => self.start()?,
            });
        }
        self.ask(&Ask::Hold(id), &[console]).map(drop)
    }

    /// The console that an earlier keeper had held; none where there is none, or no holder.
    pub fn take(&mut self, id: AllocationId) -> Option<OwnedFd> {
        self.reach();
        self.ask(&Ask::Take(id), &[]).ok()?
    }

    /// Lets a console go.
    pub fn release(&mut self, id: AllocationId) {
        self.reach();
        // One that is gone holds nothing.
        let _ = self.ask(&Ask::Drop(id), &[]);
    }

    /// Connects to a holder that is there.
    fn reach(&mut self) {
        if self.connection.is_none() {
            self.connection = connect(&self.socket_path).ok();
        }
    }

    fn ask(&mut self, ask: &Ask, fds: &[BorrowedFd<'_>]) -> Result<Option<OwnedFd>, Failure> {
        let Some(connection) = &self.connection else { return Ok(None) };
        let answer = wire::send(connection, ask, fds)
            .and_then(|()| wire::receive::<Held>(connection, &mut [0; wire::MAX_REPORT]));
        match answer {
            Ok(Some((Held(_), fds))) => Ok(fds.into_iter().next()),
            Ok(None) => {
                self.connection = None;
                Err(Failure::step("ask the console holder", &io::ErrorKind::ConnectionReset.into()))
            }
            Err(error) => {
                self.connection = None;
                Err(Failure::step("ask the console holder", &error))
            }
        }
    }

    /// Starts the process and connects to it.
    fn start(&self) -> Result<OwnedFd, Failure> {
        let name = || format!("listen on {}", self.socket_path.display());
        let _ = std::fs::remove_file(&self.socket_path);
        let address = SocketAddrUnix::new(&self.socket_path).step(name)?;
        let listener = socket().step(name)?;
        rustix::net::bind(&listener, &address).step(name)?;
        rustix::net::listen(&listener, 4).step(name)?;
        // A grandchild: the keeper must not have to reap it.
        match sys::clone3(0, None).step(|| "fork the console holder")? {
            Cloned::Child => {
                if let Ok(Cloned::Child) = sys::clone3(0, None) {
                    become_holder(&listener, &self.board);
                }
                sys::exit_now(0)
            }
            Cloned::Parent { pid, pidfd } => {
                let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None);
                let _ = sys::reap(pid);
            }
        }
        connect(&self.socket_path).step(|| format!("connect to {}", self.socket_path.display()))
    }
}

fn socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn connect(path: &Path) -> io::Result<OwnedFd> {
    let connection = socket()?;
    rustix::net::connect(&connection, &SocketAddrUnix::new(path)?)?;
    set_socket_timeout(&connection, Timeout::Recv, Some(ANSWER))?;
    Ok(connection)
}

/// Lets go of all that the keeper has, and serves.
fn become_holder(listener: &OwnedFd, board: &OwnedFd) -> ! {
    let _ = nix::unistd::setsid();
    let left = nix::sched::setns(board, CloneFlags::CLONE_NEWNS);
    if left.is_err() || sys::dup_onto(listener, 0).is_err() {
        sys::exit_now(1);
    }
    sys::close_all_from(3);
    let _ = rustix::thread::set_name(c"roost-consoles");
    sys::return_free_memory();
    let done = std::panic::catch_unwind(|| serve(std::io::stdin().as_fd()));
    sys::exit_now(i32::from(!matches!(done, Ok(Ok(())))))
}

fn serve(listener: BorrowedFd<'_>) -> io::Result<()> {
    let mut held = BTreeMap::new();
    let mut connection: Option<OwnedFd> = None;
    let mut buffer = [0; wire::MAX_REPORT];
    loop {
        let mut fds = vec![PollFd::from_borrowed_fd(listener, PollFlags::IN)];
        fds.extend(connection.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[0] {
            // A new keeper takes the place of the one before.
            connection = Some(rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?);
        } else if ready.get(1) == Some(&true)
            && let Some(keeper) = &connection
            && answer(keeper, &mut held, &mut buffer).is_err()
        {
            connection = None;
            if held.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Answers one question; an error is the end of the connection.
fn answer(keeper: &OwnedFd, held: &mut BTreeMap<AllocationId, OwnedFd>, buffer: &mut [u8]) -> io::Result<()> {
    let (ask, fds) = wire::receive::<Ask>(keeper, buffer)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let id = match ask {
        Ask::Hold(id) => {
            held.extend(fds.into_iter().next().map(|fd| (id, fd)));
            return wire::send(keeper, &Held(held.contains_key(&id)), &[]);
        }
        Ask::Drop(id) => {
            held.remove(&id);
            return wire::send(keeper, &Held(false), &[]);
        }
        Ask::Take(id) => id,
    };
    let found: Vec<BorrowedFd<'_>> = held.get(&id).map(AsFd::as_fd).into_iter().collect();
    wire::send(keeper, &Held(!found.is_empty()), &found)
}
