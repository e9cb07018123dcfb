//! A real node: which container runtime the agent's loop runs over. The one place that knows it.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::config::Config;

/// Why there is nothing to run containers with.
#[derive(Debug, thiserror::Error)]
#[error("this build has no container runtime")]
pub(crate) struct NoRuntime;

/// Runs the agent of this node. `prefix` leads to the agent's subcommands in the running program.
pub(crate) async fn run(_config: Config, _prefix: &[&str]) -> Result<(), NoRuntime> {
    Err(NoRuntime)
}

/// The program that holds the containers of a node.
pub(crate) fn keeper(_arguments: Vec<OsString>) -> ExitCode {
    tracing::error!(error = %NoRuntime, "cannot hold containers");
    ExitCode::FAILURE
}
