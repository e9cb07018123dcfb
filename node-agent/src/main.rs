//! The agent as a program of its own: a thin main over the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    roost_agent::cli::main(std::env::args_os())
}
