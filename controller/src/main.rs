//! The controller as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    roost_controller::cli::main(std::env::args_os())
}
