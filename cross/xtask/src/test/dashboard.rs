//! The dashboard in Debian's Chromium, driven by Playwright, on a rack of its own.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::rack::Rack;
use crate::repo;
use crate::step::logged;
use crate::tally::Tally;

/// Heating a rack takes its time, even on a fast clock.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Playwright's counts, and one more: that the rack is gone without a trace of trouble afterwards.
///
/// # Errors
/// Playwright cannot be installed or the rack not started.
pub fn run() -> Result<Tally> {
    let mut install = npm();
    install.args(["ci", "--no-audit", "--no-fund"]).env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
    ensure!(logged("npm-ci", &mut install, LIMIT)?.success, "npm ci failed");
    let rack = Rack::start()?;
    let tested = test(&rack);
    let stopped = rack.stop();
    if let Err(error) = &stopped {
        println!("dashboard: {error:#}");
    }
    let mut tally = tested?;
    tally += Tally::one(stopped.is_ok());
    Ok(tally)
}

fn test(rack: &Rack) -> Result<Tally> {
    let picture = repo::target_dir().join("xtask/dashboard.png");
    let mut command = npm();
    command.arg("test").env("ROOST_URL", &rack.access.url).env("ROOST_TOKEN", &rack.access.token);
    command.env("ROOST_SCREENSHOT", picture);
    let ended = logged("dashboard", &mut command, LIMIT).context("playwright")?;
    let tally = Tally::from_playwright(&ended.output).and_exit(ended.success);
    ensure!(tally != Tally::default(), "playwright ran no test");
    Ok(tally)
}

fn npm() -> Command {
    let mut command = Command::new("npm");
    command.current_dir(repo::root().join("tests/dashboard"));
    command
}
