//! One `--root` is one node: a keeper of its own in a network namespace of its own, its state and its containers.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use roost_agent::runtime::linux::{LinuxConfig, LinuxRuntime, keeper_main};
use roost_types::sync::NodeNetwork;

use crate::groups;

/// First argument of the keeper.
pub const KEEPER: &str = "keeper";

/// How long a killed process may take to be dead.
const DEATH: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// A node.
pub struct Node {
    root: PathBuf,
}

/// Runs the keeper, so that no address or bridge of it is in anybody's way.
pub fn keeper(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    if let Err(error) = nix::sched::unshare(CloneFlags::CLONE_NEWNET) {
        eprintln!("make a network namespace: {error}");
        return ExitCode::FAILURE;
    }
    keeper_main(arguments)
}

/// The node's own network.
#[must_use]
pub const fn network() -> NodeNetwork {
    NodeNetwork { gateway: Ipv4Addr::new(10, 99, 0, 1), prefix_len: 16, routes: Vec::new() }
}

impl Node {
    /// The node of a root directory, which need not be there.
    ///
    /// # Errors
    /// The path is empty.
    pub fn at(root: &Path) -> Result<Self> {
        Ok(Self { root: std::path::absolute(root).with_context(|| format!("--root {}", root.display()))? })
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a container.
    ///
    /// # Errors
    /// The name is none.
    pub fn container(&self, id: &str) -> Result<PathBuf> {
        let plain = id.chars().all(|c| c.is_ascii_alphanumeric() || "_+-.".contains(c));
        ensure!(plain && !id.is_empty() && id != "." && id != "..", "invalid id format: {id:?}");
        Ok(self.root.join("containers").join(id))
    }

    /// The names of all containers.
    pub fn containers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.join("containers")).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Makes the node's directories.
    ///
    /// # Errors
    /// One cannot be made.
    pub fn prepare(&self) -> Result<()> {
        let path = self.root.join("containers");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.with_context(|| format!("make {}", path.display()))
    }

    /// Keeps others from making or removing containers meanwhile.
    ///
    /// # Errors
    /// The lock cannot be had.
    pub fn lock(&self) -> Result<Flock<File>> {
        let path = self.root.join("lock");
        ensure!(self.root.is_dir(), "container does not exist: there is no {}", self.root.display());
        let file = File::create(&path).with_context(|| format!("open {}", path.display()))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).context("lock the node")
    }

    /// Where the node's groups are in each hierarchy.
    pub fn cgroup_parent(&self) -> PathBuf {
        let bytes = self.root.as_os_str().as_encoded_bytes();
        let fnv = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        PathBuf::from(format!("roost-oci-{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv)))
    }

    /// The node's runtime; its keeper is started where there is none.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn runtime(&self) -> Result<LinuxRuntime> {
        let config = LinuxConfig {
            state_dir: self.root.join("node/state"),
            run_dir: self.root.join("node/run"),
            cgroup_parent: self.cgroup_parent(),
            keeper_command: ["/proc/self/exe", KEEPER].map(OsString::from).to_vec(),
            lan_interface: None,
            without: BTreeSet::new(),
        };
        LinuxRuntime::connect(config).await.context("reach the keeper")
    }

    /// Ends the keeper of a node without containers and removes what it had.
    ///
    /// # Errors
    /// Something of it stays.
    pub async fn take_down(&self, runtime: LinuxRuntime) -> Result<()> {
        let keeper = runtime.keeper_pid().await.context("find the keeper")?;
        drop(runtime);
        kill(keeper)?;
        groups::remove_parent(&self.cgroup_parent());
        let path = self.root.join("node");
        fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))
    }
}

/// Kills a process of ours and waits for its death.
///
/// # Errors
/// It does not die.
pub fn kill(pid: u32) -> Result<()> {
    // One that is gone already is as good as killed.
    let _ = nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    ensure!(wait_for_death(pid, DEATH), "process {pid} does not die");
    Ok(())
}

/// Waits until a process is gone, or dead and not reaped yet; whether it is.
pub fn wait_for_death(pid: u32, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if !stat.contains(") Z") => std::thread::sleep(POLL),
            _ => return true,
        }
    }
    false
}
