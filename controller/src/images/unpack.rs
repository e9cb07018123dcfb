//! Converting an archive in a child process that can do nothing else.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use roost_image_import::child::{Job, Line};
use roost_image_import::{Blame, Report, Stage};
use roost_types::{Code, Problem};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// How long one conversion may take.
const WALL: Duration = Duration::from_secs(600);
/// Bytes that the child may say: a line of progress in 200 ms for ten minutes is less than 1 MiB.
const MAX_SAID: u64 = 4 << 20;

/// Runs a job. `words` come between this program's name and `unpack`.
///
/// # Errors
/// What is wrong with the archive, for its sender; `internal` when the child could not do its work.
pub async fn run(words: &[String], job: &Job, progress: impl FnMut(Stage, u64, u64)) -> Result<Report, Problem> {
    let mut child = start(words, job).await.map_err(|error| {
        tracing::error!(%error, "the unpacking process could not be started");
        Problem::new(Code::Internal, "the unpacking process could not be started; the controller's log has the cause")
    })?;
    let work = async {
        let last = listen(&mut child, progress).await;
        (last, child.wait().await)
    };
    let Ok((last, status)) = tokio::time::timeout(WALL, work).await else {
        let detail = format!("unpacking took more than {} s and was stopped", WALL.as_secs());
        return Err(Problem::new(Code::InvalidImage, detail));
    };
    match last {
        Some(Line::Done(report)) => Ok(report),
        Some(Line::Failed { blame, detail }) => Err(problem(blame, detail)),
        Some(Line::Held(_) | Line::Progress { .. }) | None => Err(ended_silently(status.ok())),
    }
}

/// The program itself, even if its file has been replaced by a newer one meanwhile.
async fn start(words: &[String], job: &Job) -> std::io::Result<Child> {
    let mut child = Command::new("/proc/self/exe")
        .args(words)
        .arg("unpack")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&serde_json::to_vec(job)?).await?;
    }
    Ok(child)
}

/// Reads what the child says until it ends; its last word on the outcome, or nothing it may not say.
async fn listen(child: &mut Child, mut progress: impl FnMut(Stage, u64, u64)) -> Option<Line> {
    let output = child.stdout.take()?;
    let mut lines = BufReader::new(output.take(MAX_SAID)).lines();
    let mut last = None;
    while let Ok(Some(text)) = lines.next_line().await {
        let line = serde_json::from_str(&text).ok()?;
        match &line {
            Line::Held(held) => tracing::debug!(?held, "an archive is being unpacked"),
            Line::Progress { stage, done, total } => progress(*stage, *done, *total),
            Line::Done(_) | Line::Failed { .. } => {}
        }
        last = Some(line);
    }
    last
}

fn problem(blame: Blame, detail: String) -> Problem {
    match blame {
        Blame::Archive => Problem::new(Code::InvalidImage, format!("the image cannot be used: {detail}")),
        Blame::Platform => Problem::new(Code::InvalidImage, format!("the image does not fit: {detail}")).field("arch"),
        Blame::Limit => Problem::new(Code::InvalidImage, format!("the image is too large: {detail}")),
        Blame::Disk => Problem::new(Code::StoreFull, "the controller's disk is full: the image was not stored"),
        Blame::Host => {
            tracing::error!(detail, "an archive could not be unpacked");
            Problem::new(Code::Internal, "the archive could not be unpacked; the controller's log has the cause")
        }
    }
}

fn ended_silently(status: Option<ExitStatus>) -> Problem {
    let signal = status.and_then(|status| status.signal()).and_then(|number| Signal::try_from(number).ok());
    tracing::warn!(?status, "an unpacking process was stopped");
    let why = match signal {
        Some(Signal::SIGSYS) => "the unpacking process tried what it may not do and was stopped",
        Some(Signal::SIGXCPU | Signal::SIGKILL) => "unpacking it took too much processor time",
        Some(Signal::SIGABRT) => "unpacking it took too much memory",
        Some(_) | None => "the unpacking process ended without a word",
    };
    Problem::new(Code::InvalidImage, format!("the image cannot be used: {why}"))
}
