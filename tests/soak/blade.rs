//! Kills a process at a chosen system call, from outside: `strace` stops it there and sends SIGKILL. Nothing in the
//! product knows of it, and every step that anybody could see is one of them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use roost_tests::machine::Process;
use roost_tests::until;

/// The system calls of a process's main thread, in order, while something is done.
pub struct Recorder {
    strace: Child,
    file: std::path::PathBuf,
}

impl Recorder {
    /// Begins to record.
    ///
    /// # Errors
    /// `strace` does not attach.
    pub fn attach(process: &Process, file: &Path) -> Result<Self> {
        let mut command = strace(process);
        let strace = attached(process, command.arg("-o").arg(file))?;
        Ok(Self { strace, file: file.to_owned() })
    }

    /// The names of the calls that were made.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn finish(mut self) -> Result<Vec<String>> {
        detach(&mut self.strace)?;
        let text = fs::read_to_string(&self.file).context("read what strace recorded")?;
        fs::remove_file(&self.file)?;
        let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let names = text.lines().filter_map(|line| line.split('(').next());
        Ok(names.filter(is_name).map(str::to_owned).collect())
    }
}

/// Waits for one of a process's system calls to kill it there.
pub struct Blade {
    strace: Child,
    victim: Process,
}

impl Blade {
    /// Kills `victim` at the call with this place in a recorded sequence: at the same occurrence of the same call.
    ///
    /// # Errors
    /// `strace` does not attach.
    pub fn set(victim: &Process, sequence: &[String], place: usize) -> Result<Self> {
        let call = &sequence[place];
        let when = sequence[..=place].iter().filter(|other| *other == call).count();
        let mut command = strace(victim);
        command.args(["-o", "/dev/null", "-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={call}:signal=SIGKILL:when={when}")]);
        Ok(Self { strace: attached(victim, &mut command)?, victim: victim.clone() })
    }

    /// Whether it has fallen.
    #[must_use]
    pub fn has_fallen(&self) -> bool {
        !self.victim.is_alive()
    }

    /// Takes it away.
    ///
    /// # Errors
    /// `strace` does not end.
    pub fn take_away(mut self) -> Result<()> {
        detach(&mut self.strace)
    }
}

/// `-f` is not given: the main thread is all of a keeper, and all but an agent's file work.
fn strace(process: &Process) -> Command {
    let mut command = Command::new("strace");
    command.args(["-qq", "-p", &process.pid.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn attached(process: &Process, command: &mut Command) -> Result<Child> {
    let mut strace = command.spawn().context("start strace")?;
    let pid = format!("TracerPid:\t{}\n", strace.id());
    until("strace is attached", || {
        ensure!(strace.try_wait()?.is_none() || !process.is_alive(), "strace ended at once");
        Ok((process.file("status").contains(&pid) || !process.is_alive()).then_some(()))
    })?;
    Ok(strace)
}

/// Ends strace, which lets go of what it traces.
fn detach(strace: &mut Child) -> Result<()> {
    if strace.try_wait()?.is_none() {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(strace.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM)?;
    }
    strace.wait().context("wait for strace")?;
    Ok(())
}
