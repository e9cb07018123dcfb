//! The command line, as `runc` has it and suites use it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::node::Node;
use crate::{exec, lifecycle, monitor, report, spec};

/// Of the OCI runtime specification.
pub const OCI_VERSION: &str = "1.2.0";

#[derive(Parser)]
#[command(name = "roost-oci", version = concat!(env!("CARGO_PKG_VERSION"), "\nspec: 1.2.0"))]
#[command(about = "Roost's runtime behind the command line of an OCI runtime, for tests only")]
struct Cli {
    /// Where containers are kept
    #[arg(long, default_value = "/run/roost-oci")]
    root: PathBuf,
    /// Taken and not used: there is nothing to log
    #[arg(long)]
    log: Option<PathBuf>,
    /// Taken and not used
    #[arg(long)]
    log_format: Option<String>,
    /// Taken and not used
    #[arg(long)]
    debug: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a container from a bundle; its command waits for `start`
    Create(Create),
    /// Let a container's command begin
    Start { id: String },
    /// Create and start; wait for the end unless detached
    Run(Run),
    /// Print a container's state as JSON
    State { id: String },
    /// Send a signal to a container's first process
    Kill(Kill),
    /// Remove a container that does not run
    Delete(Delete),
    /// Run another process in a container
    Exec(Exec),
    /// Pause a container
    Pause { id: String },
    /// Let a paused container go on
    Resume { id: String },
    /// Change a running container's limits
    Update(Update),
    /// List a container's processes
    Ps(Ps),
    /// List the containers
    List(List),
    /// Write a config.json to begin with
    Spec(Spec),
    /// Print what this runtime can do as JSON
    Features,
    /// Stand for the agent of one container: `create` starts this
    #[command(hide = true)]
    Monitor { id: String },
}

/// Options of `create`.
#[derive(Args)]
pub struct Create {
    /// Name of the new container
    pub id: String,
    /// Directory with config.json
    #[arg(short, long, default_value = ".")]
    pub bundle: PathBuf,
    /// Write the pid of the first process here
    #[arg(long)]
    pub pid_file: Option<PathBuf>,
    /// Send the terminal to this socket
    #[arg(long)]
    pub console_socket: Option<PathBuf>,
}

/// Options of `run`.
#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    pub create: Create,
    /// Do not wait for the end
    #[arg(short, long)]
    pub detach: bool,
    /// Keep the container after its end
    #[arg(long)]
    pub keep: bool,
}

/// Options of `kill`.
#[derive(Args)]
pub struct Kill {
    /// Container
    pub id: String,
    /// Name or number
    #[arg(default_value = "SIGTERM")]
    pub signal: String,
    /// Send it to every process
    #[arg(short, long)]
    pub all: bool,
}

/// Options of `delete`.
#[derive(Args)]
pub struct Delete {
    /// Container
    pub id: String,
    /// Kill it first, and do not mind when there is none
    #[arg(short, long)]
    pub force: bool,
}

/// Options of `exec`.
#[derive(Args)]
pub struct Exec {
    /// Container
    pub id: String,
    /// Command and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
    /// Read the process from this file instead
    #[arg(short, long)]
    pub process: Option<PathBuf>,
    /// Added to the environment, NAME=value
    #[arg(short, long)]
    pub env: Vec<String>,
    /// Where it begins
    #[arg(long)]
    pub cwd: Option<String>,
    /// Whom it runs as, `USER[:GROUP]`
    #[arg(short, long)]
    pub user: Option<String>,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Send the terminal to this socket
    #[arg(long)]
    pub console_socket: Option<PathBuf>,
    /// Do not wait for the end
    #[arg(short, long)]
    pub detach: bool,
    /// Set by the shim itself: say on standard input that the process runs
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// Options of `update`.
#[derive(Args)]
pub struct Update {
    /// Container
    pub id: String,
    /// Read limits from a file, `-` is standard input
    #[arg(short, long)]
    pub resources: Option<PathBuf>,
    /// Most processes
    #[arg(long, allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// Memory in bytes
    #[arg(long, allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// Microseconds of a processor in each period
    #[arg(long, allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,
    /// Length of a period in microseconds
    #[arg(long)]
    pub cpu_period: Option<u64>,
}

/// Options of `ps`.
#[derive(Args)]
pub struct Ps {
    /// Container
    pub id: String,
    /// `table` or `json`
    #[arg(short, long, default_value = "table")]
    pub format: String,
    /// Arguments for ps
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

/// Options of `list`.
#[derive(Args)]
pub struct List {
    /// Only names
    #[arg(short, long)]
    pub quiet: bool,
    /// `table` or `json`
    #[arg(short, long, default_value = "table")]
    pub format: String,
}

/// Options of `spec`.
#[derive(Args)]
pub struct Spec {
    /// Where to write it
    #[arg(short, long, default_value = ".")]
    pub bundle: PathBuf,
}

/// Does what the command line asks; the code to end with.
///
/// # Errors
/// What could not be done.
pub fn run() -> Result<ExitCode> {
    let cli = Cli::parse();
    let done = |result: Result<()>| result.map(|()| ExitCode::SUCCESS);
    match cli.verb {
        Verb::Spec(options) => return done(spec::write(&options.bundle)),
        Verb::Features => return done(report::features()),
        _ => {}
    }
    let node = Node::at(&cli.root)?;
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio.block_on(async {
        match &cli.verb {
            Verb::Create(options) => done(lifecycle::create(&node, options).await),
            Verb::Start { id } => done(lifecycle::start(&node, id).await),
            Verb::Run(options) => lifecycle::run(&node, options).await,
            Verb::State { id } => done(report::state(&node, id).await),
            Verb::Kill(options) => done(lifecycle::kill(&node, options).await),
            Verb::Delete(options) => done(lifecycle::delete(&node, options).await),
            Verb::Exec(options) => exec::run(&node, options).await,
            Verb::Pause { id } => done(lifecycle::pause(&node, id).await),
            Verb::Resume { id } => done(lifecycle::resume(&node, id).await),
            Verb::Update(options) => done(lifecycle::update(&node, options).await),
            Verb::Ps(options) => done(report::processes(&node, options)),
            Verb::List(options) => done(report::list(&node, options).await),
            Verb::Monitor { id } => done(monitor::run(&node, id).await),
            Verb::Spec(_) | Verb::Features => unreachable!("done above"),
        }
    })
}
