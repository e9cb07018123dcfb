//! `roost dev-child`: what a started part does before it becomes that part. It ties its life to the supervisor's, enters the
//! board's cgroup and namespaces, and executes the program.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use super::cgroup::Hierarchies;
use crate::error::CliError;

/// Starts a part of a rack in a box.
#[derive(Parser, Debug)]
struct ChildArgs {
    /// Process id of the supervisor: it may have died before we could tie our life to it.
    #[arg(long)]
    parent: u32,
    /// Cgroup to enter, below each hierarchy's root.
    #[arg(long)]
    cgroup: Option<String>,
    /// Network namespace to enter.
    #[arg(long)]
    netns: Option<PathBuf>,
    /// Mount namespace to enter; a board has one of its own, so that its mounts go with its last process.
    #[arg(long)]
    mountns: Option<PathBuf>,
    /// Make a new mount namespace.
    #[arg(long, conflicts_with = "mountns")]
    private_mounts: bool,
    /// Program and arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the subcommand.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let args = ChildArgs::parse_from(std::iter::once("roost dev-child".into()).chain(words));
    let Err(error) = become_part(&args);
    eprintln!("roost dev-child: {error}");
    ExitCode::from(126)
}

fn become_part(args: &ChildArgs) -> Result<Infallible, CliError> {
    set_pdeathsig(Signal::SIGKILL).map_err(|e| CliError::step("asking to die with the supervisor", e))?;
    if nix::unistd::getppid().as_raw().cast_unsigned() != args.parent {
        return Err(CliError::Failed("the supervisor is gone".into()));
    }
    if let Some(cgroup) = &args.cgroup {
        Hierarchies::find()?.enter(cgroup)?;
    }
    if let Some(path) = &args.netns {
        enter(path, CloneFlags::CLONE_NEWNET)?;
    }
    if let Some(path) = &args.mountns {
        enter(path, CloneFlags::CLONE_NEWNS)?;
    }
    if args.private_mounts {
        let failed = |e| CliError::step("making a mount namespace", e);
        unshare(CloneFlags::CLONE_NEWNS).map_err(failed)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>).map_err(failed)?;
    }
    let (program, words) = args.command.split_first().ok_or_else(|| CliError::Usage("no program".into()))?;
    let error = Command::new(program).args(words).exec();
    Err(CliError::step(format!("executing {}", Path::new(program).display()), error))
}

fn enter(path: &Path, kind: CloneFlags) -> Result<(), CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::step(format!("entering namespace {}", path.display()), e);
    let file = File::open(path).map_err(|e| failed(&e))?;
    setns(file, kind).map_err(|e| failed(&e))
}
