//! `exec`: another process in a container, with the caller's input and output.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use roost_agent::runtime::{ExecPlan, ExecSession, Runtime, RuntimeError};
use roost_types::stream::Resize;

use crate::cli::Exec;
use crate::config::{self, Process};
use crate::node::Node;
use crate::record::{Record, Status};
use crate::terminal;
use crate::wanted;

/// Runs the process and waits for it unless detached; its code.
///
/// # Errors
/// It cannot be run.
pub async fn run(node: &Node, options: &Exec) -> Result<ExitCode> {
    if options.detach && !options.detached {
        return detach();
    }
    let record = Record::read(node, &options.id)?;
    let plan = plan(options)?;
    let runtime = node.runtime().await?;
    let (status, _) = record.status(&runtime).await?;
    match status {
        Status::Created | Status::Running => {}
        Status::Paused => bail!("cannot exec in a paused container"),
        Status::Stopped => bail!("cannot exec in a stopped container"),
    }
    let session = match runtime.exec(record.allocation, &plan).await {
        Ok(session) => session,
        Err(RuntimeError::Command { code, message }) => {
            eprintln!("Error: {message}");
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)));
        }
        Err(error) => return Err(error).context("exec"),
    };
    if options.detached {
        say_that_it_runs()?;
    }
    let code = attend(session, options).await?;
    Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX)))
}

/// What is to be run.
fn plan(options: &Exec) -> Result<ExecPlan> {
    let process: Process = match &options.process {
        Some(path) => config::read(path)?,
        None => Process {
            args: options.command.clone(),
            cwd: options.cwd.clone().unwrap_or_default(),
            terminal: options.tty,
            ..Process::default()
        },
    };
    wanted::check_process(&process)?;
    ensure!(!process.args.is_empty(), "exec: no command");
    let tty = process.terminal.then_some(Resize { cols: 80, rows: 24 });
    ensure!(tty.is_some() == options.console_socket.is_some(), "a terminal and --console-socket go together");
    // A process that a file describes has a user, be it root; one of the command line is whoever the container is.
    let user = match (&options.user, &options.process) {
        (Some(user), _) => Some(user.clone()),
        (None, Some(_)) => Some(format!("{}:{}", process.user.uid, process.user.gid)),
        (None, None) => None,
    };
    let workdir = (!process.cwd.is_empty()).then_some(process.cwd);
    let env = process.env.into_iter().chain(options.env.iter().cloned()).collect();
    Ok(ExecPlan { command: process.args, env, tty, user, workdir })
}

/// Runs this program again, with the same arguments and as a process of its own; returns when the process in the
/// container runs.
fn detach() -> Result<ExitCode> {
    let (mut said, says) = io::pipe().context("make a pipe")?;
    let mut again = Command::new("/proc/self/exe");
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let verb = arguments.iter().position(|argument| argument == "exec").context("there is an exec")?;
    again.args(&arguments[..=verb]).arg("--detached").args(&arguments[verb + 1..]);
    let child = again.stdin(Stdio::from(OwnedFd::from(says))).process_group(0).spawn();
    let mut child = child.context("start the one who waits")?;
    drop(again);
    let mut text = String::new();
    said.read_to_string(&mut text).context("hear that the process runs")?;
    if text == RUNS {
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait().context("wait for the one who waits")?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// What a detached exec says.
const RUNS: &str = "runs";

fn say_that_it_runs() -> Result<()> {
    let input = io::stdin().as_fd().try_clone_to_owned().context("take over the pipe")?;
    File::from(input).write_all(RUNS.as_bytes()).context("say that the process runs")?;
    // Its end is what the caller waits for.
    let null = File::open("/dev/null").context("open /dev/null")?;
    nix::unistd::dup2_stdin(null).context("let go of the pipe")
}

async fn attend(session: ExecSession, options: &Exec) -> Result<i32> {
    let ExecSession { stdin, stdout, stderr, control, exit } = session;
    if let Some(socket) = &options.console_socket {
        terminal::hand_over(stdin.as_fd(), socket)?;
        drop((stdin, stdout));
        let exit = exit.await.context("wait for the process")?;
        drop(control);
        return Ok(exit.code);
    }
    std::thread::spawn(move || copy(io::stdin(), File::from(stdin)));
    let out = tokio::task::spawn_blocking(move || copy(File::from(stdout), io::stdout()));
    let err = stderr.map(|err| tokio::task::spawn_blocking(move || copy(File::from(err), io::stderr())));
    let exit = exit.await.context("wait for the process")?;
    drop(control);
    out.await.context("hand on the output")?;
    if let Some(err) = err {
        err.await.context("hand on the errors")?;
    }
    Ok(exit.code)
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..got]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
