//! `roost-controller`: arguments in, exit code out.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use nix::sys::signal::Signal;

use crate::run::{self, Settings};

/// Exit code of wrong arguments or files.
const USAGE: u8 = 2;

#[derive(Parser)]
#[command(name = "roost-controller", version, about = "The controller of a Roost rack")]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the controller.
    Run(RunArguments),
    /// Print the OpenAPI document.
    Openapi,
    /// Convert an archive in a sandbox; the controller starts this by itself.
    #[command(hide = true)]
    Unpack,
}

#[derive(Args)]
struct RunArguments {
    /// Directory of database and images.
    #[arg(long, env = "ROOST_CONTROLLER_STATE", value_name = "DIR", default_value = "/var/lib/roost")]
    state: PathBuf,
    /// Addresses of API, dashboard and agents.
    #[arg(
        long,
        env = "ROOST_CONTROLLER_LISTEN",
        value_name = "ADDR",
        value_delimiter = ',',
        default_value = "127.0.0.1:7700"
    )]
    listen: Vec<SocketAddr>,
    /// What stands where and which probe feels it.
    #[arg(long, env = "ROOST_CONTROLLER_RACK", value_name = "FILE", default_value = "/etc/roost/rack.yaml")]
    rack: PathBuf,
    /// Names and secrets' digests of nodes.
    #[arg(long, env = "ROOST_CONTROLLER_NODES", value_name = "FILE", default_value = "/etc/roost/nodes.yaml")]
    nodes: PathBuf,
    /// Digests of people's tokens.
    #[arg(long, env = "ROOST_CONTROLLER_TOKENS", value_name = "FILE", default_value = "/etc/roost/tokens.yaml")]
    tokens: PathBuf,
    /// Who is told of alerts; /etc/roost/alerts.yaml, if it is there, when not said.
    #[arg(long, env = "ROOST_CONTROLLER_ALERTS", value_name = "FILE")]
    alerts: Option<PathBuf>,
    /// Socket of the supervisor of a rack in a box.
    #[arg(long, env = "ROOST_CONTROLLER_DEV_SOCKET", value_name = "PATH")]
    dev_socket: Option<PathBuf>,
    /// Thermal dwell times, and the pause between two moves of an instance, are divided by this.
    #[arg(long, env = "ROOST_CONTROLLER_TIME_SCALE", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    time_scale: u32,
    /// Private networks that images may be fetched from, by http too: a registry of your own, for example.
    #[arg(long, env = "ROOST_CONTROLLER_ALLOW_IMAGE_SOURCES", value_name = "CIDR", value_delimiter = ',')]
    allow_image_sources: Vec<IpNet>,
    /// Stop when the process that started this one ends.
    #[arg(long)]
    die_with_parent: bool,
}

/// The standalone controller: `arguments` with the program's name first.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    main_below(arguments, &[])
}

/// The controller inside another program, which reaches it by `prefix` (for example `controller`): so the unpacking process
/// is started by that, too.
pub fn main_below(arguments: impl Iterator<Item = OsString>, prefix: &[&str]) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be said when standard error is closed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match arguments.command {
        Verb::Openapi => print_document(),
        Verb::Unpack => roost_image_import::child::main(),
        Verb::Run(arguments) => start(arguments, prefix),
    }
}

fn print_document() -> ExitCode {
    match crate::api::document().to_pretty_json() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.into()),
    }
}

fn start(arguments: RunArguments, prefix: &[&str]) -> ExitCode {
    if arguments.die_with_parent
        && let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)
    {
        return fail(&anyhow::Error::from(error).context("cannot ask to be stopped with the parent"));
    }
    let filter = tracing_subscriber::EnvFilter::try_from_env("ROOST_LOG").unwrap_or_else(|_| "info,sqlx=warn".into());
    // Another part of the same program may have set up logging already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
    let settings = Settings {
        state: arguments.state,
        listen: arguments.listen,
        rack: arguments.rack,
        nodes: arguments.nodes,
        tokens: arguments.tokens,
        alerts: arguments.alerts,
        dev_socket: arguments.dev_socket,
        time_scale: arguments.time_scale,
        allow_image_sources: arguments.allow_image_sources,
        program_words: prefix.iter().map(ToString::to_string).collect(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("controller").build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::from(error).context("cannot start threads")),
    };
    match runtime.block_on(run::until_signal(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("roost-controller: {error:#}");
    ExitCode::FAILURE
}
