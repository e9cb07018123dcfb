//! The agent's connection to the keeper.
//!
//! One connection, one task that reads it. When the keeper goes away, what was asked of it fails, a new keeper is
//! started, and what ended meanwhile comes as events from the difference of two lists.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_types::{AllocationId, ExitStatus};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, oneshot};

use super::facilities::Facility;
use super::state::{self, Paths};
use super::wire::{self, Call, Event, Failure, Message, Reply, Request};
use super::{container, sys};
use crate::runtime::{ContainerState, RuntimeError, RuntimeEvent};

/// How long a new keeper may take until it answers.
const KEEPER_START: Duration = Duration::from_secs(10);

/// How often a keeper is looked for unasked, at least; one that dies sooner is not replaced at once.
pub const RETRY: Duration = Duration::from_secs(1);

/// Where things are, and how a keeper is started.
#[derive(Clone, Debug)]
pub struct LinuxConfig {
    /// Survives the board's power.
    pub state_dir: PathBuf,
    /// Does not.
    pub run_dir: PathBuf,
    /// Path below each cgroup hierarchy's root under which the containers' groups are made.
    pub cgroup_parent: PathBuf,
    /// Program and first arguments of the keeper, for example `/proc/self/exe keeper`; its options are appended.
    pub keeper_command: Vec<OsString>,
    /// Interface of the LAN for containers that are put on it.
    pub lan_interface: Option<String>,
    /// What the kernel has and is not to be used.
    pub without: BTreeSet<Facility>,
}

/// What the runtime and the reading task share.
pub struct Shared {
    /// Settings.
    pub config: LinuxConfig,
    /// Where things are.
    pub paths: Paths,
    /// What changes.
    pub inner: Mutex<Inner>,
    /// One connection is made at a time.
    pub connecting: tokio::sync::Mutex<()>,
    /// What happened.
    pub events: mpsc::UnboundedSender<RuntimeEvent>,
    /// A keeper that had served for a while is gone.
    pub lost: Notify,
}

/// A container known to run.
pub struct Known {
    /// The ends of its output, held so that what it writes last is not lost should it end while there is no keeper.
    _output: Vec<OwnedFd>,
}

impl Known {
    /// Takes hold of the output of a container.
    #[must_use]
    pub fn new(paths: &Paths, id: AllocationId) -> Self {
        // An earlier keeper may have none, and one on the console has nothing in them.
        Self {
            _output: container::open_output(&paths.scratch(id), libc::O_NONBLOCK).map_or_else(|_| vec![], Vec::from),
        }
    }
}

type Answer = Result<(Reply, Vec<OwnedFd>), Failure>;

/// The connection and who waits for what.
#[derive(Default)]
pub struct Inner {
    /// The connection.
    pub socket: Option<Arc<AsyncFd<OwnedFd>>>,
    /// The keeper's [`wire::MINOR`].
    pub minor: u32,
    /// The last request.
    pub seq: u64,
    /// Requests without an answer.
    pub waiting: HashMap<u64, oneshot::Sender<Answer>>,
    /// Processes that run.
    pub execs: HashMap<u64, oneshot::Sender<ExitStatus>>,
    /// An exit can overtake the agent's learning of the number.
    pub early_exits: HashMap<u64, ExitStatus>,
    /// Containers known to run: those that are found ended after a reconnect become events.
    pub running: HashMap<AllocationId, Known>,
}

impl Shared {
    /// What changes, locked for a moment.
    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the keeper something over the connection that is there.
///
/// # Errors
/// The keeper's failure, or that of the connection.
pub async fn call_connected(shared: &Arc<Shared>, call: Call) -> Result<(Reply, Vec<OwnedFd>), RuntimeError> {
    let (sender, answer) = oneshot::channel();
    let (socket, request) = {
        let mut inner = shared.inner();
        let socket =
            inner.socket.clone().ok_or_else(|| step("reach the keeper", io::ErrorKind::NotConnected.into()))?;
        inner.seq += 1;
        let seq = inner.seq;
        inner.waiting.insert(seq, sender);
        (socket, Request { seq, call })
    };
    if let Err(error) = send(&socket, &request).await {
        shared.inner().waiting.remove(&request.seq);
        return Err(step("send a request to the keeper", error));
    }
    match answer.await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(failure)) => Err(failure.into()),
        Err(_) => Err(step("wait for the keeper", io::ErrorKind::ConnectionReset.into())),
    }
}

async fn send(socket: &AsyncFd<OwnedFd>, request: &Request) -> io::Result<()> {
    loop {
        match wire::send(socket.get_ref(), request, &[]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?.clear_ready(),
            other => return other,
        }
    }
}

/// Finds the keeper or starts one, unless there is a connection.
///
/// # Errors
/// When no keeper can be started.
pub async fn ensure_connected(shared: &Arc<Shared>) -> Result<(), RuntimeError> {
    let _one = shared.connecting.lock().await;
    if shared.inner().socket.is_some() {
        return Ok(());
    }
    let socket = ensure_keeper(shared).await?;
    let socket = Arc::new(sys::watch(socket).map_err(|error| step("watch the keeper's socket", error))?);
    shared.inner().socket = Some(Arc::clone(&socket));
    tokio::spawn(read_all(Arc::clone(shared), socket));
    greet(shared).await?;
    report_missed_exits(shared).await
}

async fn greet(shared: &Arc<Shared>) -> Result<(), RuntimeError> {
    match call_connected(shared, Call::Hello { version: wire::VERSION }).await? {
        (Reply::Hello { version, minor, .. }, _) if version == wire::VERSION => {
            shared.inner().minor = minor;
            Ok(())
        }
        (Reply::Hello { version, .. }, _) => Err(RuntimeError::Unsupported(format!(
            "the keeper speaks version {version} of the protocol, this agent {}",
            wire::VERSION
        ))),
        (other, _) => Err(unexpected(&other)),
    }
}

/// What ended while there was no connection.
async fn report_missed_exits(shared: &Arc<Shared>) -> Result<(), RuntimeError> {
    let (Reply::List(list), _) = call_connected(shared, Call::List).await? else { return Ok(()) };
    let mut inner = shared.inner();
    for container in list {
        match container.state {
            ContainerState::Running { .. } => {
                inner.running.entry(container.id).or_insert_with(|| Known::new(&shared.paths, container.id));
            }
            ContainerState::Exited { exit } => {
                if let (Some(_), Some(exit)) = (inner.running.remove(&container.id), exit) {
                    let _ = shared.events.send(RuntimeEvent::Exited { id: container.id, exit });
                }
            }
        }
    }
    Ok(())
}

/// Connects to the node's keeper, starting one if none listens.
async fn ensure_keeper(shared: &Shared) -> Result<OwnedFd, RuntimeError> {
    let path = shared.paths.socket();
    if let Ok(socket) = connect(&path) {
        return Ok(socket);
    }
    start_keeper(shared)?;
    let deadline = tokio::time::Instant::now() + KEEPER_START;
    loop {
        match connect(&path) {
            Ok(socket) => return Ok(socket),
            Err(error) if tokio::time::Instant::now() >= deadline => {
                let log = shared.paths.run.join("keeper.log");
                return Err(step(format!("reach the keeper at {} (see {})", path.display(), log.display()), error));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

fn start_keeper(shared: &Shared) -> Result<(), RuntimeError> {
    let run = &shared.paths.run;
    for path in [run, &shared.paths.state] {
        state::private_directory(path).map_err(|error| step(format!("make {}", path.display()), error))?;
    }
    let path = run.join("keeper.log");
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let log = log.map_err(|error| step(format!("open {}", path.display()), error))?;
    let (program, arguments) = shared
        .config
        .keeper_command
        .split_first()
        .ok_or_else(|| RuntimeError::Unsupported("the keeper's command is empty".into()))?;
    // The runtime reaps it, should it end before the agent does.
    let _child = tokio::process::Command::new(program)
        .args(arguments)
        .arg("--state")
        .arg(&shared.paths.state)
        .arg("--run-dir")
        .arg(run)
        .arg("--cgroup-parent")
        .arg(&shared.config.cgroup_parent)
        .args(shared.config.without.iter().flat_map(|masked| ["--without", masked.name()]))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| step(format!("start the keeper {}", program.display()), error))?;
    Ok(())
}

fn connect(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Reads the connection to its end, then lets a new one be made.
async fn read_all(shared: Arc<Shared>, socket: Arc<AsyncFd<OwnedFd>>) {
    let began = tokio::time::Instant::now();
    let mut buffer = vec![0; wire::MAX_MESSAGE];
    loop {
        let Ok(mut ready) = socket.readable().await else { break };
        match wire::receive::<Message>(socket.get_ref(), &mut buffer) {
            Ok(Some((message, fds))) => dispatch(&shared, message, fds),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready.clear_ready();
            }
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "cannot read from the keeper");
                break;
            }
        }
    }
    let mut inner = shared.inner();
    inner.socket = None;
    inner.waiting.clear();
    inner.execs.clear();
    inner.early_exits.clear();
    if began.elapsed() >= RETRY {
        shared.lost.notify_one();
    }
}

fn dispatch(shared: &Shared, message: Message, fds: Vec<OwnedFd>) {
    let mut inner = shared.inner();
    match message {
        Message::Reply { seq, result } => {
            if let Some(waiting) = inner.waiting.remove(&seq) {
                let _ = waiting.send(result.map(|reply| (reply, fds)));
            }
        }
        Message::Event(Event::Exited { id, exit }) => {
            inner.running.remove(&id);
            let _ = shared.events.send(RuntimeEvent::Exited { id, exit });
        }
        Message::Event(Event::ExecExited { exec, exit }) => match inner.execs.remove(&exec) {
            Some(waiting) => {
                let _ = waiting.send(exit);
            }
            None => {
                inner.early_exits.insert(exec, exit);
            }
        },
    }
}

/// A step failed.
pub fn step(step: impl Into<String>, source: io::Error) -> RuntimeError {
    RuntimeError::Step { step: step.into(), source }
}

/// The keeper answered something else than what was asked.
pub fn unexpected(reply: &Reply) -> RuntimeError {
    step(format!("understand the keeper's answer {reply:?}"), io::ErrorKind::InvalidData.into())
}

impl From<Failure> for RuntimeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoContainer(id) => Self::NoContainer(id),
            Failure::NotRunning => Self::NotRunning,
            Failure::NotFrozen => Self::NotFrozen,
            Failure::Command { code, message } => Self::Command { code, message },
            Failure::Unsupported(text) => Self::Unsupported(text),
            Failure::Step { step, errno } => Self::Step { step, source: io::Error::from_raw_os_error(errno) },
        }
    }
}
