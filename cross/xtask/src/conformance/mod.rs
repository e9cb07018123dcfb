//! `cargo xtask conformance`: suites for OCI runtimes over Roost's runtime, beside crun on the same kernel.
//!
//! The suites are not ours and not here: they must be on the machine already. Roost is reached through the shim of
//! `tests/oci-shim`. What came out is kept in the target directory, so that one suite can be run again, or the page be
//! written again, without the others. Every failing test of Roost has a class in `classes.txt`; one without fails the command, so that
//! the page never shows a failure that nobody has looked at.

mod bats;
mod classes;
mod contest;
mod page;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::step::{log_path, logged};
use crate::{apt, repo};

/// What may be asked of a run.
#[derive(Args)]
pub struct Options {
    /// Directory with youki's `contest`, `runtimetest` and `bundle.tar.gz`, and the suite's commit in `COMMIT`
    #[arg(long)]
    contest: Option<PathBuf>,
    /// Directory `tests/integration` of runc with its images, and the suite's commit in `COMMIT`
    #[arg(long)]
    runc_tests: Option<PathBuf>,
    /// Run the suites over Roost only; what came out over crun stays as it was
    #[arg(long)]
    ours_only: bool,
    /// Only groups (files) with this in their names; nothing is kept or written then
    #[arg(long)]
    only: Option<String>,
}

/// Building the shim on a slow machine.
const BUILD: Duration = Duration::from_secs(30 * 60);

/// What programs the run needs.
const NEEDS: &[apt::Need] = &[
    apt::need("crun", "crun"),
    apt::need("bats", "bats"),
    apt::need("jq", "jq"),
    apt::need("gawk", "gawk"),
    apt::need("erofs-utils", "mkfs.erofs"),
    apt::need("util-linux", "unshare"),
    apt::need("iproute2", "ip"),
];

/// How a test came out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Not, and why as far as it says.
    Failed(String),
    /// Not run: it does not apply to this machine.
    Skipped,
}

/// One test and how it came out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Test {
    /// Group or file.
    pub group: String,
    /// Name in the group.
    pub name: String,
    /// How it came out.
    pub outcome: Outcome,
}

/// A suite, run over both runtimes.
#[derive(Serialize, Deserialize)]
pub struct Run {
    /// Its name in `classes.txt`.
    pub suite: String,
    /// When it was run and on what.
    pub machine: String,
    /// Its commit, and on further lines what there is to say of how it was prepared.
    pub commit: String,
    /// Over Roost's runtime.
    pub ours: Vec<Test>,
    /// Over crun.
    pub peer: Vec<Test>,
}

/// A runtime to test.
pub struct Runtime<'a> {
    /// The program.
    pub program: &'a Path,
    /// Whether it works beside a unified hierarchy.
    pub knows_hybrid: bool,
}

/// The suites: name in `classes.txt`, and whose it is.
const SUITES: [(&str, &str); 2] = [("contest", "youki's contest"), ("runc", "runc's integration tests")];

/// The other side of a run.
pub enum Peer<'a> {
    /// To be run.
    Run(Runtime<'a>),
    /// What came out when it was.
    Kept(Vec<Test>),
}

impl Peer<'_> {
    /// Its results.
    fn results(&self, run: impl Fn(&Runtime<'_>) -> Result<Vec<Test>>) -> Result<Vec<Test>> {
        match self {
            Self::Run(runtime) => run(runtime),
            Self::Kept(tests) => Ok(tests.clone()),
        }
    }
}

/// Runs the suites that are named and writes the page of all that were ever run here; whether every failure of ours has
/// a class.
///
/// # Errors
/// Something is missing, or a suite cannot be run.
pub fn run(options: &Options) -> Result<bool> {
    let only = options.only.as_deref().unwrap_or_default();
    let runs = run_suites(options, only)?;
    let classes = classes::read()?;
    if options.only.is_some() {
        return Ok(all_classified(&runs, &classes));
    }
    for run in &runs {
        std::fs::write(log_path(&kept(&run.suite))?, serde_json::to_vec(run)?).context("keep what came out")?;
    }
    let all = read_kept()?;
    ensure!(!all.is_empty(), "no suite was ever run here: --contest DIR, --runc-tests DIR");
    let path = repo::root().join("docs/reference/conformance.md");
    std::fs::write(&path, page::write(&all, &classes)?).with_context(|| format!("write {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(all_classified(&all, &classes))
}

fn run_suites(options: &Options, only: &str) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    if options.contest.is_none() && options.runc_tests.is_none() {
        return Ok(runs);
    }
    apt::ensure(NEEDS)?;
    let built = logged("conformance-build", repo::cargo().args(["build", "-p", "roost-oci-shim"]), BUILD)?;
    ensure!(built.success, "the shim cannot be built");
    let shim = repo::target_dir().join("debug/roost-oci");
    let ours = Runtime { program: &shim, knows_hybrid: true };
    if let Some(directory) = &options.contest {
        let crun = repo::root().join("tests/oci-shim/crun-name-last");
        let peer = Runtime { program: &crun, knows_hybrid: false };
        runs.push(contest::run(directory, &ours, &peer_of(options, "contest", peer)?, only)?);
    }
    if let Some(directory) = &options.runc_tests {
        let peer = Runtime { program: Path::new("/usr/bin/crun"), knows_hybrid: false };
        runs.push(bats::run(directory, &ours, &peer_of(options, "runc", peer)?, only)?);
    }
    Ok(runs)
}

/// What is to be known of the peer in a run of a suite.
fn peer_of<'a>(options: &Options, suite: &str, runtime: Runtime<'a>) -> Result<Peer<'a>> {
    if !options.ours_only {
        return Ok(Peer::Run(runtime));
    }
    let kept = read_kept()?.into_iter().find(|run| run.suite == suite);
    Ok(Peer::Kept(kept.with_context(|| format!("--ours-only: {suite} was never run here"))?.peer))
}

/// Name of the log in which a suite's results are kept.
fn kept(suite: &str) -> String {
    format!("conformance-{suite}")
}

fn read_kept() -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for (suite, _) in SUITES {
        let path = log_path(&kept(suite))?;
        if path.exists() {
            let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            runs.push(serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))?);
        }
    }
    Ok(runs)
}

fn all_classified(runs: &[Run], classes: &[classes::Class]) -> bool {
    let mut well = true;
    for run in runs {
        for test in run.ours.iter().filter(|test| matches!(test.outcome, Outcome::Failed(_))) {
            if classes::of(classes, &run.suite, test).is_none() {
                println!("without a class: {} {}::{}: {:?}", run.suite, test.group, test.name, test.outcome);
                well = false;
            }
        }
    }
    well
}

/// Runs a program of a suite in the sandbox; all that it said, and its code.
fn in_sandbox(
    runtime: &Runtime<'_>,
    limit: Duration,
    directory: &Path,
    program: &mut Command,
) -> Result<(String, i32)> {
    let mut command = Command::new(repo::root().join("tests/oci-shim/sandbox"));
    if !runtime.knows_hybrid {
        command.arg("--no-unified");
    }
    command.arg(limit.as_secs().to_string()).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = command.current_dir(directory).stdin(Stdio::null()).output().context("start the sandbox")?;
    let said = [output.stdout, output.stderr].concat();
    Ok((String::from_utf8_lossy(&said).into_owned(), output.status.code().unwrap_or(-1)))
}

/// The commit that a suite was taken from, and below it what there is to say of how it was prepared.
fn commit(directory: &Path) -> Result<String> {
    let path = directory.join("COMMIT");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read the suite's commit: {}", path.display()))?;
    Ok(text.trim().to_owned())
}
