//! `cargo xtask …`: what the project does to itself. Tests everything, checks the walls, measures.
//!
//! It owns no part of the product and nothing of the product depends on it. Counts that it prints are read from the
//! runners' own output, never made up here.

mod apt;
mod bench;
mod conformance;
mod purity;
mod repo;
mod step;
mod tally;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build chores of Roost")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run every check and test; installs what the machine lacks
    Test(test::Options),
    /// Measure, each figure beside a peer in the same run
    Bench(bench::Options),
    /// Run suites for OCI runtimes over ours, beside crun; writes docs/reference/conformance.md
    Conformance(conformance::Options),
    /// Check that the pure crates have no I/O, clock, randomness or async
    CheckPure,
}

fn main() -> ExitCode {
    let result = match Args::parse().chore {
        Chore::Test(options) => test::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Conformance(options) => conformance::run(&options),
        Chore::CheckPure => purity::run().map(|report| {
            println!("{report}");
            report.tally.failed == 0
        }),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
