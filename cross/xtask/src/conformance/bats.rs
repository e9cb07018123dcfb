//! runc's integration tests: one bats file per subject.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Outcome, Peer, Run, Runtime, Test, commit, in_sandbox, page};

/// One file of tests.
const FILE: Duration = Duration::from_secs(300);
/// One test, in seconds: some wait for what never comes over a runtime that does not refuse it.
const ONE: &str = "30";

/// Runs the suite over both.
///
/// # Errors
/// It is not there or cannot be started.
pub fn run(directory: &Path, ours: &Runtime<'_>, peer: &Peer<'_>, only: &str) -> Result<Run> {
    let directory = &directory.canonicalize().with_context(|| format!("find {}", directory.display()))?;
    let entries = std::fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut files: Vec<_> = names.filter(|name| name.ends_with(".bats") && name.contains(only)).collect();
    files.sort();
    let over = |runtime: &Runtime<'_>| -> Result<Vec<Test>> {
        let mut all = Vec::new();
        for file in &files {
            all.extend(call(directory, runtime, file)?);
        }
        Ok(all)
    };
    Ok(Run {
        suite: "runc".to_owned(),
        machine: page::machine()?,
        commit: commit(directory)?,
        peer: peer.results(over)?,
        ours: over(ours)?,
    })
}

fn call(directory: &Path, runtime: &Runtime<'_>, file: &str) -> Result<Vec<Test>> {
    let mut bats = Command::new("bats");
    bats.args(["--tap", file]).env("RUNC", runtime.program).env("BATS_TEST_TIMEOUT", ONE);
    let (output, _) = in_sandbox(runtime, FILE, directory, &mut bats)?;
    let group = file.trim_end_matches(".bats");
    let mut tests = parse(group, &output);
    let planned = planned(&output).unwrap_or(1);
    // What the time did not suffice for.
    for number in tests.len()..planned {
        let name = format!("(number {})", number + 1);
        let outcome = Outcome::Failed("did not end".to_owned());
        tests.push(Test { group: group.to_owned(), name, outcome });
    }
    for test in &tests {
        println!("{} {}::{}: {:?}", runtime.program.display(), test.group, test.name, test.outcome);
    }
    Ok(tests)
}

/// `1..N`.
fn planned(output: &str) -> Option<usize> {
    output.lines().find_map(|line| line.strip_prefix("1..")?.parse().ok())
}

/// Reads the lines of the test anything protocol; a failure's reason is the last thing that a program said.
fn parse(group: &str, output: &str) -> Vec<Test> {
    let mut tests: Vec<Test> = Vec::new();
    for line in output.lines() {
        let (passed, rest) = match (line.strip_prefix("ok "), line.strip_prefix("not ok ")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => {
                let said = line.strip_prefix("# Error: ");
                if let (Some(said), Some(Test { outcome: Outcome::Failed(reason), .. })) = (said, tests.last_mut()) {
                    said.clone_into(reason);
                }
                continue;
            }
        };
        let Some((_, name)) = rest.split_once(' ') else { continue };
        let (name, skipped) = name.split_once(" # skip").map_or((name, false), |(name, _)| (name, true));
        let name = name.split_once(" # timeout").map_or(name, |(name, _)| name);
        let outcome = match (passed, skipped) {
            (_, true) => Outcome::Skipped,
            (true, false) => Outcome::Passed,
            (false, false) => Outcome::Failed(String::new()),
        };
        tests.push(Test { group: group.to_owned(), name: name.to_owned(), outcome });
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_from_what_bats_prints() {
        let output = "1..3\nok 1 runc x\nnot ok 2 runc y [z] # timeout after 30s\n# (in test file a.bats)\n# Error: no such thing\n\
                      ok 3 runc w # skip test requires criu\n";
        let test = |name: &str, outcome| Test { group: "a".into(), name: name.into(), outcome };
        assert_eq!(
            parse("a", output),
            [
                test("runc x", Outcome::Passed),
                test("runc y [z]", Outcome::Failed("no such thing".into())),
                test("runc w", Outcome::Skipped)
            ]
        );
        assert_eq!(planned(output), Some(3));
    }
}
