//! Running one step after the other: timed, logged, counted, never stopping at a failure.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::repo;
use crate::tally::Tally;

/// How much of a failed step's output is shown; all of it is in its log.
const TAIL_LINES: usize = 80;

/// How often a running command is looked at.
const POLL: Duration = Duration::from_millis(50);

/// The steps of a run and what came of them.
#[derive(Default)]
pub struct Steps {
    /// The steps that are wanted; empty: all.
    only: Vec<String>,
    rows: Vec<(&'static str, Duration, Tally)>,
}

impl Steps {
    /// A run of the steps with these names, or of all.
    pub fn only(names: &[String]) -> Self {
        Self { only: names.to_vec(), rows: Vec::new() }
    }

    /// Runs a step. An error is one failure, and the next step runs all the same.
    pub fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<Tally>) {
        if !self.only.is_empty() && !self.only.iter().any(|only| only == name) {
            return;
        }
        println!("── {name} …");
        let began = Instant::now();
        let tally = step().unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            Tally::one(false)
        });
        let took = began.elapsed();
        println!("── {name}: {tally} in {:.1} s", took.as_secs_f64());
        self.rows.push((name, took, tally));
    }

    /// Prints the table and, last, the one line that sums it up. Whether all is well: with `skipping_fails`, only if
    /// nothing was skipped.
    pub fn finish(self, skipping_fails: bool) -> bool {
        println!();
        let mut sum = Tally::default();
        for (name, took, tally) in &self.rows {
            println!("{name:20} {:7.1} s  {tally}", took.as_secs_f64());
            sum += *tally;
        }
        if skipping_fails && sum.skipped > 0 {
            println!("skipping is failing here, because CI=true");
        }
        println!("{sum}");
        sum.failed == 0 && (sum.skipped == 0 || !skipping_fails)
    }
}

/// How a command ended and all that it wrote.
pub struct Ended {
    /// It ended with status 0.
    pub success: bool,
    /// Its standard output and errors, in order.
    pub output: String,
}

impl Ended {
    /// A check that passes or fails as a whole.
    pub fn as_one(&self) -> Tally {
        Tally::one(self.success)
    }
}

/// Where the whole output of the step `name` is.
///
/// # Errors
/// The folder of logs cannot be made.
pub fn log_path(name: &str) -> Result<PathBuf> {
    let dir = repo::target_dir().join("xtask");
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    Ok(dir.join(format!("{name}.log")))
}

/// Starts a command with its output going to the log of `name` alone.
///
/// # Errors
/// The log cannot be written or the command not started.
pub fn start(name: &str, command: &mut Command) -> Result<Child> {
    let path = log_path(name)?;
    let log = File::create(&path).with_context(|| format!("write {}", path.display()))?;
    let errors = log.try_clone().with_context(|| format!("write {}", path.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().with_context(|| format!("start {program}"))
}

/// Runs a command for at most `limit`; when it fails, the tail of its output is printed.
///
/// # Errors
/// It cannot be started, or it ran out of time and was killed with all it had started.
pub fn logged(name: &str, command: &mut Command, limit: Duration) -> Result<Ended> {
    let mut child = start(name, command)?;
    let status = wait(&mut child, limit)?;
    if status.is_none() {
        kill_tree(child.id());
        child.wait().context("wait for what was killed")?;
    }
    let success = status.is_some_and(|status| status.success());
    if !success {
        print_tail(name)?;
    }
    if status.is_none() {
        bail!("did not end within {} s and was killed", limit.as_secs());
    }
    Ok(Ended { success, output: read_log(name)? })
}

/// What a program prints, without white space around it.
///
/// # Errors
/// It cannot be started.
pub fn out(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("start {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Waits for a child for at most `limit`: nothing when it still runs.
///
/// # Errors
/// The child cannot be waited for.
pub fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        let status = child.try_wait().context("wait for a child")?;
        if status.is_some() || Instant::now() >= end {
            return Ok(status);
        }
        sleep(POLL);
    }
}

/// Prints the end of a step's log, without the lines that tell of success, and where all of it is.
///
/// # Errors
/// There is no log.
pub fn print_tail(name: &str) -> Result<()> {
    let output = read_log(name)?;
    let telling: Vec<_> = output.lines().filter(|line| !is_quiet(line)).collect();
    for line in &telling[telling.len().saturating_sub(TAIL_LINES)..] {
        println!("    {line}");
    }
    println!("    (all {} lines: {})", output.lines().count(), log_path(name)?.display());
    Ok(())
}

/// Lines of cargo and libtest that would push the failures out of the tail.
fn is_quiet(line: &str) -> bool {
    const BEGINNINGS: [&str; 8] =
        ["Compiling ", "Checking ", "Fresh ", "Finished ", "Running ", "running ", "Doc-tests ", "test result: ok."];
    let line = line.trim();
    line.is_empty() || BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) || is_passed_test(line)
}

fn is_passed_test(line: &str) -> bool {
    line.starts_with("test ") && line.split_once(" ... ").is_some_and(|(_, result)| result.starts_with("ok"))
}

fn read_log(name: &str) -> Result<String> {
    let path = log_path(name)?;
    let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Kills a process and everything below it. Stopped first, so that nothing new is started meanwhile.
fn kill_tree(pid: u32) {
    let Ok(raw) = i32::try_from(pid) else { return };
    // A process that is gone already is as good as a killed one.
    let _ = kill(Pid::from_raw(raw), Signal::SIGSTOP);
    for child in children(pid) {
        kill_tree(child);
    }
    let _ = kill(Pid::from_raw(raw), Signal::SIGKILL);
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::{Steps, is_quiet, logged};
    use crate::tally::Tally;

    const AMPLE: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        command
    }

    #[test]
    fn output_and_errors_are_kept_in_order() {
        let ended = logged("self-order", &mut shell("echo a; echo b >&2; echo c; exit 3"), AMPLE).expect("runs");
        assert_eq!((ended.success, ended.output.as_str()), (false, "a\nb\nc\n"));
    }

    #[test]
    fn what_hangs_is_killed_with_all_it_started() {
        let script = "sh -c 'echo $$; sleep 600; true' & wait";
        let ended = logged("self-hang", &mut shell(script), Duration::from_millis(500));
        assert!(ended.is_err_and(|error| error.to_string().contains("did not end")));
        let grandchild = super::read_log("self-hang").expect("its log");
        let deadline = Instant::now() + AMPLE;
        while !is_dead(grandchild.trim()) {
            assert!(Instant::now() < deadline, "{grandchild} still runs");
            sleep(super::POLL);
        }
    }

    /// Gone, or dead and about to be reaped by whoever inherited it. A killed process is still seen running until it
    /// has been given the processor to die on.
    fn is_dead(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z"))
    }

    #[test]
    fn the_tail_is_of_failures() {
        for line in ["", "   Compiling x v0.1.0", "running 0 tests", "test a::b ... ok", "test c ... ok (53 ms)"] {
            assert!(is_quiet(line), "{line}");
        }
        for line in ["test a ... FAILED", "test result: FAILED. 1 passed; 1 failed", "error: x", "test it ... not ok"] {
            assert!(!is_quiet(line), "{line}");
        }
    }

    #[test]
    fn only_failures_fail_unless_skips_do_too() {
        let table = [((3, 0, 0), true, true), ((3, 0, 1), true, false), ((3, 1, 0), false, false)];
        for ((passed, failed, skipped), well, well_in_ci) in table {
            for (skipping_fails, expected) in [(false, well), (true, well_in_ci)] {
                let mut steps = Steps::default();
                steps.run("self", || Ok(Tally { passed, failed, skipped }));
                assert_eq!(steps.finish(skipping_fails), expected, "{passed} {failed} {skipped} {skipping_fails}");
            }
        }
    }

    #[test]
    fn only_what_is_wanted_runs() {
        let mut steps = Steps::only(&["one".to_owned()]);
        let mut ran = Vec::new();
        for name in ["one", "two"] {
            steps.run(name, || {
                ran.push(name);
                Ok(Tally::one(true))
            });
        }
        assert_eq!(ran, ["one"]);
    }

    #[test]
    fn a_step_that_cannot_run_is_a_failure_and_the_next_one_runs() {
        let mut steps = Steps::default();
        let mut ran = false;
        steps.run("self", || anyhow::bail!("planted"));
        steps.run("self", || {
            ran = true;
            Ok(Tally::one(true))
        });
        assert!(ran && !steps.finish(false));
    }
}
