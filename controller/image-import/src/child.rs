//! The child process: takes a job from standard input, opens its files, gives everything up, converts, and says on
//! standard output how it goes, one JSON document a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use roost_types::Arch;
use roost_types::image::ArchiveKind;
use serde::{Deserialize, Serialize};

use crate::convert::{Files, Report, Stage, convert};
use crate::error::Blame;
use crate::limits::Limits;
use crate::oci::Choice;
use crate::sandbox::{self, Held};

/// The archive's name in the job's directory.
pub const ARCHIVE: &str = "archive";
/// The root file's name in the job's directory.
pub const OUTPUT: &str = "root";
/// The scratch file's name in the job's directory.
const SCRATCH: &str = "scratch";
/// The name of the directory that becomes the child's root.
const EMPTY: &str = "empty";
/// Bytes of a job.
const MAX_JOB: u64 = 64 << 10;
/// Pause between two words on progress.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);

/// What the child is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// A directory of this job alone, with the archive in it.
    pub dir: PathBuf,
    /// What the archive is.
    pub kind: ArchiveKind,
    /// For which boards.
    pub arch: Option<Arch>,
    /// Which of several images.
    pub tag: Option<String>,
}

/// What the child says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// It has given everything up.
    Held(Held),
    /// How far it is.
    Progress {
        /// With what.
        stage: Stage,
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
    },
    /// It is done.
    Done(Report),
    /// It is not going to be done.
    Failed {
        /// Whose fault it is.
        blame: Blame,
        /// Why, for people.
        detail: String,
    },
}

/// Runs a job from standard input.
#[must_use]
pub fn main() -> ExitCode {
    let last = match run() {
        Ok(report) => Line::Done(report),
        Err((blame, detail)) => Line::Failed { blame, detail },
    };
    let well = matches!(last, Line::Done(_));
    if say(&last).is_err() || !well { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run() -> Result<Report, (Blame, String)> {
    let host = |step: &str, error: &dyn std::error::Error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        (Blame::Host, format!("{step}: {error}{cause}"))
    };
    let mut text = Vec::new();
    io::stdin().take(MAX_JOB).read_to_end(&mut text).map_err(|e| host("read the job", &e))?;
    let job: Job = serde_json::from_slice(&text).map_err(|e| host("read the job", &e))?;
    let files = open(&job.dir).map_err(|e| host("open the files of the job", &e))?;
    let limits = Limits::default();
    let held =
        sandbox::enter(&job.dir.join(EMPTY), limits.unpacked_bytes).map_err(|e| host("enter the sandbox", &e))?;
    say(&Line::Held(held)).map_err(|e| host("report", &e))?;
    let mut last = None::<Instant>;
    let choice = Choice { arch: job.arch, tag: job.tag };
    convert(files, job.kind, &choice, limits, |stage, done, total| {
        if last.is_none_or(|last| last.elapsed() >= PROGRESS_PAUSE) {
            last = Some(Instant::now());
            // If nobody listens, the parent is gone and this process ends with it.
            let _ = say(&Line::Progress { stage, done, total });
        }
    })
    .map_err(|error| (error.blame(), error.to_string()))
}

/// Opens what the job works on. Nothing of the archive has been looked at yet.
fn open(dir: &Path) -> io::Result<Files> {
    let archive = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(dir.join(ARCHIVE))?;
    let archive_bytes = archive.metadata()?.len();
    let fresh =
        |name: &str| OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(dir.join(name));
    let scratch = fresh(SCRATCH)?;
    // Its space is given back whatever becomes of this process.
    std::fs::remove_file(dir.join(SCRATCH))?;
    let output: File = fresh(OUTPUT)?;
    std::fs::create_dir(dir.join(EMPTY))?;
    Ok(Files { archive, archive_bytes, scratch, output })
}

fn say(line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    io::stdout().write_all(&text)?;
    io::stdout().flush()
}
