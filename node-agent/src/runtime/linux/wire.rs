//! What the agent and the keeper say to each other: one JSON message per packet of a `SOCK_SEQPACKET` unix socket, file
//! descriptors beside it.
//!
//! A request carries a number that its reply repeats; replies may come out of order. [`Event`]s come unasked. Both ends
//! belong to one machine but not always to one version: an agent that was upgraded talks to the keeper of its
//! predecessor, so [`VERSION`] is said first and messages only ever grow optional fields within a version.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::runtime::ContainerStatus;
use roost_types::image::{ImageDigest, RootfsFormat};
use roost_types::size::Resources;
use roost_types::stream::Resize;
use roost_types::sync::NodeNetwork;
use roost_types::{AllocationId, AllocationSpec, ExitStatus, FileRequest, Timestamp};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of this protocol.
pub const VERSION: u32 = 1;
/// What was added within the version: 1 = files, consoles, live limits, pauses; 2 = users,
/// working directories and stop signals; 3 = shells; 4 = limits beside a size. A keeper cuts off who asks what it does
/// not know, so the agent asks only what its keeper has.
pub const MINOR: u32 = 4;
/// The longest message: 128 KiB, 500 containers in a list. Below the default socket buffer of 208 KiB.
pub const MAX_MESSAGE: usize = 128 * 1024;
/// The longest message of a new process to the keeper and back, which carry a failure at most: 8 KiB.
pub const MAX_REPORT: usize = 8 * 1024;
/// The most descriptors beside one message: the three ends of a process's pipes.
const MAX_FDS: usize = 3;

/// Agent to keeper.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Repeated in the reply.
    pub seq: u64,
    /// What to do.
    pub call: Call,
}

/// What the keeper can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// First message of a connection.
    Hello {
        /// The agent's [`VERSION`].
        version: u32,
    },
    /// Every container.
    List,
    /// Make the bridge fit.
    EnsureNetwork(NodeNetwork),
    /// Start a container.
    Start(Box<StartCall>),
    /// Put other limits in force on a running container.
    Limit {
        /// Which.
        id: AllocationId,
        /// The limits.
        resources: Resources,
    },
    /// End a container; answered when nothing of it runs.
    Stop {
        /// Which.
        id: AllocationId,
        /// How long to wait before killing it, in milliseconds.
        grace_ms: u64,
    },
    /// Leave no trace of a container; answered when none is left.
    Delete {
        /// Which.
        id: AllocationId,
    },
    /// Pause a container until this connection thaws it or ends; answered when nothing of it runs.
    Freeze {
        /// Which.
        id: AllocationId,
    },
    /// Let it go on.
    Thaw {
        /// Which.
        id: AllocationId,
    },
    /// Run a process in a container. The reply carries its pipes or terminal.
    Exec {
        /// Which.
        id: AllocationId,
        /// Command and arguments.
        command: Vec<String>,
        /// Added to the environment, `NAME=value`.
        env: Vec<String>,
        /// Size of its terminal.
        tty: Option<Resize>,
        /// Whom it runs as; as whom the container's own command does when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Where it begins; where the container's own command does when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workdir: Option<String>,
    },
    /// Do something with a container's files. The reply is that of [`Call::Exec`].
    Files {
        /// Which.
        id: AllocationId,
        /// What.
        request: FileRequest,
    },
    /// Send a signal to a process that this connection started.
    ExecSignal {
        /// Number from [`Reply::Exec`].
        exec: u64,
        /// Signal number.
        signal: i32,
    },
    /// Attach to a container's console. The reply is `done` with a socket beside it: output comes out, input goes in.
    Attach {
        /// Which.
        id: AllocationId,
        /// How many lines of its log come first.
        lines: u32,
    },
    /// Set the size of a container's console.
    ConsoleSize {
        /// Which.
        id: AllocationId,
        /// To what.
        size: Resize,
    },
    /// The root of an image, mounted if it is not: a copy of the mount, attached nowhere, is beside the reply.
    Image {
        /// Which.
        digest: ImageDigest,
        /// How its file is to be mounted.
        format: RootfsFormat,
        /// Its file.
        file: PathBuf,
    },
    /// What a container uses.
    Stats {
        /// Which.
        id: AllocationId,
    },
}

/// Everything needed to start a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartCall {
    /// What to run.
    pub spec: AllocationSpec,
    /// The root file system file.
    pub image: PathBuf,
    /// The node's network of instances.
    pub network: NodeNetwork,
    /// The interface of the LAN that it is put on, if it wants to be on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lan: Option<String>,
    /// Ids are not mapped: the image's shell for the container's range, which its layer has the form of too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<PathBuf>,
}

/// Keeper to agent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The answer to a request.
    Reply {
        /// Number of the request.
        seq: u64,
        /// How it went.
        result: Result<Reply, Failure>,
    },
    /// Something happened.
    Event(Event),
}

/// A successful answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To `hello`.
    Hello {
        /// The keeper's [`VERSION`].
        version: u32,
        /// The keeper's [`MINOR`].
        #[serde(default)]
        minor: u32,
        /// Its process id.
        pid: u32,
    },
    /// To `list`.
    List(Vec<ContainerStatus>),
    /// To `start`.
    Started {
        /// Host pid of the first process.
        pid: u32,
        /// When.
        at: Timestamp,
    },
    /// To `exec` and `files`; the descriptors are stdin, stdout, stderr, or the terminal alone.
    Exec {
        /// Its number on this keeper.
        exec: u64,
    },
    /// To `stats`.
    Stats {
        /// Processor time in microseconds.
        cpu_usec: u64,
        /// Memory in bytes.
        memory_bytes: u64,
        /// Processes and threads.
        pids: u32,
    },
    /// To everything else.
    Done,
}

/// Why something could not be done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No such container.
    NoContainer(AllocationId),
    /// It does not run.
    NotRunning,
    /// It was not paused all the time.
    NotFrozen,
    /// The command cannot be executed.
    Command {
        /// 126 or 127.
        code: i32,
        /// Why.
        message: String,
    },
    /// A limit cannot be enforced here.
    Unsupported(String),
    /// A step failed.
    Step {
        /// Which, with path and value.
        step: String,
        /// The kernel's error number.
        errno: i32,
    },
}

impl Failure {
    /// A step failed with a kernel error.
    pub fn step(step: impl Into<String>, error: &io::Error) -> Self {
        let step = step.into();
        match error.raw_os_error() {
            Some(errno) => Self::Step { step, errno },
            None => Self::Step { step: format!("{step} ({error})"), errno: libc::EIO },
        }
    }
}

/// Adds the name of the step to a kernel error.
pub trait Context<T> {
    /// Names what was being done, with path and value.
    ///
    /// # Errors
    /// [`Failure::Step`] for every error.
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(|error| Failure::step(step(), &error.into()))
    }
}

/// What happened unasked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A container's first process ended.
    Exited {
        /// Whose.
        id: AllocationId,
        /// How.
        exit: ExitStatus,
    },
    /// A process of this connection ended.
    ExecExited {
        /// Its number.
        exec: u64,
        /// How.
        exit: ExitStatus,
    },
}

/// Sends one message with descriptors beside it.
///
/// # Errors
/// `EAGAIN` when the other side does not read; `EMSGSIZE` when it is too long.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message and its descriptors; none at the end of the connection.
///
/// # Errors
/// `EAGAIN` when there is none yet; `InvalidData` when it is not one of ours.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if got.bytes == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&buffer[..got.bytes])?, fds)))
}
