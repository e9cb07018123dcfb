//! What is written down of a container, and the status that OCI gives it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use roost_agent::runtime::linux::LinuxRuntime;
use roost_agent::runtime::{ContainerState, Runtime};
use roost_types::AllocationId;
use serde::{Deserialize, Serialize};

use crate::config;
use crate::node::Node;

/// A container.
#[derive(Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    pub oci_version: String,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    pub annotations: BTreeMap<String, String>,
    /// RFC 3339.
    pub created: String,
    pub allocation: AllocationId,
    pub terminal: bool,
    pub console_socket: Option<PathBuf>,
    /// Where its groups are shown, in each hierarchy.
    pub cgroups_path: PathBuf,
    pub resources: roost_types::size::Resources,
    /// Stands for the agent.
    pub monitor: u32,
    /// Its command was let go.
    pub started: bool,
    pub paused: bool,
}

/// The statuses of the OCI specification, and `paused`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// The command waits for `start`.
    Created,
    /// It was let go.
    Running,
    /// Its processes do not run for now.
    Paused,
    /// The first process ended.
    Stopped,
}

impl Status {
    /// As the specification spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl Record {
    /// Reads what is known of a container.
    ///
    /// # Errors
    /// There is no such container.
    pub fn read(node: &Node, id: &str) -> Result<Self> {
        let path = node.container(id)?.join("record.json");
        if !path.exists() {
            bail!("container {id} does not exist");
        }
        config::read(&path)
    }

    /// Writes it down.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, node: &Node) -> Result<()> {
        let directory = node.container(&self.id)?;
        let (new, path) = (directory.join("record.new"), directory.join("record.json"));
        fs::write(&new, serde_json::to_vec(self)?).with_context(|| format!("write {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("write {}", path.display()))
    }

    /// Its status, and the pid of its first process while there is one.
    ///
    /// # Errors
    /// The keeper cannot tell.
    pub async fn status(&self, runtime: &LinuxRuntime) -> Result<(Status, u32)> {
        let all = runtime.list().await.context("list the containers")?;
        let state = all.into_iter().find(|status| status.id == self.allocation).map(|status| status.state);
        Ok(match state {
            Some(ContainerState::Running { pid, .. }) if !self.started => (Status::Created, pid),
            Some(ContainerState::Running { pid, .. }) if self.paused => (Status::Paused, pid),
            Some(ContainerState::Running { pid, .. }) => (Status::Running, pid),
            Some(ContainerState::Exited { .. }) | None => (Status::Stopped, 0),
        })
    }
}
