//! `roost`: the command line of a Roost cluster, and `roost dev`, a rack in a box.
//!
//! Every verb talks to the public REST API only. The controller and agent libraries are linked so that `roost dev` can run
//! this same program as each of them (`roost controller …`, `roost agent …`).

mod args;
mod client;
mod commands;
mod context;
mod dev;
mod error;
mod output;
mod progress;
mod recipes;
mod time;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // The passthroughs own their whole command line, so they are taken before ours is parsed.
    let mut words = std::env::args_os().skip(1);
    match words.next().as_ref().and_then(|word| word.to_str()) {
        Some("controller") => {
            return roost_controller::cli::main_below(with_name("roost controller", words), &["controller"]);
        }
        Some("agent") => return roost_agent::cli::main_below(with_name("roost agent", words), &["agent"]),
        Some("dev-child") => return dev::child::main(words),
        _ => {}
    }
    let cli = args::Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", error.for_people());
            ExitCode::from(error.exit_code())
        }
    }
}

/// The arguments with a program name in front, as argument parsers expect them.
fn with_name(name: &str, rest: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from(name)).chain(rest)
}
