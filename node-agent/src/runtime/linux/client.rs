//! The agent's side of the keeper: [`LinuxRuntime`].
//!
//! One connection, one task that reads it. When the keeper goes away, what was asked of it fails, a new keeper is
//! started, and what ended meanwhile comes as events from the difference of two lists.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_types::sync::NodeNetwork;
use roost_types::{AllocationId, AllocationSpec, ExitStatus, Timestamp};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use super::logs::Reader;
use super::state::{self, Paths};
use super::sys;
use super::wire::{self, Call, Event, Failure, Message, Phase, Reply, Request, StartCall};
use crate::runtime::{
    ContainerState, ContainerStats, ContainerStatus, ExecControl, ExecPlan, ExecSession, LogChunk, Runtime,
    RuntimeError, RuntimeEvent, Started,
};

/// How long a new keeper may take until it answers.
const KEEPER_START: Duration = Duration::from_secs(10);
/// How often a follower looks for new output.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

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
}

/// Real containers on this machine.
pub struct LinuxRuntime {
    shared: Arc<Shared>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<RuntimeEvent>>,
}

struct Shared {
    config: LinuxConfig,
    paths: Paths,
    inner: Mutex<Inner>,
    /// One connection is made at a time.
    connecting: tokio::sync::Mutex<()>,
    events: mpsc::UnboundedSender<RuntimeEvent>,
}

type Answer = Result<(Reply, Vec<OwnedFd>), Failure>;

#[derive(Default)]
struct Inner {
    socket: Option<Arc<AsyncFd<OwnedFd>>>,
    seq: u64,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    execs: HashMap<u64, oneshot::Sender<ExitStatus>>,
    /// An exit can overtake the agent's learning of the number.
    early_exits: HashMap<u64, ExitStatus>,
    /// Containers known to run: those that are found ended after a reconnect become events.
    running: HashMap<AllocationId, Timestamp>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LinuxRuntime {
    /// Finds the node's keeper or starts one.
    ///
    /// # Errors
    /// When no keeper can be started.
    pub async fn connect(config: LinuxConfig) -> Result<Self, RuntimeError> {
        let paths = Paths { state: config.state_dir.clone(), run: config.run_dir.clone() };
        let (events, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            config,
            paths,
            inner: Mutex::default(),
            connecting: tokio::sync::Mutex::new(()),
            events,
        });
        ensure_connected(&shared).await?;
        Ok(Self { shared, events: tokio::sync::Mutex::new(receiver) })
    }

    /// The directory that holds a container's `upper` (its writable layer, ids as the container sees them), `work` and
    /// `log`.
    #[must_use]
    pub fn instance_dir(&self, id: AllocationId) -> PathBuf {
        self.shared.paths.instance(id)
    }

    /// Closes the connection, as the agent's death does: processes run by exec are killed, containers are not touched.
    /// The next call connects again.
    pub fn disconnect(&self) {
        if let Some(socket) = &self.shared.inner().socket {
            let _ = rustix::net::shutdown(socket.get_ref(), rustix::net::Shutdown::Both);
        }
    }

    /// The process id of the keeper.
    ///
    /// # Errors
    /// When none answers and none can be started.
    pub async fn keeper_pid(&self) -> Result<u32, RuntimeError> {
        match self.call(Call::Hello { version: wire::VERSION }).await? {
            (Reply::Hello { pid, .. }, _) => Ok(pid),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn call(&self, call: Call) -> Result<(Reply, Vec<OwnedFd>), RuntimeError> {
        ensure_connected(&self.shared).await?;
        call_connected(&self.shared, call).await
    }

    async fn call_done(&self, call: Call) -> Result<(), RuntimeError> {
        match self.call(call).await? {
            (Reply::Done, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }
}

async fn call_connected(shared: &Arc<Shared>, call: Call) -> Result<(Reply, Vec<OwnedFd>), RuntimeError> {
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

async fn ensure_connected(shared: &Arc<Shared>) -> Result<(), RuntimeError> {
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
        (Reply::Hello { version, .. }, _) if version == wire::VERSION => Ok(()),
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
        match container.phase {
            Phase::Running { started_at, .. } => {
                inner.running.insert(container.id, started_at);
            }
            Phase::Exited { exit } => {
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
    let mut buffer = Vec::new();
    loop {
        let Ok(mut ready) = socket.readable().await else { break };
        match wire::receive::<Message>(socket.get_ref(), &mut buffer) {
            Ok(Some((message, fds))) => dispatch(&shared, message, fds),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready.clear_ready();
                buffer = Vec::new();
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

fn step(step: impl Into<String>, source: io::Error) -> RuntimeError {
    RuntimeError::Step { step: step.into(), source }
}

fn unexpected(reply: &Reply) -> RuntimeError {
    step(format!("understand the keeper's answer {reply:?}"), io::ErrorKind::InvalidData.into())
}

impl From<Failure> for RuntimeError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoContainer(id) => Self::NoContainer(id),
            Failure::NotRunning => Self::NotRunning,
            Failure::Command { code, message } => Self::Command { code, message },
            Failure::Unsupported(text) => Self::Unsupported(text),
            Failure::Step { step, errno } => Self::Step { step, source: io::Error::from_raw_os_error(errno) },
        }
    }
}

impl Runtime for LinuxRuntime {
    async fn list(&self) -> Result<Vec<ContainerStatus>, RuntimeError> {
        let list = match self.call(Call::List).await? {
            (Reply::List(list), _) => list,
            (other, _) => return Err(unexpected(&other)),
        };
        let status = |container: wire::Container| ContainerStatus {
            id: container.id,
            state: match container.phase {
                Phase::Running { epoch, pid, started_at } => ContainerState::Running { epoch, pid, started_at },
                Phase::Exited { exit } => ContainerState::Exited { exit },
            },
        };
        Ok(list.into_iter().map(status).collect())
    }

    async fn ensure_network(&self, network: &NodeNetwork) -> Result<(), RuntimeError> {
        self.call_done(Call::EnsureNetwork(network.clone())).await
    }

    async fn start(&self, spec: &AllocationSpec, image: &Path, network: &NodeNetwork) -> Result<Started, RuntimeError> {
        let call = StartCall { spec: spec.clone(), image: image.to_owned(), network: network.clone() };
        match self.call(Call::Start(Box::new(call))).await? {
            (Reply::Started { pid, at }, _) => {
                self.shared.inner().running.insert(spec.id, at);
                Ok(Started { pid, at })
            }
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn stop(&self, id: AllocationId, grace: Duration) -> Result<(), RuntimeError> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.call_done(Call::Stop { id, grace_ms }).await
    }

    async fn delete(&self, id: AllocationId) -> Result<(), RuntimeError> {
        self.call_done(Call::Delete { id }).await
    }

    async fn exec(&self, id: AllocationId, plan: &ExecPlan) -> Result<ExecSession, RuntimeError> {
        let call = Call::Exec { id, command: plan.command.clone(), env: plan.env.clone(), tty: plan.tty };
        let (exec, fds) = match self.call(call).await? {
            (Reply::Exec { exec }, fds) => (exec, fds),
            (other, _) => return Err(unexpected(&other)),
        };
        let (control, commands) = mpsc::channel(8);
        let exit = self.watch_exec(exec);
        tokio::spawn(control_exec(Arc::clone(&self.shared), exec, commands));
        let mut fds = fds.into_iter();
        match (fds.next(), fds.next(), fds.next()) {
            (Some(stdin), Some(stdout), stderr) => Ok(ExecSession { stdin, stdout, stderr, control, exit }),
            (Some(stdin), None, None) => {
                let stdout = stdin.try_clone().map_err(|error| step("duplicate the terminal", error))?;
                Ok(ExecSession { stdin, stdout, stderr: None, control, exit })
            }
            _ => Err(step("take over the pipes of the process", io::ErrorKind::InvalidData.into())),
        }
    }

    async fn logs(
        &self,
        id: AllocationId,
        tail: Option<u32>,
        follow: bool,
    ) -> Result<mpsc::Receiver<LogChunk>, RuntimeError> {
        let directory = self.shared.paths.log(id);
        if !directory.exists() {
            return Err(RuntimeError::NoContainer(id));
        }
        let (kept, reader) =
            Reader::open(&directory, tail).map_err(|error| step(format!("read the log of {id}"), error))?;
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(send_log(sender, kept, follow.then_some(reader)));
        Ok(receiver)
    }

    async fn stats(&self, id: AllocationId) -> Result<ContainerStats, RuntimeError> {
        match self.call(Call::Stats { id }).await? {
            (Reply::Stats { cpu_usec, memory_bytes, pids }, _) => Ok(ContainerStats { cpu_usec, memory_bytes, pids }),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn next_event(&self) -> RuntimeEvent {
        let mut events = self.events.lock().await;
        loop {
            tokio::select! {
                Some(event) = events.recv() => return event,
                // A keeper that died is noticed and replaced even when nobody asks anything.
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    if let Err(error) = ensure_connected(&self.shared).await {
                        tracing::warn!(%error, "the keeper does not come back");
                    }
                }
            }
        }
    }
}

impl LinuxRuntime {
    fn watch_exec(&self, exec: u64) -> oneshot::Receiver<ExitStatus> {
        let (sender, receiver) = oneshot::channel();
        let mut inner = self.shared.inner();
        match inner.early_exits.remove(&exec) {
            Some(exit) => {
                let _ = sender.send(exit);
            }
            None => {
                inner.execs.insert(exec, sender);
            }
        }
        receiver
    }
}

/// Passes signals on; when the user goes away, kills the process.
async fn control_exec(shared: Arc<Shared>, exec: u64, mut commands: mpsc::Receiver<ExecControl>) {
    while let Some(ExecControl::Signal(signal)) = commands.recv().await {
        // A process that has ended meanwhile needs no signal.
        let _ = call_connected(&shared, Call::ExecSignal { exec, signal }).await;
    }
    let _ = call_connected(&shared, Call::ExecSignal { exec, signal: libc::SIGKILL }).await;
}

async fn send_log(sender: mpsc::Sender<LogChunk>, kept: Vec<LogChunk>, follow: Option<Reader>) {
    for chunk in kept {
        if sender.send(chunk).await.is_err() {
            return;
        }
    }
    let Some(mut reader) = follow else { return };
    loop {
        match reader.more() {
            Ok(Some(chunks)) => {
                for chunk in chunks {
                    if sender.send(chunk).await.is_err() {
                        return;
                    }
                }
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot follow a log");
                return;
            }
        }
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
        }
    }
}
