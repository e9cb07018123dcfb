//! Running another process inside a running container, with the container's own privileges and no more.
//!
//! ```text
//! keeper ─ clone3 ─▶ guide: joins the cgroups and namespaces, clone3(CLONE_PARENT), ends
//!    └──────────────▶ process: a child of the keeper, inside; execve closes the channel, or it does when it works on files
//! ```
//! Nothing here waits for the container: what it mounted or replaced can delay only the process itself.

use std::os::fd::{AsFd, OwnedFd};

use nix::sched::CloneFlags;
use roost_types::FileRequest;
use roost_types::stream::Resize;
use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;

use super::cgroup::Entry;
use super::child::{self, Report};
use super::command::{Command, Workdir};
use super::files;
use super::plan::Profile;
use super::seccomp::Program;
use super::sys::{self, Cloned};
use super::terminal::{self, Terminal};
use super::wire::{self, Context, Failure};

/// Every namespace of a container.
const ALL: CloneFlags = CloneFlags::CLONE_NEWUSER
    .union(CloneFlags::CLONE_NEWPID)
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWCGROUP);

/// What to run, and where.
pub struct Job<'a> {
    /// The container's first process.
    pub target: &'a OwnedFd,
    /// The container's groups.
    pub entry: Entry,
    /// Its profile.
    pub profile: Profile,
    /// Filter of that profile.
    pub program: &'a Program,
    /// What it does.
    pub work: Work<'a>,
    /// Its standard input, output and error, or a terminal of this size.
    pub io: Io,
}

/// What a process does inside.
pub enum Work<'a> {
    /// Becomes a command.
    Command {
        /// Command and arguments.
        command: &'a [String],
        /// Environment.
        environment: &'a [String],
        /// Whom it runs as; empty for root.
        user: &'a str,
        /// Where it begins.
        workdir: Workdir<'a>,
    },
    /// Does something with files and ends.
    Files(&'a FileRequest),
}

/// Where its input comes from and its output goes.
pub enum Io {
    /// Pipes: the process's ends.
    Pipes([OwnedFd; 3]),
    /// A terminal of the container's own.
    Terminal(Resize),
}

/// What the keeper holds of an exec that has begun.
pub struct Begun {
    /// Closes when the command is executed; carries [`Report`]s before.
    pub channel: OwnedFd,
    /// The guide, to be reaped.
    pub guide: i32,
}

/// Begins to run a process.
///
/// # Errors
/// The step that failed in the keeper.
pub fn begin(job: Job<'_>) -> Result<Begun, Failure> {
    let (ours, theirs) = channel()?;
    let born_in = job.entry.born_in.as_ref().map(AsFd::as_fd);
    match sys::clone3(0, born_in).step(|| "fork the guide")? {
        Cloned::Child => {
            drop(ours);
            guide(&job, theirs)
        }
        Cloned::Parent { pid, pidfd: _ } => Ok(Begun { channel: ours, guide: pid }),
    }
}

/// A pair of connected sockets that keep messages apart.
///
/// # Errors
/// The step that failed.
pub fn channel() -> Result<(OwnedFd, OwnedFd), Failure> {
    rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .step(|| "make a socket pair")
}

fn guide(job: &Job<'_>, channel: OwnedFd) -> ! {
    let entered = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .step(|| "become non-dumpable")
        .and_then(|()| child::join(&job.entry))
        .and_then(|()| nix::sched::setns(job.target, ALL).step(|| "enter the container's namespaces"));
    if let Err(failure) = entered {
        child::give_up(&channel, failure);
    }
    match sys::clone3(libc::CLONE_PARENT, None) {
        Ok(Cloned::Child) => {
            let failure = match prepare(job, &channel) {
                Ok(()) => work(job),
                Err(failure) => failure,
            };
            child::give_up(&channel, failure)
        }
        Ok(Cloned::Parent { pid, pidfd: _ }) => {
            let _ = wire::send(&channel, &Report::Forked { pid }, &[]);
            sys::exit_now(0)
        }
        Err(error) => child::give_up(&channel, Failure::step("fork in the container", &error)),
    }
}

/// Returns only when it could not be begun.
fn work(job: &Job<'_>) -> Failure {
    match job.work {
        Work::Command { command: words, environment, user, workdir } => {
            let (profile, program) = (job.profile, job.program);
            Command { profile, program, words, environment, user, workdir }.execute()
        }
        Work::Files(request) => files::run(job.profile, job.program, request),
    }
}

fn prepare(job: &Job<'_>, channel: &OwnedFd) -> Result<(), Failure> {
    child::become_root()?;
    rustix::process::chdir("/").step(|| "go to /")?;
    nix::unistd::setsid().step(|| "start a session")?;
    match &job.io {
        Io::Pipes(ends) => {
            for (standard, end) in (0..).zip(ends) {
                sys::dup_onto(end, standard).step(|| "set the standard files")?;
            }
        }
        Io::Terminal(size) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::open("/", flags, Mode::empty()).step(|| "open the container's root")?;
            let Terminal { master, own } =
                terminal::open(root.as_fd(), *size).step(|| "open a terminal in the container")?;
            wire::send(channel, &Report::Terminal, &[master.as_fd()]).step(|| "hand over the terminal")?;
            rustix::process::ioctl_tiocsctty(&own).step(|| "take the terminal")?;
            for standard in 0..3 {
                sys::dup_onto(&own, standard).step(|| "set the standard files")?;
            }
        }
    }
    Ok(())
}
