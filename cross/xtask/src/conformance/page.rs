//! `docs/reference/conformance.md` from what was run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, Result};

use super::classes::{self, Class, Kind};
use super::{Outcome, Run, SUITES, Test};
use crate::tally::Tally;

/// What the page begins with.
const PREFACE: &str = include_str!("preface.md");

/// The whole page.
///
/// # Errors
/// Never; writing to text cannot fail.
pub fn write(runs: &[Run], classes: &[Class]) -> Result<String> {
    let mut page = PREFACE.to_owned();
    for run in runs {
        write_run(&mut page, run, classes)?;
    }
    Ok(page)
}

/// Today, this machine and the peer.
///
/// # Errors
/// A program of the machine does not answer.
pub fn machine() -> Result<String> {
    let peer = say("crun", &["--version"])?;
    let peer = peer.lines().next().unwrap_or_default();
    let (date, kernel) = (say("date", &["-u", "+%-d %B %Y"])?, say("uname", &["-srm"])?);
    Ok(format!("{date}, {kernel}, cgroups {}, peer {peer}", cgroups()))
}

fn write_run(page: &mut String, run: &Run, classes: &[Class]) -> Result<()> {
    let title = SUITES.iter().find(|(suite, _)| *suite == run.suite).map_or(run.suite.as_str(), |(_, title)| title);
    let (commit, note) = run.commit.split_once('\n').unwrap_or((&run.commit, ""));
    writeln!(page, "\n## {title}\n\nCommit `{commit}`. {}.\n", run.machine)?;
    if !note.is_empty() {
        writeln!(page, "{note}\n")?;
    }
    writeln!(page, "| group | Roost: passed | failed | skipped | crun: passed | failed | skipped |")?;
    writeln!(page, "|---|---:|---:|---:|---:|---:|---:|")?;
    let (ours, peer) = (by_group(&run.ours), by_group(&run.peer));
    for (group, tally) in &ours {
        write_row(page, group, *tally, peer.get(group).copied().unwrap_or_default())?;
    }
    write_row(page, "**all**", sum(&ours), sum(&peer))?;
    writeln!(page, "\n### What fails over Roost, and why\n")?;
    writeln!(page, "| tests | how many | with crun | class | why |\n|---|---:|---|---|---|")?;
    let mut failing: BTreeMap<usize, Vec<&Test>> = BTreeMap::new();
    for test in run.ours.iter().filter(|test| matches!(test.outcome, Outcome::Failed(_))) {
        let at = classes::of(classes, &run.suite, test).and_then(|class| classes.iter().position(|one| one == class));
        failing.entry(at.unwrap_or(classes.len())).or_default().push(test);
    }
    for (at, tests) in failing {
        let (kind, why) = classes.get(at).map_or(("**not looked at yet**", ""), |one| (one.kind.describe(), &one.why));
        let with_peer = with_peer(&tests, &run.peer);
        writeln!(page, "| {} | {} | {with_peer} | {kind} | {why} |", names(&tests), tests.len())?;
    }
    let hollow = |test: &&Test| {
        test.outcome == Outcome::Passed
            && classes.iter().any(|class| class.kind == Kind::Hollow && class.covers(&run.suite, test))
    };
    for test in run.ours.iter().filter(hollow) {
        let class = classes.iter().find(|class| class.kind == Kind::Hollow && class.covers(&run.suite, test));
        let why = class.map_or("", |class| class.why.as_str());
        let with_peer = with_peer(&[test], &run.peer);
        writeln!(page, "| {} | 1 | {with_peer} | {} | {why} |", names(&[test]), Kind::Hollow.describe())?;
    }
    Ok(())
}

fn write_row(page: &mut String, group: &str, ours: Tally, peer: Tally) -> Result<()> {
    let cells = [ours.passed, ours.failed, ours.skipped, peer.passed, peer.failed, peer.skipped];
    writeln!(page, "| {group} | {} |", cells.map(|number| number.to_string()).join(" | "))?;
    Ok(())
}

fn by_group(tests: &[Test]) -> BTreeMap<&str, Tally> {
    let mut all: BTreeMap<&str, Tally> = BTreeMap::new();
    for test in tests {
        let tally = all.entry(&test.group).or_default();
        match test.outcome {
            Outcome::Passed => tally.passed += 1,
            Outcome::Failed(_) => tally.failed += 1,
            Outcome::Skipped => tally.skipped += 1,
        }
    }
    all
}

fn sum(groups: &BTreeMap<&str, Tally>) -> Tally {
    let mut sum = Tally::default();
    groups.values().for_each(|tally| sum += *tally);
    sum
}

/// How the same tests came out over the peer.
fn with_peer(tests: &[&Test], peer: &[Test]) -> String {
    let same = |test: &&&Test, other: &&Test| test.group == other.group && test.name == other.name;
    let passed = |test: &&&Test| peer.iter().any(|other| same(test, &other) && other.outcome == Outcome::Passed);
    let passed = tests.iter().filter(passed).count();
    match (passed, tests.len()) {
        (0, _) => "none pass".to_owned(),
        (passed, all) if passed == all => "all pass".to_owned(),
        (passed, _) => format!("{passed} pass"),
    }
}

/// The tests by group.
fn names(tests: &[&Test]) -> String {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for test in tests {
        groups.entry(&test.group).or_default().push(&test.name);
    }
    let groups = groups.iter().map(|(group, names)| {
        let names: Vec<_> = names.iter().map(|name| format!("`{}`", name.replace('|', "\\|"))).collect();
        format!("{group}: {}", names.join(", "))
    });
    groups.collect::<Vec<_>>().join("; ")
}

fn cgroups() -> &'static str {
    let is_there = |path: &str| std::path::Path::new(path).exists();
    match (is_there("/sys/fs/cgroup/cgroup.controllers"), is_there("/sys/fs/cgroup/unified")) {
        (true, _) => "version 2",
        (false, true) => "version 1 (hybrid; hidden from crun, which refuses it)",
        (false, false) => "version 1",
    }
}

fn say(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("start {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_counts_and_classifies() {
        let test = |name: &str, outcome| Test { group: "g".into(), name: name.into(), outcome };
        let failed = || Outcome::Failed("no".into());
        let run = Run {
            suite: "s".into(),
            machine: "a machine".into(),
            commit: "abc".into(),
            ours: vec![test("a", Outcome::Passed), test("b", failed()), test("c", failed())],
            peer: vec![test("a", Outcome::Passed), test("b", Outcome::Passed), test("c", Outcome::Skipped)],
        };
        let class =
            Class { suite: "s".into(), group: "g".into(), name: "b".into(), kind: Kind::Absent, why: "because".into() };
        let mut page = String::new();
        write_run(&mut page, &run, &[class]).expect("a page");
        assert!(page.contains("| **all** | 1 | 2 | 0 | 2 | 0 | 1 |"), "{page}");
        assert!(page.contains("| g: `b` | 1 | all pass | absent on purpose | because |"), "{page}");
        assert!(page.contains("| g: `c` | 1 | none pass | **not looked at yet** |  |"), "{page}");
    }
}
