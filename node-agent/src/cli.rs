//! The agent's command line.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, RunArgs};
use crate::errors::chain;
use crate::node;

#[derive(Parser, Debug)]
#[command(name = "roost-agent", version, about = "The agent of a Roost node: runs what the controller wants here")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the agent
    Run(Box<RunArgs>),
    /// Hold the containers of a node; started by the agent itself
    #[command(hide = true)]
    Keeper {
        /// The keeper's own arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// The standalone agent: `arguments` with the program's name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    main_below(arguments, &[])
}

/// The agent inside another program, which reaches it by `prefix` (for example `agent`): so the keeper is started by
/// that, too.
pub fn main_below(arguments: impl IntoIterator<Item = OsString>, prefix: &[&str]) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are printed to standard output and are not failures.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Run(args) => run(&args, prefix),
        Command::Keeper { arguments } => node::keeper(arguments),
    }
}

fn run(args: &RunArgs, prefix: &[&str]) -> ExitCode {
    log_to_stderr();
    if args.die_with_parent
        && let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
    {
        tracing::error!(%error, "cannot ask to be ended with the parent");
        return ExitCode::FAILURE;
    }
    match serve(args, prefix) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %chain(&*error), "the agent cannot run");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ROOST_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(false);
    // Another one is there already when the agent runs inside another program.
    let _ = subscriber.try_init();
}

fn serve(args: &RunArgs, prefix: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::load(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tracing::info!(controller = ?config.controller, state = %config.state.display(), "the agent starts");
        tokio::select! {
            result = node::run(config, prefix) => result?,
            _ = terminate.recv() => tracing::info!("told to end; containers keep running"),
            _ = interrupt.recv() => tracing::info!("interrupted; containers keep running"),
        }
        Ok(())
    })
}
