//! A part that is kept running: started, watched, started again when it ends unasked, ended when told.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::CliError;

/// How long a part may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// Pause before the first new start; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between starts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A part that ran this long starts again without a longer pause.
const PROVEN: Duration = Duration::from_secs(30);

/// What to start: flags for `roost dev-child` and the command. Made anew for each start.
pub type Recipe = Box<dyn Fn() -> Vec<OsString> + Send>;

/// A running part.
#[derive(Debug)]
pub struct Part {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Part {
    /// Starts a part and keeps it running.
    ///
    /// # Errors
    /// When the first start fails.
    pub fn start(name: String, log: PathBuf, recipe: Recipe) -> Result<Self, CliError> {
        let child = spawn(&log, recipe(), Stdio::null())?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(keep(name, log, recipe, child, stopped));
        Ok(Self { stop, task })
    }

    /// Ends it: SIGTERM, and SIGKILL when it takes too long.
    pub async fn end(self) {
        // Nobody listens when the part's task is over already.
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

async fn keep(name: String, log: PathBuf, recipe: Recipe, mut child: Child, mut stopped: watch::Receiver<bool>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = tokio::time::Instant::now();
        let status = tokio::select! {
            status = child.wait() => status,
            _ = stopped.changed() => return end(child).await,
        };
        let how = status.map_or_else(|e| e.to_string(), |s| s.to_string());
        eprintln!("{name} ended unasked ({how}); starting it again, see {}", log.display());
        pause = if started.elapsed() > PROVEN { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        child = loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopped.changed() => return,
            }
            match spawn(&log, recipe(), Stdio::null()) {
                Ok(child) => break child,
                Err(error) => eprintln!("{name}: {error}"),
            }
        };
    }
}

/// Ends a process: SIGTERM, and SIGKILL when it takes too long.
pub async fn end(mut child: Child) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
        // One that is gone already is what is wanted.
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// Starts `roost dev-child` with these words. Must run on the supervisor's main thread: the child dies with its thread.
///
/// # Errors
/// When the log cannot be opened or the process not started.
pub fn spawn(log: &Path, words: Vec<OsString>, stdin: Stdio) -> Result<Child, CliError> {
    let out = open_log(log)?;
    start(log, words, stdin, out.into())
}

/// Starts a part as [`spawn`] does, which is talked to and says things itself: its standard input and output are pipes.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_talking(log: &Path, words: Vec<OsString>) -> Result<Child, CliError> {
    start(log, words, Stdio::piped(), Stdio::piped())
}

/// A part's log, to append to.
///
/// # Errors
/// When it cannot be opened.
pub fn open_log(log: &Path) -> Result<File, CliError> {
    let file = OpenOptions::new().create(true).append(true).open(log);
    file.map_err(|e| CliError::step(format!("opening the log {}", log.display()), e))
}

fn start(log: &Path, words: Vec<OsString>, stdin: Stdio, out: Stdio) -> Result<Child, CliError> {
    let failed = |e: std::io::Error| CliError::step(format!("starting a part with log {}", log.display()), e);
    let err = open_log(log)?;
    Command::new(own_program())
        .args(["dev-child", "--parent"])
        .arg(std::process::id().to_string())
        .args(words)
        .stdin(stdin)
        .stdout(out)
        .stderr(err)
        // Ctrl-C on the terminal is for the supervisor, which ends its parts in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)
}

/// Runs a program that reads `input` and ends.
///
/// # Errors
/// What it complained of, or why it could not be run.
pub async fn feed(command: &mut Command, input: &str) -> Result<(), String> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(|e| e.to_string())?;
    }
    let output = child.wait_with_output().await.map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// This program, also when its file was replaced meanwhile.
pub fn own_program() -> &'static Path {
    Path::new("/proc/self/exe")
}
