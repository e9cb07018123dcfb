//! The seam between what the agent wants and what makes containers.
//!
//! [`linux`] makes real ones; tests of the agent's own logic bring fakes that keep the same states in memory, and no
//! feature is proven with those. The agent plans; a runtime only does, and reports what it saw.

pub mod linux;

use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use roost_allocation::Counters;
use roost_types::size::Resources;
use roost_types::stream::Resize;
use roost_types::sync::NodeNetwork;
use roost_types::{AllocationId, AllocationSpec, ExitStatus, FileRequest, InstanceStats, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Beside an allocation's layer: what is written into the container before its first start, as JSON of a
/// [`roost_types::FirstBoot`]. Must be there when a spec with `first_boot` is started for the first time.
pub const FIRST_BOOT_FILE: &str = "first-boot.json";

/// What a runtime says of one container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Whose it is.
    pub id: AllocationId,
    /// Where it is; `phase` in version 1 of the keeper's messages.
    #[serde(rename = "phase")]
    pub state: ContainerState,
    /// How often it was started; 0 when an older keeper says this.
    #[serde(default)]
    pub starts: u32,
}

/// Where a container is; also in the keeper's messages and state files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Its first process runs.
    Running {
        /// The epoch of the spec it was started with.
        epoch: u64,
        /// The host's pid of its first process.
        pid: u32,
        /// Since when.
        started_at: Timestamp,
    },
    /// Its first process ended (or never came up again after a power cut); its writable layer is there.
    Exited {
        /// How; none when it was never started or the board lost power meanwhile.
        exit: Option<ExitStatus>,
    },
}

/// Something happened to a container without having been asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuntimeEvent {
    /// Its first process ended.
    Exited {
        /// Whose.
        id: AllocationId,
        /// How.
        exit: ExitStatus,
    },
}

/// A container that was just started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Started {
    /// The host's pid of its first process.
    pub pid: u32,
    /// When it was executed.
    pub at: Timestamp,
}

/// A process to run in a running container.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExecPlan {
    /// Command and arguments; never empty.
    pub command: Vec<String>,
    /// Added to the container's environment, `NAME=value`.
    pub env: Vec<String>,
    /// Give it a terminal of this size.
    pub tty: Option<Resize>,
    /// Whom it runs as; as whom the container's own command does when absent.
    pub user: Option<String>,
    /// Where it begins; where the container's own command does when absent.
    pub workdir: Option<String>,
}

/// A process that runs in a container.
#[derive(Debug)]
pub struct ExecSession {
    /// Write end of its standard input, or the terminal (then `stdout` is a duplicate of it and `stderr` is none).
    pub stdin: OwnedFd,
    /// Read end of its standard output, or the terminal.
    pub stdout: OwnedFd,
    /// Read end of its standard error.
    pub stderr: Option<OwnedFd>,
    /// Its control.
    pub control: mpsc::Sender<ExecControl>,
    /// Its status, once it has ended.
    pub exit: tokio::sync::oneshot::Receiver<ExitStatus>,
}

/// What may be asked of a process started by exec. Dropping the sender (the user went away) kills the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExecControl {
    /// Send it a signal.
    Signal(i32),
}

/// A piece of a container's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogChunk {
    /// Standard error rather than standard output.
    pub stderr: bool,
    /// Whole lines, except at the end.
    pub bytes: Vec<u8>,
}

/// Why a runtime could not do something.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is no such container.
    #[error("no container of allocation {0} here")]
    NoContainer(AllocationId),
    /// The container does not run.
    #[error("the container does not run")]
    NotRunning,
    /// The container was not paused all the time.
    #[error("the container ran meanwhile")]
    NotFrozen,
    /// The command cannot be executed: the shell's 126 (not executable) or 127 (not found).
    #[error("{message}")]
    Command {
        /// 126 or 127.
        code: i32,
        /// What is wrong with it.
        message: String,
    },
    /// A limit cannot be enforced here.
    #[error("{0}")]
    Unsupported(String),
    /// A step failed.
    #[error("{step}")]
    Step {
        /// What was being done, with path and value.
        step: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// Makes, watches and ends containers. Every method may be called again with the same arguments and means the same.
pub trait Runtime: Send + Sync + 'static {
    /// Every container of this node, running or not: what an agent that just started adopts.
    fn list(&self) -> impl Future<Output = Result<Vec<ContainerStatus>, RuntimeError>> + Send;

    /// Makes the bridge of the instances, its address and the routes to other nodes fit.
    fn ensure_network(&self, network: &NodeNetwork) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Starts the container: its root is the image file under the allocation's own writable layer. Starting what runs
    /// with the same epoch is not an error.
    fn start(
        &self,
        spec: &AllocationSpec,
        image: &Path,
        network: &NodeNetwork,
    ) -> impl Future<Output = Result<Started, RuntimeError>> + Send;

    /// Puts other limits in force on a running container, all or none of its memory's.
    fn limit(&self, id: AllocationId, resources: &Resources) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Asks the first process to end, kills it after `grace`, and returns when nothing of the container runs. The
    /// writable layer stays.
    fn stop(&self, id: AllocationId, grace: Duration) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Kills what runs and removes every trace: processes, cgroups, network, mounts, writable layer, logs.
    fn delete(&self, id: AllocationId) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Pauses every process of a running container; returns when none of them runs any more. It goes on when it is
    /// thawed, stopped or deleted, or when the agent dies.
    fn freeze(&self, id: AllocationId) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Lets a paused container go on. `NotFrozen` when it has gone on already.
    fn thaw(&self, id: AllocationId) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Runs a process in a running container.
    fn exec(&self, id: AllocationId, plan: &ExecPlan)
    -> impl Future<Output = Result<ExecSession, RuntimeError>> + Send;

    /// Does something with the files of a running container, as a process inside it: what its standard streams carry is
    /// told at [`FileRequest`]. Its status is 0 when it was done.
    fn files(
        &self,
        id: AllocationId,
        request: &FileRequest,
    ) -> impl Future<Output = Result<ExecSession, RuntimeError>> + Send;

    /// Attaches to the console of a running container that has its own init: what comes out of the socket is its output,
    /// first the last `lines` lines of its log; what goes in is typed. Others may be attached as well.
    fn attach(&self, id: AllocationId, lines: u32) -> impl Future<Output = Result<OwnedFd, RuntimeError>> + Send;

    /// Sets the size of a console.
    fn resize_console(&self, id: AllocationId, size: Resize) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// What the first process wrote: the last `tail` lines (everything kept when none), then, with `follow`, what
    /// comes, until the receiver is dropped or the container is deleted.
    fn logs(
        &self,
        id: AllocationId,
        tail: Option<u32>,
        follow: bool,
    ) -> impl Future<Output = Result<mpsc::Receiver<LogChunk>, RuntimeError>> + Send;

    /// What the container uses now.
    fn stats(&self, id: AllocationId) -> impl Future<Output = Result<InstanceStats, RuntimeError>> + Send;

    /// What a running container's groups count; none when it does not run.
    fn counters(&self, id: AllocationId) -> Option<Counters>;

    /// The next thing that happened. Events of the time before the agent started are in `list`.
    fn next_event(&self) -> impl Future<Output = RuntimeEvent> + Send;
}
