//! `cargo xtask bench`: figures, each beside a peer in the same run. It reports and never fails for being slow.

mod bed;
mod disk;
mod heat;
mod serve;
mod start;
mod stats;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};

use crate::apt::{self, Need};
use crate::repo;
use crate::step::out;

/// How it was measured, for the reader of the figures.
const PREFACE: &str = include_str!("preface.md");

/// What the measurements need beside the tests' tools.
const NEEDS: &[Need] = &[
    Need { package: "crun", probe: "crun" },
    Need { package: "wrk", probe: "wrk" },
    Need { package: "curl", probe: "curl" },
    Need { package: "busybox-static", probe: "busybox" },
    Need { package: "erofs-utils", probe: "mkfs.erofs" },
    Need { package: "nftables", probe: "nft" },
    Need { package: "gcc", probe: "cc" },
    Need { package: "e2fsprogs", probe: "mkfs.ext4" },
];

/// What to measure, and what to do with the figures.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    what: Option<What>,
    /// Write the table to docs/reference/bench.md
    #[arg(long)]
    write: bool,
}

#[derive(Subcommand)]
enum What {
    /// Compare Roost with other policies under heat, on a simulated rack
    Heat(heat::Options),
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<bool> {
    match &options.what {
        Some(What::Heat(options)) => heat::run(options).map(|()| true),
        None => speed(options),
    }
}

/// Starts, serving and memory, with real containers.
fn speed(options: &Options) -> Result<bool> {
    ensure!(nix::unistd::geteuid().is_root(), "the measurements make real containers and need root");
    apt::ensure(NEEDS)?;
    build()?;
    let work = std::env::temp_dir().join(format!("roost-bench-{}", std::process::id()));
    std::fs::create_dir_all(&work)?;
    let machine = machine()?;
    let figures = start::figures(&work).and_then(|mut figures| {
        figures.extend(serve::figures(&work)?);
        Ok(figures)
    });
    std::fs::remove_dir_all(&work)?;
    let report = format!("{machine}\n\n{}", stats::table(&figures?));
    println!("{report}");
    if options.write {
        let text = format!("{PREFACE}\n{report}");
        std::fs::write(repo::root().join("docs/reference/bench.md"), text)?;
    }
    Ok(true)
}

/// Builds what is measured as the README says for boards.
fn build() -> Result<()> {
    let builds = [
        ["--release", "-p", "roost", "-p", "roost-controller", "--bins"].as_slice(),
        &["--profile", "board", "-p", "roost-agent", "--bins", "--examples"],
    ];
    for arguments in builds {
        let built = repo::cargo().arg("build").args(arguments).status()?;
        ensure!(built.success(), "cargo build {arguments:?} failed");
    }
    Ok(())
}

/// A program of the controller's or the user's.
fn program(name: &str) -> PathBuf {
    repo::target_dir().join("release").join(name)
}

/// A program of the boards.
fn board_program(name: &str) -> PathBuf {
    repo::target_dir().join("board").join(name)
}

/// The date in UTC.
fn today() -> Result<String> {
    out("date", &["-u", "+%Y-%m-%d"])
}

/// When and on what.
fn machine() -> Result<String> {
    let cgroups = if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "v2" } else { "v1 hybrid" };
    let (date, kernel) = (today()?, out("uname", &["-rm"])?);
    let version = out("crun", &["--version"])?;
    let crun = version.lines().next().unwrap_or("crun");
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let cores = out("nproc", &[])?;
    Ok(format!("{date}, {cores} cores, load {load} at the start, kernel {kernel}, cgroups {cgroups}, {crun}."))
}
