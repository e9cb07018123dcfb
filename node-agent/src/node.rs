//! A real node: which container runtime the agent's loop runs over. The one place that knows it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use roost_types::AllocationId;

use crate::agent::{self, AgentError, Parts};
use crate::config::Config;
use crate::firewall;
use crate::runtime::RuntimeError;
use crate::runtime::linux::{self, LinuxConfig, LinuxRuntime};

/// Below each cgroup hierarchy's root, unless the agent is told otherwise.
const CGROUP_PARENT: &str = "roost";

/// Why the agent cannot run on this node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// Nothing holds containers here.
    #[error("start the node's keeper")]
    Keeper(#[from] RuntimeError),
    /// The agent ended.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Runs the agent of this node. `prefix` leads to the agent's subcommands in the running program.
pub(crate) async fn run(config: Config, prefix: &[&str]) -> Result<(), NodeError> {
    let program = ["/proc/self/exe"].iter().chain(prefix).chain(&["keeper"]);
    let runtime = LinuxRuntime::connect(LinuxConfig {
        state_dir: config.state.clone(),
        run_dir: config.run_dir.clone(),
        cgroup_parent: PathBuf::from(config.cgroup_parent.as_deref().unwrap_or(CGROUP_PARENT)),
        keeper_command: program.map(OsString::from).collect(),
        lan_interface: config.lan_interface.clone(),
        without: config.without.clone(),
    })
    .await?;
    let runtime = Arc::new(runtime);
    let layers = runtime.clone();
    let layer_dir = Arc::new(move |id: AllocationId| layers.instance_dir(id).join("upper"));
    let mut features = linux::probe(&config.state, &config.without);
    features.push(linux::lan_feature(config.lan_interface.as_deref()));
    features.extend(firewall::features().await);
    agent::run(config, Parts { runtime, features, layer_dir }).await?;
    Ok(())
}

/// The program that holds the containers of a node.
pub(crate) fn keeper(arguments: Vec<OsString>) -> ExitCode {
    linux::keeper_main(arguments.into_iter())
}
