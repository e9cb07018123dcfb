//! The agent's side of the keeper: [`LinuxRuntime`].

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roost_allocation::Counters;
use roost_types::instance::Network;
use roost_types::size::Resources;
use roost_types::stream::Resize;
use roost_types::sync::NodeNetwork;
use roost_types::{AllocationId, AllocationSpec, ExitStatus, FileRequest, InstanceStats};
use tokio::sync::{Notify, mpsc, oneshot};

use super::cgroup::Cgroups;
use super::connection::{Known, LinuxConfig, RETRY, Shared, call_connected, ensure_connected, step, unexpected};
use super::facilities::Facilities;
use super::logs::{Reader, merge};
use super::shells::Shells;
use super::state::Paths;
use super::usage;
use super::wire::{self, Call, Reply, StartCall};
use crate::runtime::{
    ContainerStatus, ExecControl, ExecPlan, ExecSession, LogChunk, Runtime, RuntimeError, RuntimeEvent, Started,
};
use crate::{layers, owners};

/// How long the processes of a container may take until they are paused: one that waits for a disk takes its time.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a follower looks for new output.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// Lines are handed on in pieces of so many bytes.
const PIECE: usize = 32 * 1024;

/// Real containers on this machine.
pub struct LinuxRuntime {
    shared: Arc<Shared>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<RuntimeEvent>>,
    facilities: Facilities,
    shells: Shells,
    /// None on a machine without any, where no keeper starts a container either.
    cgroups: Option<Cgroups>,
}

impl LinuxRuntime {
    /// Finds the node's keeper or starts one.
    ///
    /// # Errors
    /// When no keeper can be started.
    pub async fn connect(config: LinuxConfig) -> Result<Self, RuntimeError> {
        let cgroups = Cgroups::detect(&config.cgroup_parent).ok();
        let paths = Paths { state: config.state_dir.clone(), run: config.run_dir.clone() };
        let (facilities, shells) = (Facilities::detect(&config.without), Shells::new(paths.clone()));
        let (events, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            config,
            paths,
            inner: Mutex::default(),
            connecting: tokio::sync::Mutex::new(()),
            events,
            lost: Notify::new(),
        });
        ensure_connected(&shared).await?;
        shells.sweep().await;
        Ok(Self { shared, events: tokio::sync::Mutex::new(receiver), facilities, shells, cgroups })
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

impl Runtime for LinuxRuntime {
    async fn list(&self) -> Result<Vec<ContainerStatus>, RuntimeError> {
        match self.call(Call::List).await? {
            (Reply::List(list), _) => Ok(list),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn ensure_network(&self, network: &NodeNetwork) -> Result<(), RuntimeError> {
        self.call_done(Call::EnsureNetwork(network.clone())).await
    }

    async fn start(&self, spec: &AllocationSpec, image: &Path, network: &NodeNetwork) -> Result<Started, RuntimeError> {
        let lan = match (spec.network, &self.shared.config.lan_interface) {
            (Network::Bridge, _) => None,
            (Network::Lan, Some(interface)) => Some(interface.clone()),
            (Network::Lan, None) => {
                let why = "it wants to be on the LAN: start the agent with --lan-interface";
                return Err(RuntimeError::Unsupported(why.to_owned()));
            }
        };
        if !spec.user.is_empty() || !spec.workdir.is_empty() || spec.stop_signal.is_some() {
            self.require(2, "users, working directories and stop signals of images").await?;
        }
        self.require_limits(&spec.resources).await?;
        let shell = self.own(spec, image).await?;
        let call = StartCall { spec: spec.clone(), image: image.to_owned(), network: network.clone(), lan, shell };
        match self.call(Call::Start(Box::new(call))).await? {
            (Reply::Started { pid, at }, _) => {
                self.shared.inner().running.insert(spec.id, Known::new(&self.shared.paths, spec.id));
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
        self.call_done(Call::Delete { id }).await?;
        self.shared.inner().running.remove(&id);
        self.shells.sweep().await;
        Ok(())
    }

    async fn freeze(&self, id: AllocationId) -> Result<(), RuntimeError> {
        self.require(1, "pauses").await?;
        match tokio::time::timeout(FREEZE_TIMEOUT, self.call_done(Call::Freeze { id })).await {
            Ok(frozen) => frozen,
            Err(_) => {
                // It may be half paused; whether it was is of no interest.
                let _ = self.call_done(Call::Thaw { id }).await;
                Err(step("pause the container's processes", io::ErrorKind::TimedOut.into()))
            }
        }
    }

    async fn thaw(&self, id: AllocationId) -> Result<(), RuntimeError> {
        self.call_done(Call::Thaw { id }).await
    }

    async fn exec(&self, id: AllocationId, plan: &ExecPlan) -> Result<ExecSession, RuntimeError> {
        let ExecPlan { command, env, tty, user, workdir } = plan.clone();
        if user.is_some() || workdir.is_some() {
            self.require(2, "users and working directories for commands").await?;
        }
        self.begin_exec(Call::Exec { id, command, env, tty, user, workdir }).await
    }

    async fn files(&self, id: AllocationId, request: &FileRequest) -> Result<ExecSession, RuntimeError> {
        self.require(1, "files").await?;
        self.begin_exec(Call::Files { id, request: request.clone() }).await
    }

    async fn attach(&self, id: AllocationId, lines: u32) -> Result<OwnedFd, RuntimeError> {
        self.require(1, "consoles").await?;
        let (_, fds) = self.call(Call::Attach { id, lines }).await?;
        let missing = || step("take over the console", io::ErrorKind::InvalidData.into());
        fds.into_iter().next().ok_or_else(missing)
    }

    async fn resize_console(&self, id: AllocationId, size: Resize) -> Result<(), RuntimeError> {
        self.require(1, "consoles").await?;
        self.call_done(Call::ConsoleSize { id, size }).await
    }

    async fn logs(
        &self,
        id: AllocationId,
        tail: Option<u32>,
        follow: bool,
    ) -> Result<mpsc::Receiver<LogChunk>, RuntimeError> {
        let directory = self.shared.paths.log(id);
        if !self.shared.paths.instance(id).exists() {
            return Err(RuntimeError::NoContainer(id));
        }
        let (kept, reader) =
            Reader::open(&directory, tail).map_err(|error| step(format!("read the log of {id}"), error))?;
        let (sender, receiver) = mpsc::channel(4);
        tokio::spawn(send_log(sender, kept, follow.then_some(reader)));
        Ok(receiver)
    }

    async fn limit(&self, id: AllocationId, resources: &Resources) -> Result<(), RuntimeError> {
        self.require(1, "live limits").await?;
        self.require_limits(resources).await?;
        self.call_done(Call::Limit { id, resources: *resources }).await
    }

    async fn stats(&self, id: AllocationId) -> Result<InstanceStats, RuntimeError> {
        // The keeper knows whether it runs.
        let (reply, _) = self.call(Call::Stats { id }).await?;
        let Reply::Stats { .. } = reply else { return Err(unexpected(&reply)) };
        let Some(cgroups) = self.cgroups.clone() else { return Err(RuntimeError::NotRunning) };
        let read = tokio::task::spawn_blocking(move || usage::read(&cgroups, id));
        read.await.map_err(|error| step("read what the container uses", io::Error::other(error)))
    }

    fn counters(&self, id: AllocationId) -> Option<Counters> {
        // Read here: the keeper has nothing to add, and is not to be woken every few seconds.
        self.cgroups.as_ref()?.counters(&id.to_string())
    }

    async fn next_event(&self) -> RuntimeEvent {
        let mut events = self.events.lock().await;
        loop {
            tokio::select! {
                Some(event) = events.recv() => return event,
                // A keeper that died is noticed and replaced even when nobody asks anything.
                () = self.shared.lost.notified() => {}
                () = tokio::time::sleep(RETRY) => {}
            }
            if let Err(error) = ensure_connected(&self.shared).await {
                tracing::warn!(%error, "the keeper does not come back");
            }
        }
    }
}

impl LinuxRuntime {
    /// Whether the keeper, which may be of an earlier release, knows what was added in `minor`.
    async fn require(&self, minor: u32, what: &str) -> Result<(), RuntimeError> {
        ensure_connected(&self.shared).await?;
        if self.shared.inner().minor >= minor {
            return Ok(());
        }
        Err(RuntimeError::Unsupported(format!(
            "the board's keeper is of an earlier release and has no {what} yet: restart the board, or move the instance"
        )))
    }

    async fn require_limits(&self, resources: &Resources) -> Result<(), RuntimeError> {
        if resources.limits.is_none() { Ok(()) } else { self.require(4, "limits beside a size").await }
    }

    /// Makes image and layer the container's own: where the kernel maps ids at their mounts, only a layer that was stored
    /// for another kernel has to be changed. Returns the image's shell where it does not.
    async fn own(&self, spec: &AllocationSpec, image: &Path) -> Result<Option<PathBuf>, RuntimeError> {
        let mapped = self.facilities.maps_ids(spec.format);
        let base = if mapped { owners::AS_SEEN } else { spec.uid_base };
        if !self.shared.inner().running.contains_key(&spec.id) {
            let layer = self.instance_dir(spec.id).join("upper");
            let given = tokio::task::spawn_blocking(move || layers::give(&layer, base)).await;
            given
                .map_err(io::Error::other)
                .and_then(|given| given.map_err(io::Error::other))
                .map_err(|error| step(format!("give the layer to the ids from {base}"), error))?;
        }
        if mapped {
            return Ok(None);
        }
        self.require(3, "way to run containers without id-mapped mounts").await?;
        let open = async {
            let (digest, file) = (spec.image.clone(), image.to_owned());
            let (_, fds) = self.call(Call::Image { digest, format: spec.format, file }).await?;
            let missing = || step("take over the image", io::ErrorKind::InvalidData.into());
            fds.into_iter().next().ok_or_else(missing)
        };
        self.shells.ensure(spec, open).await.map(Some)
    }

    async fn begin_exec(&self, call: Call) -> Result<ExecSession, RuntimeError> {
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
    for chunk in merge(kept, PIECE) {
        if sender.send(chunk).await.is_err() {
            return;
        }
    }
    let Some(mut reader) = follow else { return };
    loop {
        match reader.more() {
            Ok(Some(chunks)) => {
                for chunk in merge(chunks, PIECE) {
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
