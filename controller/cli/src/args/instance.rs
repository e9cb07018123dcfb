//! Verbs on instances: launch, resize, stop, exec and those on several at once.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use roost_types::{Publish, RestartPolicy, Size, SnapshotSource};

use super::limits::LimitArgs;
use super::values::{parse_bytes, parse_pair, parse_run_as, parse_source};

/// `launch`.
#[derive(Args, Debug)]
pub struct LaunchArgs {
    /// Image: an alias or digest. With --from, the new instance's name.
    #[arg(required_unless_present = "from")]
    pub image: Option<String>,
    /// Name; made from the image's when absent.
    #[arg(conflicts_with = "from")]
    pub name: Option<String>,
    /// Begin with the files, image, size, command and environment of a snapshot.
    #[arg(long, value_name = "NAME/SNAPSHOT", value_parser = parse_source)]
    pub from: Option<SnapshotSource>,
    /// Named amount of cpu and memory.
    #[arg(long, conflicts_with_all = ["cpu_millis", "memory"])]
    pub size: Option<Size>,
    /// Thousandths of a core.
    #[arg(long, requires = "memory")]
    pub cpu_millis: Option<u32>,
    /// Memory limit, for example 96M or 1G.
    #[arg(long, requires = "cpu_millis", value_parser = parse_bytes)]
    pub memory: Option<u64>,
    /// Disk limit of what it writes, for example 500M or 2G; only boards that can enforce it are chosen then.
    #[arg(long, value_parser = parse_bytes)]
    pub disk: Option<u64>,
    /// Limits beside those.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Publish a port: [HOST_IP:]HOST:CONTAINER[/udp].
    #[arg(short, long, value_name = "PORTS")]
    pub publish: Vec<Publish>,
    /// Put it on the board's LAN, where it asks for its address by DHCP, instead of the instances' network.
    #[arg(long, conflicts_with = "publish")]
    pub lan: bool,
    /// Set an environment variable.
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub env: Vec<(String, String)>,
    /// Attach a label.
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub label: Vec<(String, String)>,
    /// What to do when the first process ends.
    #[arg(long, value_enum)]
    pub restart: Option<Restart>,
    /// How important it is, -100 to 100: where heat becomes critical, the least important stops first.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i8,
    /// Place it on this node only.
    #[arg(long)]
    pub node: Option<String>,
    /// User data for the first start: for cloud-init, or a script that begins with #!; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
    /// Let the public SSH keys of this file log in.
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Vec<PathBuf>,
    /// Project: instances of one reach each other, those of another only by published ports.
    #[arg(long)]
    pub project: Option<String>,
    /// Do not wait until it runs.
    #[arg(long)]
    pub no_wait: bool,
    /// Command to run instead of the image's own.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// The flags of [`LimitArgs`]: one of them is enough to change something.
const LIMITS: [&str; 8] =
    ["memory_high", "swap", "cpu_weight", "io_weight", "io_read", "io_write", "io_reads", "io_writes"];

/// `roost resize`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("amount").required(true).multiple(true).args(LIMITS))]
pub struct ResizeArgs {
    /// Name or id.
    pub instance: String,
    /// Named amount of cpu and memory.
    #[arg(long, group = "amount", conflicts_with_all = ["cpu_millis", "memory"])]
    pub size: Option<Size>,
    /// Thousandths of a core.
    #[arg(long, group = "amount")]
    pub cpu_millis: Option<u32>,
    /// Memory limit, for example 96M or 1G.
    #[arg(long, group = "amount", value_parser = parse_bytes)]
    pub memory: Option<u64>,
    /// Disk limit of what it writes, for example 500M or 2G.
    #[arg(long, group = "amount", value_parser = parse_bytes)]
    pub disk: Option<u64>,
    /// Limits beside those.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Restart policies, as flags spell them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Restart {
    /// Always.
    Always,
    /// Unless it ended with status 0.
    OnFailure,
    /// Never.
    Never,
}

impl From<Restart> for RestartPolicy {
    fn from(restart: Restart) -> Self {
        match restart {
            Restart::Always => Self::Always,
            Restart::OnFailure => Self::OnFailure,
            Restart::Never => Self::Never,
        }
    }
}

/// Verbs on several instances.
#[derive(Args, Debug)]
pub struct ManyArgs {
    /// Names or ids.
    #[arg(required = true)]
    pub instances: Vec<String>,
    /// Do not wait until it is done.
    #[arg(long)]
    pub no_wait: bool,
}

/// `stop`.
#[derive(Args, Debug)]
pub struct StopArgs {
    /// Which.
    #[command(flatten)]
    pub many: ManyArgs,
    /// Seconds an instance may take to end by itself before it is killed; 10 when absent.
    #[arg(short, long = "timeout", value_name = "SECONDS")]
    pub timeout_seconds: Option<u32>,
}

/// `exec`.
#[derive(Args, Debug)]
pub struct ExecArgs {
    /// Send standard input to the command.
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the command a terminal.
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Set an environment variable for the command.
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub env: Vec<(String, String)>,
    /// Run it as this user, by name in the instance or number; as the instance's own command when absent.
    #[arg(short, long, value_name = "USER[:GROUP]", value_parser = parse_run_as)]
    pub user: Option<String>,
    /// Begin in this directory of the instance.
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Name or id.
    pub instance: String,
    /// Command and arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
