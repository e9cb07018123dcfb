//! What the promises name in full: a thousand deaths, two builds of the agent. `--soak` counts to the end and publishes
//! what was seen in `docs/reference/soak.md`; every other run does a few of each.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{LONG, Options, SOAK, cargo, command_tally};
use crate::repo;
use crate::step::{logged, out};
use crate::tally::Tally;

/// A thousand cycles on a slow machine.
const VERY_LONG: Duration = Duration::from_secs(3 * 3600);
/// What begins a line that is published.
const RESULT: &str = "    soak: ";
/// The cases of the container runtime that count.
const RUNTIME_CASES: [&str; 4] = ["however_often", "last_words", "orphans", "vanish"];

/// Runs the soak: on a board of its own, and of the container runtime alone.
///
/// # Errors
/// It cannot be built or started, or the page not be written.
pub fn run(options: &Options) -> Result<Tally> {
    let mut board = cargo(options, "test");
    board.args(["--workspace", "--test", SOAK]);
    if !options.soak {
        return Ok(command_tally(&logged("soak", &mut board, LONG)?));
    }
    let (this, previous) = (commit("HEAD")?, commit(&options.previous)?);
    board.env("ROOST_PREVIOUS", build(&previous)?);
    let board = logged("soak", &mut board, VERY_LONG)?;
    let mut runtime = cargo(options, "test");
    runtime.args(["--workspace", "--test", "runtime", "--"]).args(RUNTIME_CASES);
    let runtime = logged("soak-runtime", &mut runtime, VERY_LONG)?;
    let rows = [&board, &runtime].map(|ended| rows(&ended.output)).concat();
    let mut tally = command_tally(&board);
    tally += command_tally(&runtime);
    publish(&rows, &this, &previous, &tally)?;
    Ok(tally)
}

fn commit(revision: &str) -> Result<String> {
    let found = out("git", &["-C", &repo::root().display().to_string(), "rev-parse", "--short", revision])?;
    ensure!(!found.is_empty(), "git knows no commit {revision}");
    Ok(found)
}

/// Builds the agent of another commit; the directory of its programs.
fn build(commit: &str) -> Result<PathBuf> {
    let tree = repo::target_dir().join("xtask/previous");
    let target = repo::target_dir().join("xtask/previous-target");
    let git = |words: &[&str]| Command::new("git").current_dir(repo::root()).args(words).stdin(Stdio::null()).status();
    let path = tree.display().to_string();
    if tree.exists() {
        // An aborted run left it.
        ensure!(git(&["worktree", "remove", "--force", &path])?.success(), "git cannot remove {path}");
    }
    ensure!(git(&["worktree", "add", "--detach", &path, commit])?.success(), "git cannot check out {commit}");
    let mut command = Command::new(repo::cargo().get_program());
    command.current_dir(&tree).args(["build", "-p", "roost-agent", "--target-dir"]).arg(&target);
    let built = logged("soak-previous", &mut command, LONG);
    ensure!(git(&["worktree", "remove", "--force", &path])?.success(), "git cannot remove {path}");
    ensure!(built?.success, "the agent of {commit} does not build");
    Ok(target.join("debug"))
}

/// What is published, as rows of a table.
fn rows(output: &str) -> Vec<String> {
    let results = output.lines().filter_map(|line| line.strip_prefix(RESULT)?.split_once(": "));
    results.map(|(what, value)| format!("| {what} | {value} |")).collect()
}

fn publish(rows: &[String], this: &str, previous: &str, tally: &Tally) -> Result<()> {
    let path = repo::root().join("docs/reference/soak.md");
    let (date, kernel, cores) = (out("date", &["-u", "+%Y-%m-%d %H:%M"])?, out("uname", &["-rm"])?, out("nproc", &[])?);
    let cgroups = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "v2" } else { "v1 hybrid" };
    let text = format!(
        "# Soak\n\n\
         Written by `cargo xtask test --soak`. A board of its own: the standalone controller and agent in a network namespace, \
         real containers, debug builds. `strace` kills agent and keeper at system calls chosen by the seed; `ROOST_SEED` repeats \
         the choices. Every run of the tests does a few of each.\n\n\
         {date} UTC, {cores} cores, kernel {kernel}, cgroups {cgroups}, commit {this}; the earlier build of the agent is of \
         {previous}. {tally}.\n\n\
         | what | seen |\n|---|---|\n{}\n",
        rows.join("\n")
    );
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_results_are_published() {
        let output =
            "test a ... ok (1 s)\n    soak: lines lost: 0 of 7\n    figure: x: 1 ms\n    soak: kills: 3, seed 1\n";
        assert_eq!(super::rows(output), ["| lines lost | 0 of 7 |", "| kills | 3, seed 1 |"]);
    }
}
