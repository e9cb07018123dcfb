//! The processes that agents run in containers, from the keeper's side.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use roost_types::stream::Resize;
use roost_types::{ExitStatus, Timestamp};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags};

use super::child::Report;
use super::container::{Container, Tools};
use super::exec::{self, Io, Job};
use super::keeper::ConnectionId;
use super::plan::Profile;
use super::sys;
use super::wire::{self, Context, Failure};

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

struct Exec {
    owner: Owner,
    /// Open until the process is executed or failed.
    channel: Option<OwnedFd>,
    guide: Option<i32>,
    process: Option<(i32, OwnedFd)>,
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
}

impl Execs {
    /// Begins one.
    ///
    /// # Errors
    /// [`Failure::NotRunning`], or the step that failed.
    pub fn begin(
        &mut self,
        container: &Container,
        tools: &Tools,
        owner: Owner,
        command: &[String],
        mut env: Vec<String>,
        tty: Option<Resize>,
    ) -> Result<(), Failure> {
        let running = container.running.as_ref().ok_or(Failure::NotRunning)?;
        let (io, fds) = match tty {
            Some(size) => (Io::Terminal(size), Vec::new()),
            None => pipes()?,
        };
        // What the user adds comes first: the first entry of a name wins in every libc.
        env.extend(
            container.saved.environment.iter().filter(|have| !overridden(have, &env)).cloned().collect::<Vec<_>>(),
        );
        let profile = if container.saved.system { Profile::System } else { Profile::App };
        let begun = exec::begin(Job {
            target: &running.pidfd,
            entry: tools.cgroups.entry(&container.id().to_string())?,
            profile,
            program: tools.programs.of(profile),
            command,
            environment: &env,
            io,
        })?;
        self.last += 1;
        self.all.insert(
            self.last,
            Exec {
                owner,
                channel: Some(begun.channel),
                guide: Some(begun.guide),
                process: None,
                fds,
                failure: None,
                unwanted: false,
            },
        );
        Ok(())
    }

    /// What to wait for, per exec.
    pub fn watched(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        self.all.iter().filter_map(|(&number, exec)| {
            let process = exec.process.as_ref().map(|(_, pidfd)| pidfd.as_fd());
            exec.channel.as_ref().map(AsFd::as_fd).or(process).map(|fd| (number, fd))
        })
    }

    /// One of them became readable.
    pub fn advance(&mut self, number: u64) -> Progress {
        let Some(exec) = self.all.get_mut(&number) else { return Progress::Waiting };
        let progress = if exec.channel.is_some() { exec.hear() } else { exec.note_exit() };
        if matches!(progress, Progress::Failed { .. } | Progress::Ended { .. }) {
            self.all.remove(&number);
        }
        progress
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// [`Failure::NotRunning`] when there is no such process of this connection (any more).
    pub fn signal(&self, connection: ConnectionId, number: u64, signal: i32) -> Result<(), Failure> {
        let exec = self.all.get(&number).filter(|exec| exec.owner.0 == connection).ok_or(Failure::NotRunning)?;
        let (_, pidfd) = exec.process.as_ref().ok_or(Failure::NotRunning)?;
        sys::pidfd_send_signal(pidfd.as_fd(), signal).step(|| format!("send signal {signal}"))
    }

    /// Kills everything that a connection started.
    pub fn kill_of(&mut self, connection: ConnectionId) {
        for exec in self.all.values_mut().filter(|exec| exec.owner.0 == connection) {
            exec.unwanted = true;
            exec.fds.clear();
            if let Some((_, pidfd)) = &exec.process {
                let _ = sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
            }
        }
    }
}

impl Exec {
    /// Reads the channel: a report, or its end, which is the execution.
    fn hear(&mut self) -> Progress {
        let Some(channel) = &self.channel else { return Progress::Waiting };
        match wire::receive::<Report>(channel, &mut Vec::new()) {
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
        let pidfd = Pid::from_raw(pid).and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        self.process = pidfd.map(|pidfd| (pid, pidfd));
        if let (true, Some((_, pidfd))) = (self.unwanted, &self.process) {
            let _ = sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        }
    }

    fn channel_closed(&mut self) -> Progress {
        self.channel = None;
        if let Some(guide) = self.guide.take() {
            let _ = sys::reap(guide);
        }
        let failure = self.failure.take().or_else(|| self.process.is_none().then_some(Failure::NotRunning));
        match failure {
            Some(failure) => {
                if let Some((pid, _)) = &self.process {
                    let _ = sys::reap(*pid);
                }
                Progress::Failed { owner: self.owner, failure }
            }
            None => Progress::Started { owner: self.owner, fds: std::mem::take(&mut self.fds) },
        }
    }

    fn note_exit(&mut self) -> Progress {
        let Some((pid, _)) = &self.process else { return Progress::Waiting };
        let Some((_, status)) = sys::reap(*pid) else { return Progress::Waiting };
        let exit = ExitStatus { code: sys::exit_code(status), oom_killed: false, at: Timestamp(sys::unix_ms()) };
        Progress::Ended { connection: self.owner.0, exit }
    }
}

/// The process's ends and the agent's.
fn pipes() -> Result<(Io, Vec<OwnedFd>), Failure> {
    let make = || pipe_with(PipeFlags::CLOEXEC).step(|| "make a pipe");
    let (input, write_input) = make()?;
    let (read_output, output) = make()?;
    let (read_error, error) = make()?;
    Ok((Io::Pipes([input, output, error]), vec![write_input, read_output, read_error]))
}

fn overridden(have: &str, env: &[String]) -> bool {
    let name = have.split('=').next().unwrap_or(have);
    env.iter().any(|added| added.split('=').next() == Some(name))
}
