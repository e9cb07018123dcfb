//! `cargo xtask test`: every check and test of the project, in one run.
//!
//! One cargo profile and one selection of packages throughout, so that nothing is compiled twice.

mod cgroup_v2;
mod dashboard;
mod rack;
mod soak;

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::step::{Ended, Steps, logged};
use crate::tally::Tally;
use crate::{apt, purity, repo};

/// A step that builds may meet an empty target directory on a slow machine.
const LONG: Duration = Duration::from_secs(30 * 60);

/// A step with nothing to build.
const SHORT: Duration = Duration::from_secs(5 * 60);

/// The package of the tests that need all of Roost.
const SYSTEM: &str = "roost-tests";

/// Its test that is a step of its own.
const SOAK: &str = "soak";

/// What may be asked of a test run.
#[derive(Args)]
pub struct Options {
    /// Let the tests that repeat themselves do so for long
    #[arg(long)]
    soak: bool,
    /// Run these steps only
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// The commit of the earlier agent that a soak changes to and from
    #[arg(long, value_name = "REVISION", default_value = "HEAD~1")]
    previous: String,
}

/// Runs everything; whether all is well.
///
/// # Errors
/// Something the tests need is missing and cannot be installed.
pub fn run(options: &Options) -> Result<bool> {
    apt::ensure(apt::FOR_TESTS)?;
    let mut steps = Steps::only(&options.only);
    steps.run("fmt", || Ok(logged("fmt", cargo(options, "fmt").args(["--all", "--check"]), SHORT)?.as_one()));
    steps.run("clippy", || clippy(options));
    steps.run("check-pure", check_pure);
    steps.run("cargo-test", || cargo_test(options));
    steps.run("firmware", firmware);
    steps.run("build", || Ok(logged("build", cargo(options, "build").arg("--workspace"), LONG)?.as_one()));
    steps.run("system", || system(options));
    steps.run("soak", || soak::run(options));
    steps.run("dashboard", dashboard::run);
    steps.run("cgroup-v2", cgroup_v2::run);
    Ok(steps.finish(std::env::var_os("CI").is_some_and(|ci| ci == "true")))
}

fn cargo(options: &Options, chore: &str) -> Command {
    let mut command = repo::cargo();
    command.arg(chore);
    if options.soak {
        command.env("ROOST_SOAK", "1");
    }
    command
}

fn clippy(options: &Options) -> Result<Tally> {
    let mut command = cargo(options, "clippy");
    command.args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
    Ok(logged("clippy", &mut command, LONG)?.as_one())
}

fn check_pure() -> Result<Tally> {
    let report = purity::run()?;
    println!("{report}");
    Ok(report.tally)
}

/// Unit tests, documentation's examples, and the tests of single parts with real containers, HTTP and simavr.
fn cargo_test(options: &Options) -> Result<Tally> {
    let mut command = cargo(options, "test");
    command.args(["--workspace", "--exclude", SYSTEM, "--no-fail-fast"]);
    counted("cargo-test", &mut command)
}

/// The whole system over HTTP with real containers. Its targets are chosen by name, not by package: another selection of
/// packages is another choice of features, and much would be compiled again.
fn system(options: &Options) -> Result<Tally> {
    let mut command = cargo(options, "test");
    command.args(["--workspace", "--no-fail-fast"]);
    for target in repo::test_targets(SYSTEM)?.into_iter().filter(|target| target != SOAK) {
        command.arg("--test").arg(target);
    }
    counted("system", &mut command)
}

/// The firmware's headers on this machine against the golden vectors.
fn firmware() -> Result<Tally> {
    let build = repo::target_dir().join("xtask/firmware");
    let mut command = Command::new("make");
    command.arg("-C").arg(repo::root().join("sensor-firmware")).arg("test");
    counted("firmware", command.arg(format!("BUILD={}", build.display())))
}

/// Runs a runner of tests and adds up what it says.
fn counted(name: &str, command: &mut Command) -> Result<Tally> {
    let tally = command_tally(&logged(name, command, LONG)?);
    ensure!(tally != Tally::default(), "it ran no test");
    Ok(tally)
}

fn command_tally(ended: &Ended) -> Tally {
    Tally::from_output(&ended.output).and_exit(ended.success)
}
