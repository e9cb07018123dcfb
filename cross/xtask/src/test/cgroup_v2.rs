//! The container runtime's tests on pure cgroup version 2, in an emulated machine: `tests/rigs/cgroup-v2/run`.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::counted;
use crate::repo;
use crate::tally::Tally;

/// How long the emulated machine may run: some 3 minutes where nothing else does.
const LIMIT: Duration = Duration::from_secs(12 * 60);
/// Cases that an emulated machine is too slow to repeat: a deadline is not of the cgroups' making, and OpenRC is OpenRC
/// below either init.
const LEFT_OUT: [&str; 4] = ["--skip", "does_not_end_is_killed", "--skip", "openrc_boots_below_its_own_init"];

/// Runs the rig with the test program that the step `cargo-test` built.
///
/// # Errors
/// The program cannot be built, or the rig says nothing that can be counted.
pub fn run() -> Result<Tally> {
    let program = program()?;
    let mut command = Command::new(repo::root().join("tests/rigs/cgroup-v2/run"));
    command
        .arg(program)
        .args(LEFT_OUT)
        .env("RIG_CACHE", repo::target_dir().join("rigs"))
        .env("RIG_TIMEOUT", LIMIT.as_secs().to_string());
    counted("cgroup-v2", &mut command)
}

/// One line of cargo's messages, as far as we read it.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

fn program() -> Result<PathBuf> {
    let mut command = repo::cargo();
    command.args(["test", "--workspace", "--test", "runtime", "--no-run", "--message-format=json"]);
    let output = command.stderr(Stdio::inherit()).output().context("run cargo")?;
    ensure!(output.status.success(), "the runtime's tests do not build");
    executable(&String::from_utf8_lossy(&output.stdout)).context("cargo names no program")
}

/// The last program that cargo says it built: binaries the test needs come before it.
fn executable(messages: &str) -> Option<PathBuf> {
    let read = |line: &str| serde_json::from_str::<Message>(line).ok()?.executable;
    messages.lines().filter_map(read).rfind(|path| path.to_string_lossy().contains("/deps/runtime-"))
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn the_test_program_is_told_from_the_binaries_it_needs() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":\"/t/debug/roost-agent\"}\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":\"/t/debug/deps/runtime-1f\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages).unwrap().to_str(), Some("/t/debug/deps/runtime-1f"));
        assert_eq!(executable(""), None);
    }
}
