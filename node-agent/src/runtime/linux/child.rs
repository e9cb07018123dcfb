//! The life of a container's first process from `clone3` to `execve`.
//!
//! Everything here runs in the new process, a copy of the single-threaded keeper. The keeper works meanwhile on what
//! only it may do (id maps, network cable, root), sends the root, and then waits for the channel to close, which
//! `execve` does; a [`Report::Failed`] before that is the step that failed.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::DumpableBehavior;
use serde::{Deserialize, Serialize};

use super::cgroup::Entry;
use super::command::{Command, Workdir};
use super::facilities::Facilities;
use super::netlink::Netlink;
use super::overlay::{self, Layers, Root, Stage};
use super::plan::{Plan, Profile};
use super::seccomp::{self, Program};
use super::wire::{self, Context, Failure};
use super::{caps, init, mounts, sys, terminal};

/// The most files a container's process may have open at once.
const MAX_FILES: u64 = 524_288;
/// The kernel's out-of-memory killer takes a container's process before one of the board's own.
const OOM_SCORE_ADJ: &str = "300";

/// From a new process to the keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// An exec has its process, with this host pid.
    Forked {
        /// Host pid.
        pid: i32,
    },
    /// An exec has its terminal, or a container its console, which is beside this message.
    Terminal,
    /// A step failed; the process ends.
    Failed(Failure),
}

/// From the keeper to a container's first process: its `/dev` and its root, or the two layers of one, are beside this
/// message, the rest is ready too.
#[derive(Debug, Serialize, Deserialize)]
pub struct Go {}

/// What the process needs from the keeper it was copied from.
pub struct Inheritance<'a> {
    /// What to become.
    pub plan: &'a Plan,
    /// Filter of its profile.
    pub program: &'a Program,
    /// The init program of `app` containers, and its filter.
    pub init: (&'a OwnedFd, &'a Program),
    /// Its end of the channel.
    pub channel: OwnedFd,
    /// Groups to join.
    pub entry: Entry,
    /// Standard output and error.
    pub output: [OwnedFd; 2],
    /// Where to put the root together.
    pub stage: &'a Stage,
    /// What the kernel has.
    pub facilities: &'a Facilities,
}

/// Becomes the container's first process. Never returns.
pub fn run(inheritance: Inheritance<'_>) -> ! {
    let failure = match become_container(&inheritance) {
        Ok(()) => match inheritance.plan.profile {
            Profile::App => start_under_init(&inheritance),
            Profile::System => start_as_init(&inheritance),
        },
        Err(failure) => failure,
    };
    give_up(&inheritance.channel, failure)
}

/// Tells the keeper and ends.
pub fn give_up(channel: &OwnedFd, failure: Failure) -> ! {
    let code = if let Failure::Command { code, .. } = failure { code } else { 125 };
    let _ = wire::send(channel, &Report::Failed(failure), &[]);
    sys::exit_now(code)
}

fn become_container(own: &Inheritance<'_>) -> Result<(), Failure> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).step(|| "become non-dumpable")?;
    join(&own.entry)?;
    nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP).step(|| "make a cgroup namespace")?;
    fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ).step(|| "write /proc/self/oom_score_adj")?;
    let Parts { dev, root } = receive_parts(&own.channel)?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .step(|| "make the mounts private")?;
    // Before the ids change: the stage lies in a directory that only the board's root may enter.
    own.stage.enter()?;
    become_root()?;
    let root = match root {
        Root::Layers(layers) => overlay::assemble(&layers, own.plan.profile)?,
        Root::Whole(root) => overlay::take_over(root)?,
    };
    nix::unistd::sethostname(&own.plan.host_name).step(|| format!("set the host name {}", own.plan.host_name))?;
    Netlink::open()?.configure_inside(own.plan)?;
    mounts::furnish(root.as_fd(), dev.as_fd(), own.plan, own.facilities)?;
    drop(dev);
    let console = match own.plan.profile {
        Profile::App => None,
        Profile::System => Some(terminal::make_console(root.as_fd(), &own.channel)?),
    };
    rustix::process::fchdir(&root).step(|| "enter the root")?;
    rustix::process::pivot_root(".", ".").step(|| "make the root the root")?;
    unmount(".", UnmountFlags::DETACH).step(|| "let go of the old root")?;
    rustix::process::chdir("/").step(|| "go to /")?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let null = null.step(|| "open /dev/null")?;
    let [input, output, error] = match &console {
        Some(console) => [console, console, console],
        None => [&null, &own.output[0], &own.output[1]],
    };
    sys::dup_onto(input, 0).step(|| "set standard input")?;
    sys::dup_onto(output, 1).step(|| "set standard output")?;
    sys::dup_onto(error, 2).step(|| "set standard error")
}

/// Puts the calling process into a container's groups.
///
/// # Errors
/// The group that could not be joined.
pub fn join(entry: &Entry) -> Result<(), Failure> {
    for (file, path) in &entry.join {
        rustix::io::write(file, b"0").step(|| format!("join {}", path.display()))?;
    }
    Ok(())
}

/// What the keeper made for the container's root.
struct Parts {
    dev: OwnedFd,
    root: Root,
}

fn receive_parts(channel: &OwnedFd) -> Result<Parts, Failure> {
    let message = wire::receive::<Go>(channel, &mut [0; wire::MAX_REPORT]).step(|| "wait for the layers")?;
    let mut fds = message.map(|(Go {}, fds)| fds).unwrap_or_default().into_iter();
    match (fds.next(), fds.next(), fds.next()) {
        (Some(dev), Some(lower), Some(writable)) => Ok(Parts { dev, root: Root::Layers(Layers { lower, writable }) }),
        (Some(dev), Some(root), None) => Ok(Parts { dev, root: Root::Whole(root) }),
        _ => Err(Failure::NotRunning),
    }
}

/// Takes the ids of the container's root.
///
/// # Errors
/// The step that failed.
pub fn become_root() -> Result<(), Failure> {
    use nix::unistd::{Gid, Uid};
    nix::unistd::setgroups(&[]).step(|| "drop the groups")?;
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    nix::unistd::setresgid(group, group, group).step(|| "take the group id")?;
    nix::unistd::setresuid(user, user, user).step(|| "take the user id")
}

fn start_as_init(own: &Inheritance<'_>) -> Failure {
    command(own).execute()
}

/// What the plan says is to be run.
fn command<'a>(own: &'a Inheritance<'_>) -> Command<'a> {
    Command {
        profile: own.plan.profile,
        program: own.program,
        words: &own.plan.command,
        environment: &own.plan.environment,
        user: &own.plan.user,
        workdir: Workdir::Made(&own.plan.workdir),
    }
}

fn start_under_init(own: &Inheritance<'_>) -> Failure {
    sys::block_all_signals();
    match sys::clone3(0, None) {
        Ok(sys::Cloned::Child) => {
            if let Err(error) = nix::unistd::setsid() {
                return Failure::step("start a session", &error.into());
            }
            command(own).execute()
        }
        Ok(sys::Cloned::Parent { pid, pidfd: _ }) => init::become_init(pid, own.init.0, own.init.1),
        Err(error) => Failure::step("fork the command", &error),
    }
}

/// Gives up every privilege that the profile does not have.
///
/// # Errors
/// The step that failed.
pub fn restrict(profile: Profile, program: &Program) -> Result<(), Failure> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    limit(Resource::RLIMIT_CORE, 0, 0)?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).step(|| "read the limit of open files")?;
    limit(Resource::RLIMIT_NOFILE, hard.min(1024), hard.min(MAX_FILES))?;
    sys::close_on_exec_from(3).step(|| "close inherited files")?;
    sys::reset_signals();
    match profile {
        Profile::App => {
            caps::restrict(profile)?;
            rustix::thread::set_no_new_privs(true).step(|| "set no_new_privs")?;
            sys::seccomp_install(program).step(|| "install the system call filter")
        }
        // A filter without no_new_privs needs a capability that is given up afterwards.
        Profile::System => {
            sys::seccomp_install(program).step(|| "install the system call filter")?;
            caps::restrict(profile)
        }
    }
}

fn limit(resource: Resource, soft: u64, hard: u64) -> Result<(), Failure> {
    setrlimit(resource, soft, hard).step(|| format!("limit {resource:?} to {hard}"))
}

/// Writes a note where an operator of the board finds it: the keeper's standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "keeper: {text}");
}

/// The filters, compiled once.
pub struct Programs {
    app: Program,
    system: Program,
    init: Program,
}

impl Programs {
    /// Compiles all.
    #[must_use]
    pub fn new() -> Self {
        Self {
            app: seccomp::compile(Profile::App),
            system: seccomp::compile(Profile::System),
            init: seccomp::compile_init(),
        }
    }

    /// The filter of a profile.
    #[must_use]
    pub const fn of(&self, profile: Profile) -> &Program {
        match profile {
            Profile::App => &self.app,
            Profile::System => &self.system,
        }
    }

    /// The filter of the init program of `app` containers.
    #[must_use]
    pub const fn of_init(&self) -> &Program {
        &self.init
    }
}

impl Default for Programs {
    fn default() -> Self {
        Self::new()
    }
}
