//! The processes that agents run in containers, from the keeper's side.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use roost_types::stream::Resize;
use roost_types::{ExitStatus, FileRequest, Timestamp};
use rustix::fs::Mode;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags};

use super::child::Report;
use super::command::Workdir;
use super::container::{Container, Tools};
use super::exec::{self, Io, Job, Work};
use super::keeper::ConnectionId;
use super::plan::Profile;
use super::sys;
use super::wire::{self, Context, Failure};
use crate::runtime::ContainerState;

/// Who asked: the connection and the number of the request.
pub type Owner = (ConnectionId, u64);

/// Something happened to a process.
pub enum Progress {
    /// Nothing that anybody waits for.
    Waiting,
    /// It was executed; these are its pipes or its terminal.
    Started {
        /// Who asked.
        owner: Owner,
        /// The agent's ends.
        fds: Vec<OwnedFd>,
    },
    /// It could not be executed.
    Failed {
        /// Who asked.
        owner: Owner,
        /// Why.
        failure: Failure,
    },
    /// It ended.
    Ended {
        /// Whose it was.
        connection: ConnectionId,
        /// How.
        exit: ExitStatus,
    },
}

/// What a process is to do.
pub enum Task {
    /// Run a command.
    Command {
        /// Command and arguments.
        command: Vec<String>,
        /// Added to the container's environment.
        env: Vec<String>,
        /// Size of its terminal.
        tty: Option<Resize>,
        /// Whom it runs as; as whom the container's own command does when absent.
        user: Option<String>,
        /// Where it begins; where the container's own command does when absent.
        workdir: Option<String>,
    },
    /// Do something with files.
    Files(FileRequest),
}

struct Exec {
    owner: Owner,
    /// Open until the process is executed or failed.
    channel: Option<OwnedFd>,
    pid: Option<i32>,
    /// Handle on the process `pid`.
    pidfd: Option<OwnedFd>,
    /// The agent's ends, until they are handed over.
    fds: Vec<OwnedFd>,
    failure: Option<Failure>,
    /// The agent went away before there was a process.
    unwanted: bool,
}

/// All of them.
#[derive(Default)]
pub struct Execs {
    all: BTreeMap<u64, Exec>,
    last: u64,
    /// Processes that are about to end and whose status nobody wants. They must be reaped all the same: a zombie keeps
    /// its container's first process from ending.
    dying: Vec<i32>,
}

impl Execs {
    /// Begins one.
    ///
    /// # Errors
    /// [`Failure::NotRunning`], or the step that failed.
    pub fn begin(&mut self, container: &Container, tools: &Tools, owner: Owner, task: &Task) -> Result<(), Failure> {
        let running = container.running.as_ref().ok_or(Failure::NotRunning)?;
        let ContainerState::Running { pid: init, .. } = container.saved.phase else { return Err(Failure::NotRunning) };
        let (io, fds) = match task {
            Task::Command { tty: Some(size), .. } => (Io::Terminal(*size), Vec::new()),
            Task::Command { tty: None, .. } | Task::Files(_) => pipes()?,
        };
        let environment;
        let work = match task {
            Task::Command { command, env, tty: _, user, workdir } => {
                environment = joined(env, &container.saved.environment);
                let user = user.as_ref().unwrap_or(&container.saved.user);
                let own = Workdir::Made(&container.saved.workdir);
                let workdir = workdir.as_deref().map_or(own, Workdir::There);
                Work::Command { command, environment: &environment, user, workdir }
            }
            Task::Files(request) => Work::Files(request),
        };
        let profile = if container.saved.system { Profile::System } else { Profile::App };
        let begun = exec::begin(Job {
            target: &running.pidfd,
            entry: tools.cgroups.entry(&container.id().to_string(), init)?,
            profile,
            program: tools.programs.of(profile),
            work,
            io,
        })?;
        self.dying.push(begun.guide);
        self.last += 1;
        self.all.insert(
            self.last,
            Exec { owner, channel: Some(begun.channel), pid: None, pidfd: None, fds, failure: None, unwanted: false },
        );
        Ok(())
    }

    /// Reaps what has ended of guides and failed processes; whether some have not yet.
    pub fn reap_dying(&mut self) -> bool {
        self.dying.retain(|pid| sys::reap(*pid).is_none());
        !self.dying.is_empty()
    }

    /// What to wait for, per exec.
    pub fn watched(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        self.all
            .iter()
            .filter_map(|(&number, exec)| exec.channel.as_ref().or(exec.pidfd.as_ref()).map(|fd| (number, fd.as_fd())))
    }

    /// One of them became readable.
    pub fn advance(&mut self, number: u64) -> Progress {
        let Some(exec) = self.all.get_mut(&number) else { return Progress::Waiting };
        let progress = if exec.channel.is_some() { exec.hear() } else { exec.note_exit() };
        if matches!(progress, Progress::Failed { .. } | Progress::Ended { .. })
            && let Some(exec) = self.all.remove(&number)
            && matches!(progress, Progress::Failed { .. })
        {
            self.dying.extend(exec.pid);
        }
        progress
    }

    /// Sends a signal to a process and its group.
    ///
    /// # Errors
    /// [`Failure::NotRunning`] when there is no such process of this connection (any more).
    pub fn signal(&self, connection: ConnectionId, number: u64, signal: i32) -> Result<(), Failure> {
        let exec = self.all.get(&number).filter(|exec| exec.owner.0 == connection).ok_or(Failure::NotRunning)?;
        exec.send(signal).ok_or(Failure::NotRunning)?.step(|| format!("send signal {signal}"))
    }

    /// Kills everything that a connection started.
    pub fn kill_of(&mut self, connection: ConnectionId) {
        for exec in self.all.values_mut().filter(|exec| exec.owner.0 == connection) {
            exec.unwanted = true;
            exec.fds.clear();
            let _ = exec.send(libc::SIGKILL);
        }
    }
}

impl Exec {
    /// Reads the channel: a report, or its end, which is the execution.
    fn hear(&mut self) -> Progress {
        let Some(channel) = &self.channel else { return Progress::Waiting };
        match wire::receive::<Report>(channel, &mut [0; wire::MAX_REPORT]) {
            Ok(Some((Report::Forked { pid }, _))) => {
                self.adopt_process(pid);
                Progress::Waiting
            }
            Ok(Some((Report::Terminal, fds))) => {
                self.fds = fds;
                Progress::Waiting
            }
            Ok(Some((Report::Failed(failure), _))) => {
                self.failure = Some(failure);
                Progress::Waiting
            }
            Ok(None) | Err(_) => self.channel_closed(),
        }
    }

    fn adopt_process(&mut self, pid: i32) {
        // It is our child and not reaped yet, so the number is still its own.
        self.pid = Some(pid);
        self.pidfd = Pid::from_raw(pid).and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        if self.unwanted {
            let _ = self.send(libc::SIGKILL);
        }
    }

    /// Sends a signal to the process and those it started that are still of its group, as a terminal does: a shell does
    /// not pass on what it is sent. None while there is no process.
    fn send(&self, signal: i32) -> Option<std::io::Result<()>> {
        let (pid, pidfd) = (self.pid?, self.pidfd.as_ref()?);
        // It is not reaped yet, so no other group can have its number; before it leads one there is none.
        match sys::kill(-pid, signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                Some(sys::pidfd_send_signal(pidfd.as_fd(), signal))
            }
            sent => Some(sent),
        }
    }

    fn channel_closed(&mut self) -> Progress {
        self.channel = None;
        let failure = self.failure.take().or_else(|| self.pidfd.is_none().then_some(Failure::NotRunning));
        match failure {
            Some(failure) => Progress::Failed { owner: self.owner, failure },
            None => Progress::Started { owner: self.owner, fds: std::mem::take(&mut self.fds) },
        }
    }

    fn note_exit(&mut self) -> Progress {
        let Some((_, status)) = self.pid.and_then(sys::reap) else { return Progress::Waiting };
        let exit = ExitStatus { code: sys::exit_code(status), oom_killed: false, at: Timestamp(sys::unix_ms()) };
        Progress::Ended { connection: self.owner.0, exit }
    }
}

/// The process's ends and the agent's.
fn pipes() -> Result<(Io, Vec<OwnedFd>), Failure> {
    // Like the pipes of a container's own output: a user inside can open what it was given, `/dev/stdout` for one.
    let make = || {
        let ends = pipe_with(PipeFlags::CLOEXEC).step(|| "make a pipe")?;
        rustix::fs::fchmod(&ends.0, Mode::from_raw_mode(0o666)).step(|| "open a pipe to the container's users")?;
        Ok::<_, Failure>(ends)
    };
    let (input, write_input) = make()?;
    let (read_output, output) = make()?;
    let (read_error, error) = make()?;
    Ok((Io::Pipes([input, output, error]), vec![write_input, read_output, read_error]))
}

/// What the user adds comes first: the first entry of a name wins in every libc.
fn joined(added: &[String], own: &[String]) -> Vec<String> {
    added.iter().chain(own.iter().filter(|have| !overridden(have, added))).cloned().collect()
}

fn overridden(have: &str, env: &[String]) -> bool {
    let name = have.split('=').next().unwrap_or(have);
    env.iter().any(|added| added.split('=').next() == Some(name))
}
