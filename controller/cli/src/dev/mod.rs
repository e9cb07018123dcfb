//! `roost dev`: a rack in a box.
//!
//! One supervisor process makes a bridge (the rack's LAN), a network namespace and a cgroup subtree per board, and runs this
//! same program as the controller and as the agent of every board, and the real firmware in a simulated Arduino. Everything
//! it starts dies with it, except containers and their keepers: those are adopted by the next start with the same state.
//!
//! | file | what it does |
//! |---|---|
//! | `supervisor` | the order of a start and of an end |
//! | `layout` | every name, path and address of a rack |
//! | `tools` | what the machine must have |
//! | `files` | secrets and configuration of the parts |
//! | `network`, `cgroup` | the boards' networks and limits |
//! | `nat`, `forwarding`, `resolver` | the way out: packets and names |
//! | `boards` | power, agents and adoption |
//! | `child`, `process` | how a part is started, watched and ended |
//! | `firmware`, `hub`, `relay` | the Arduino: built, simulated, plugged in |
//! | `air`, `heat` | the air of the shelves, and what feels it |
//! | `ports` | published ports on 127.0.0.1 |
//! | `control` | the socket for `roost dev heat` and its like |
//! | `clean` | taking everything away |

mod boards;
mod cgroup;
pub mod child;
mod clean;
mod control;
mod files;
pub mod firmware;
mod forwarding;
mod heat;
mod hub;
mod layout;
mod nat;
mod network;
mod ports;
mod power;
mod process;
mod relay;
mod resolver;
mod supervisor;
mod tools;
mod wires;

use std::process::ExitCode;

use crate::args::DevStart;
use crate::error::CliError;

/// Runs a rack until a signal, or removes what one left.
///
/// # Errors
/// What went wrong, with the step.
pub async fn run(start: DevStart) -> Result<ExitCode, CliError> {
    if !rustix::process::geteuid().is_root() {
        return Err(CliError::Failed("`roost dev` needs root: it makes network namespaces, mounts and cgroups".into()));
    }
    if start.clean {
        clean::everything(start).await?;
    } else {
        supervisor::run(start).await?;
    }
    Ok(ExitCode::SUCCESS)
}
