//! youki's `contest`: a program that runs groups of tests, each in a thread.
//!
//! Each group is run by itself, since one test that panics or hangs ends them all; its tests are then run one by one,
//! by the names that they have over a runtime that does nothing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Outcome, Peer, Run, Runtime, Test, commit, in_sandbox, page};

/// A group of tests, some of which wait for a minute.
const GROUP: Duration = Duration::from_secs(120);
/// One test.
const ONE: Duration = Duration::from_secs(90);

/// Runs the suite over both.
///
/// # Errors
/// It is not there or cannot be started.
pub fn run(directory: &Path, ours: &Runtime<'_>, peer: &Peer<'_>, only: &str) -> Result<Run> {
    let directory = &directory.canonicalize().with_context(|| format!("find {}", directory.display()))?;
    let mut list = Command::new(directory.join("contest"));
    let groups = list.arg("list").current_dir(directory).output().context("start contest")?;
    ensure!(groups.status.success(), "contest cannot list its groups");
    let groups = String::from_utf8_lossy(&groups.stdout).into_owned();
    let groups: Vec<&str> = groups.lines().filter(|group| group.contains(only)).collect();
    Ok(Run {
        suite: "contest".to_owned(),
        machine: page::machine()?,
        commit: commit(directory)?,
        peer: peer.results(|runtime| over(directory, runtime, &groups))?,
        ours: over(directory, ours, &groups)?,
    })
}

fn over(directory: &Path, runtime: &Runtime<'_>, groups: &[&str]) -> Result<Vec<Test>> {
    let mut all = Vec::new();
    for group in groups {
        let mut tests = call(directory, runtime, GROUP, group)?;
        if tests.is_empty() {
            tests = one_by_one(directory, runtime, group)?;
        }
        for test in &tests {
            println!("{} {}::{}: {:?}", runtime.program.display(), test.group, test.name, test.outcome);
        }
        all.extend(tests);
    }
    Ok(all)
}

/// Where no name is known the group counts as one failed test.
fn one_by_one(directory: &Path, runtime: &Runtime<'_>, group: &str) -> Result<Vec<Test>> {
    let nothing = Runtime { program: Path::new("/bin/false"), knows_hybrid: true };
    let mut tests = call(directory, &nothing, GROUP, group)?;
    let failed = || Outcome::Failed("panicked or did not end".to_owned());
    for test in &mut tests {
        let alone = call(directory, runtime, ONE, &format!("{group}::{}", test.name))?;
        test.outcome = alone.into_iter().next().map_or_else(failed, |test| test.outcome);
    }
    if tests.is_empty() {
        tests.push(Test { group: group.to_owned(), name: "(all)".to_owned(), outcome: failed() });
    }
    Ok(tests)
}

fn call(directory: &Path, runtime: &Runtime<'_>, limit: Duration, selection: &str) -> Result<Vec<Test>> {
    let mut contest = Command::new("./contest");
    contest.arg("run").arg("--runtime").arg(runtime.program).args(["--runtimetest", "./runtimetest", "-t", selection]);
    let (output, _) = in_sandbox(runtime, limit, directory, &mut contest)?;
    Ok(parse(&output))
}

/// Reads `# Start group G`, then `N / M : NAME : ok|not ok|skipped` with the reason on the next line.
fn parse(output: &str) -> Vec<Test> {
    let mut tests: Vec<Test> = Vec::new();
    let mut group = "";
    let mut lines = output.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("# Start group ") {
            group = name;
        }
        let Some((name, outcome)) = result_of(line) else { continue };
        let outcome = match outcome {
            "ok" => Outcome::Passed,
            "not ok" => {
                let reason = lines.next_if(|line| line.starts_with('\t')).unwrap_or_default();
                Outcome::Failed(reason.trim().to_owned())
            }
            _ => Outcome::Skipped,
        };
        tests.push(Test { group: group.to_owned(), name: name.to_owned(), outcome });
    }
    tests
}

fn result_of(line: &str) -> Option<(&str, &str)> {
    let (number, rest) = line.split_once(" / ")?;
    number.parse::<u32>().ok()?;
    let (_, rest) = rest.split_once(" : ")?;
    let (name, outcome) = rest.rsplit_once(" : ")?;
    ["ok", "not ok", "skipped"].contains(&outcome).then_some((name, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_from_what_contest_prints() {
        let output = "noise\n# Start group a b\n1 / 3 : x : ok\n2 / 3 : y z : not ok\n\tError: no\n\
                      3 / 3 : w : skipped\n\tcannot\n# End group a b\n";
        let test = |name: &str, outcome| Test { group: "a b".into(), name: name.into(), outcome };
        assert_eq!(
            parse(output),
            [test("x", Outcome::Passed), test("y z", Outcome::Failed("Error: no".into())), test("w", Outcome::Skipped)]
        );
    }
}
