//! `roost-oci`: the command line of an OCI runtime in front of Roost's runtime, for tests only.
//!
//! Conformance suites know one interface: a program with `create`, `start`, `state`, `kill` and `delete`. This one reads
//! `config.json`, turns it into what an agent is told about an instance ([`wanted`]) and drives the agent's library as
//! the agent does. What Roost does not have is refused, never left out in silence.
//!
//! ```text
//! roost-oci create ─▶ monitor (stands for the agent, one per container) ─▶ keeper ─▶ container ─ gate ─▶ its command
//! roost-oci start  ─▶ opens the gate by an exec                           (one per --root)
//! ```
//! Roost starts a container in one step. So that `created` is a real container with its limits and namespaces, its
//! command stands behind a [gate](image) until `start`.

mod cli;
mod config;
mod exec;
mod groups;
mod image;
mod lifecycle;
mod monitor;
mod node;
mod record;
mod report;
mod spec;
mod terminal;
mod wanted;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == node::KEEPER) {
        return node::keeper(arguments);
    }
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
