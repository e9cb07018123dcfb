//! `cargo xtask bench heat`: policies under heat, on a simulated rack. No root, no tools, no clock: only the date is not
//! decided by the seeds.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::repo;

/// Where the table stands in the documentation.
const PAGE: &str = "docs/reference/heat.md";
/// What comes before the table.
const PREFACE: &str = include_str!("heat-preface.md");

/// Which trials.
#[derive(Args)]
pub struct Options {
    /// Seeds for each load and fault
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Write the table to docs/reference/heat.md
    #[arg(long)]
    write: bool,
}

/// Runs the trials and prints their table.
pub fn run(options: &Options) -> Result<()> {
    let package = ["--release", "-p", "roost-heat-trials"];
    let built = repo::cargo().arg("build").args(package).status().context("start cargo")?;
    ensure!(built.success(), "the trials do not build");
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let numbers = [options.seeds.to_string(), options.first.to_string(), threads.to_string()];
    let program = repo::target_dir().join("release/roost-heat-trials");
    let run = Command::new(&program).args(numbers).output().with_context(|| format!("start {}", program.display()))?;
    ensure!(run.status.success(), "the trials failed: {}", String::from_utf8_lossy(&run.stderr));
    let table = String::from_utf8(run.stdout).context("the trials' table is not text")?;
    print!("{table}");
    if options.write {
        let last = options.first + options.seeds - 1;
        let seeds = format!("{}, seeds {} to {last} for each row.", super::today()?, options.first);
        std::fs::write(repo::root().join(PAGE), format!("{PREFACE}\n{seeds}\n\n{table}"))
            .with_context(|| format!("write {PAGE}"))?;
    }
    Ok(())
}
