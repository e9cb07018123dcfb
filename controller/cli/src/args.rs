//! The command line: every verb and flag.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use roost_types::{Arch, Name, PowerAction, Publish, RestartPolicy, Size, SnapshotSource};

use crate::output::{Format, Style};

/// Turns a rack of ARM boards into a container cloud.
#[derive(Parser, Debug)]
#[command(
    name = "roost",
    version,
    about,
    propagate_version = true,
    after_help = "Exit status: 0 done, 1 failed, 2 wrong usage; `roost exec` \
returns the command's own status.\n`roost controller …` and `roost agent …` run those programs."
)]
pub struct Cli {
    /// Context file: which controller, and the token for it.
    #[arg(long, global = true, env = "ROOST_CONTEXT", value_name = "FILE")]
    pub context: Option<PathBuf>,
    /// How results are printed.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Format,
    /// Print names or ids only, and no progress.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print no heading row.
    #[arg(long, global = true)]
    pub no_headers: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The choices about output.
    #[must_use]
    pub fn style(&self) -> Style {
        Style { format: self.output, quiet: self.quiet, no_headers: self.no_headers }
    }
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Launch an instance.
    #[command(visible_alias = "run")]
    Launch(Box<LaunchArgs>),
    /// List instances.
    #[command(visible_aliases = ["ls", "ps"])]
    List {
        /// Only those whose name, node or state contains this.
        filter: Option<String>,
        /// Only those of this project.
        #[arg(long)]
        project: Option<String>,
    },
    /// Show everything about an instance.
    #[command(visible_alias = "inspect")]
    Info {
        /// Name (`NAME.PROJECT` outside the default project) or id.
        instance: String,
    },
    /// Start stopped instances.
    Start(ManyArgs),
    /// Stop instances; their data is kept.
    Stop(StopArgs),
    /// Stop and start instances.
    Restart(ManyArgs),
    /// Delete instances and their data.
    #[command(visible_alias = "rm")]
    Delete(ManyArgs),
    /// Give an instance another name.
    Rename {
        /// Name or id.
        instance: String,
        /// The new name.
        new: String,
    },
    /// The files of an instance as they were at one moment.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Run a command in an instance.
    Exec(ExecArgs),
    /// Attach to an instance's console; Ctrl-a q detaches.
    Console {
        /// Name or id.
        instance: String,
        /// Show the last N lines of its log first.
        #[arg(short, long, value_name = "N", default_value_t = 100)]
        scrollback: u32,
    },
    /// Copy files and directories between here and an instance.
    Cp(CpArgs),
    /// Files of an instance.
    #[command(subcommand)]
    File(FileCommand),
    /// Show what an instance's first process wrote.
    Logs {
        /// Name or id.
        instance: String,
        /// Keep showing new lines.
        #[arg(short, long)]
        follow: bool,
        /// Only the last N lines.
        #[arg(short = 'n', long, value_name = "N")]
        tail: Option<u32>,
    },
    /// Show what instances use: processor, memory, network, disks.
    Stats {
        /// Names or ids; all that run when none is named.
        instances: Vec<String>,
        /// Show it again every second.
        #[arg(short, long)]
        watch: bool,
    },
    /// Say why an instance runs where it runs, or why it waits.
    Why {
        /// Name or id.
        instance: String,
    },
    /// Move an instance to another node.
    Move {
        /// Name or id.
        instance: String,
        /// The node; the best one when none is named.
        #[arg(long)]
        to: Option<String>,
        /// Do not wait until it runs there.
        #[arg(long)]
        no_wait: bool,
    },
    /// Give an instance more or less while it runs.
    Resize(ResizeArgs),
    /// Draw the rack: boards, temperatures, humidity.
    Rack {
        /// Redraw once a second.
        #[arg(short, long)]
        watch: bool,
    },
    /// Boards.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Arduinos and their serial lines.
    #[command(subcommand)]
    Hub(HubCommand),
    /// Images.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Show what happened.
    #[command(visible_alias = "events")]
    Event {
        /// Keep showing what happens.
        #[arg(short, long)]
        follow: bool,
        /// Begin after this number.
        #[arg(long, value_name = "ID")]
        after: Option<u64>,
    },
    /// Receipts of slow work.
    #[command(subcommand)]
    Operation(OperationCommand),
    /// Run a rack in a box: a controller, simulated boards with real containers, an Arduino in a simulator.
    Dev(DevArgs),
    /// Print a completion script.
    Completions {
        /// For this shell.
        shell: Shell,
    },
}

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

/// `roost resize`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("amount").required(true).multiple(true))]
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
    /// Name or id.
    pub instance: String,
    /// Command and arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `cp`.
#[derive(Args, Debug)]
#[command(
    after_help = "A directory is copied into a DEST that is there, or becomes a DEST that is not; SOURCE/. copies \
what is in it.\n`-` as DEST writes a tar archive to standard output; `-` as SOURCE unpacks one from standard input into \
the directory DEST."
)]
pub struct CpArgs {
    /// What to copy: INSTANCE:PATH, a path here, or - for a tar archive on standard input.
    pub source: String,
    /// Where to: INSTANCE:PATH, a path here, or - for a tar archive on standard output.
    #[arg(value_name = "DEST")]
    pub destination: String,
    /// Keep owners (into an instance files belong to its root otherwise).
    #[arg(short, long)]
    pub archive: bool,
    /// Follow SOURCE when it is a symbolic link.
    #[arg(short = 'L', long)]
    pub follow_link: bool,
}

/// `file …`.
#[derive(Subcommand, Debug)]
pub enum FileCommand {
    /// List a directory, or tell what a file is.
    #[command(visible_alias = "ls")]
    List {
        /// INSTANCE:PATH.
        place: String,
    },
    /// Delete files.
    #[command(visible_alias = "rm")]
    Delete {
        /// INSTANCE:PATH.
        #[arg(required = true)]
        places: Vec<String>,
        /// Directories with everything below them.
        #[arg(short, long)]
        recursive: bool,
    },
    /// Make a directory.
    Mkdir {
        /// INSTANCE:PATH.
        place: String,
        /// Make those above it where they lack; one that is there already is no error.
        #[arg(short, long)]
        parents: bool,
        /// Its mode in octal digits.
        #[arg(short, long, value_name = "MODE")]
        mode: Option<String>,
    },
}

/// `snapshot …`.
#[derive(Subcommand, Debug)]
pub enum SnapshotCommand {
    /// Keep the files of an instance as they are now; one that runs is paused meanwhile.
    Create {
        /// Name or id of the instance.
        instance: String,
        /// Name of the snapshot; s1, s2 and so on when absent.
        name: Option<String>,
        /// Do not wait until it is made.
        #[arg(long)]
        no_wait: bool,
    },
    /// List the snapshots of an instance.
    #[command(visible_alias = "ls")]
    List {
        /// Name or id of the instance.
        instance: String,
    },
    /// Put the files of an instance back to those of a snapshot; one that runs is stopped before and started after.
    Restore {
        /// Name or id of the instance.
        instance: String,
        /// Name or id of the snapshot.
        snapshot: String,
        /// Do not wait until it is done.
        #[arg(long)]
        no_wait: bool,
    },
    /// Delete a snapshot.
    #[command(visible_alias = "rm")]
    Delete {
        /// Name or id of the instance.
        instance: String,
        /// Name or id of the snapshot.
        snapshot: String,
        /// Do not wait until nothing of it is left.
        #[arg(long)]
        no_wait: bool,
    },
}

/// `node …`.
#[derive(Subcommand, Debug)]
pub enum NodeCommand {
    /// List boards.
    #[command(visible_alias = "ls")]
    List,
    /// Show everything about a board.
    Info {
        /// Name or id.
        node: String,
    },
    /// Place nothing new on a board.
    Cordon {
        /// Name or id.
        node: String,
    },
    /// Let a board be used again.
    Uncordon {
        /// Name or id.
        node: String,
    },
    /// Empty a board.
    Drain {
        /// Name or id.
        node: String,
        /// Do not wait until it is empty.
        #[arg(long)]
        no_wait: bool,
    },
    /// Switch a board's power.
    Power {
        /// Name or id.
        node: String,
        /// What to do.
        #[arg(value_enum)]
        action: Power,
    },
}

/// Power actions, as arguments spell them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Power {
    /// Switch on.
    On,
    /// Cut.
    Off,
    /// Cut, then switch on.
    Cycle,
}

impl From<Power> for PowerAction {
    fn from(power: Power) -> Self {
        match power {
            Power::On => Self::On,
            Power::Off => Self::Off,
            Power::Cycle => Self::Cycle,
        }
    }
}

/// `hub …`.
#[derive(Subcommand, Debug)]
pub enum HubCommand {
    /// List hubs and the counters of their lines.
    #[command(visible_alias = "ls")]
    List,
    /// Write the firmware into an Arduino with avrdude.
    Flash(FlashArgs),
}

/// `hub flash`.
#[derive(Args, Debug)]
pub struct FlashArgs {
    /// The Arduino's serial port, for example /dev/ttyACM0.
    #[arg(long, value_name = "PATH")]
    pub port: PathBuf,
    /// Which Arduino it is.
    #[arg(long, value_enum, default_value_t)]
    pub board: Board,
    /// Write this file instead of building the firmware that this program carries.
    #[arg(long, value_name = "FILE")]
    pub hex: Option<PathBuf>,
    /// Print the command and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Arduinos that can be a hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Board {
    /// Uno.
    #[default]
    Uno,
    /// Nano with the boot loader it has had since 2018.
    Nano,
    /// Nano with the older, slower boot loader, as many copies have it.
    NanoOld,
    /// Mega 2560.
    Mega,
}

/// `image import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// A root file system tarball, an OCI image layout (directory or tar), a `docker save` archive, `https://…`, or
    /// `docker://[HOST/]NAME[:TAG]`.
    pub source: String,
    /// Alias that will stand for it; made from the source's name when absent.
    pub alias: Option<String>,
    /// For nodes of this kind: armhf, arm64 or amd64.
    #[arg(long, value_parser = parse_arch)]
    pub arch: Option<Arch>,
    /// Which image of an archive with several.
    #[arg(long)]
    pub tag: Option<String>,
    /// SHA-256 of what is at the URL.
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<String>,
    /// One line for people.
    #[arg(long, default_value = "")]
    pub description: String,
    /// Do not wait until it is there.
    #[arg(long)]
    pub no_wait: bool,
}

/// `image …`.
#[derive(Subcommand, Debug)]
pub enum ImageCommand {
    /// List images.
    #[command(visible_alias = "ls")]
    List,
    /// Build an image from one of Roost's recipes and store it.
    Build {
        /// Recipe.
        name: String,
        /// Leave the root file here instead of storing it.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Make an image of an archive, a directory, a URL or an image in a registry.
    Import(ImportArgs),
    /// Delete an image.
    #[command(visible_alias = "rm")]
    Delete {
        /// Alias or digest.
        image: String,
    },
}

/// `operation …`.
#[derive(Subcommand, Debug)]
pub enum OperationCommand {
    /// List operations.
    #[command(visible_alias = "ls")]
    List,
    /// Show an operation.
    Info {
        /// Id.
        operation: String,
    },
    /// Give an operation up.
    Cancel {
        /// Id.
        operation: String,
    },
    /// Wait for an operation.
    Wait {
        /// Id.
        operation: String,
    },
}

/// `dev`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DevArgs {
    /// Act on the running rack instead of starting one.
    #[command(subcommand)]
    pub action: Option<DevAction>,
    /// Flags of a start.
    #[command(flatten)]
    pub start: DevStart,
}

/// Flags of `roost dev`.
#[derive(Args, Clone, Debug)]
pub struct DevStart {
    /// Number of boards.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub rack: u16,
    /// Where state is kept; `$XDG_STATE_HOME/roost/dev` when absent.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Where API and dashboard listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700")]
    pub listen: SocketAddr,
    /// Name what the machine lacks instead of installing it.
    #[arg(long)]
    pub no_install: bool,
    /// Divide the time a thermal state must hold by this, so that hysteresis is seen in seconds.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub time_scale: u32,
    /// Remove everything a rack with this state directory left, its state too, and end.
    #[arg(long)]
    pub clean: bool,
}

/// What can be done to a running rack in a box.
#[derive(Subcommand, Debug)]
pub enum DevAction {
    /// Hold the air at a zone's inlet at a temperature.
    Heat {
        /// Zone.
        zone: Name,
        /// Temperature in °C, -40 to 125.
        #[arg(required_unless_present = "release", conflicts_with = "release", allow_negative_numbers = true)]
        celsius: Option<f64>,
        /// Let the heat model decide again.
        #[arg(long)]
        release: bool,
        /// Relative humidity in percent.
        #[arg(long, conflicts_with = "release")]
        humidity: Option<f64>,
    },
    /// Stop the fans of a zone's shelf, or let them turn again.
    Fans {
        /// Zone.
        zone: Name,
        /// What to do.
        #[arg(value_enum)]
        action: Fans,
    },
    /// Set the room's temperature.
    Room {
        /// Temperature in °C, 0 to 60.
        celsius: f64,
    },
    /// Pull the hub's plug, or put it back.
    Hub {
        /// What to do.
        #[arg(value_enum)]
        action: Plug,
    },
    /// Send text down the hub's line as if the firmware had.
    Noise {
        /// The text.
        text: String,
    },
    /// Show the state of the box.
    Status,
}

/// The fans of a shelf.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Fans {
    /// Stop them.
    Stop,
    /// Let them turn.
    Run,
}

/// The hub's plug.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Plug {
    /// Put it in.
    Plug,
    /// Pull it.
    Unplug,
}

/// `KEY=VALUE`.
fn parse_arch(text: &str) -> Result<Arch, String> {
    match text {
        "armhf" => Ok(Arch::Armhf),
        "arm64" => Ok(Arch::Arm64),
        "amd64" => Ok(Arch::Amd64),
        _ => Err(format!("'{text}' is not armhf, arm64 or amd64")),
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}

/// `NAME/SNAPSHOT`.
fn parse_source(text: &str) -> Result<SnapshotSource, String> {
    match text.split_once('/') {
        Some((instance, snapshot)) if !instance.is_empty() && !snapshot.is_empty() => {
            Ok(SnapshotSource { instance: instance.to_owned(), snapshot: snapshot.to_owned() })
        }
        _ => Err(format!("'{text}' is not NAME/SNAPSHOT")),
    }
}

/// Bytes with an optional binary unit: `96M`, `1G`, `512MiB`, `1048576`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return Err(format!("'{text}' is not an amount of bytes: use K, M or G, for example 96M")),
    };
    let number: u64 = number.parse().map_err(|_| format!("'{text}' does not begin with a number"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is too large"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn launch_takes_everything_of_the_issue() {
        let cli =
            parse("roost launch busybox web --size nano --publish 18080:80 --env A=b=c -- httpd -f -p 80").unwrap();
        let Command::Launch(launch) = cli.command else { panic!("not launch") };
        assert_eq!(
            (launch.image.as_deref(), launch.name.as_deref(), launch.size),
            (Some("busybox"), Some("web"), Some(Size::Nano))
        );
        assert_eq!(launch.publish, ["18080:80".parse().unwrap()]);
        assert_eq!(launch.env, [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(launch.command, ["httpd", "-f", "-p", "80"]);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "roost launch",
            "roost launch busybox --size huge",
            "roost launch busybox --size nano --cpu-millis 100 --memory 8M",
            "roost launch busybox --cpu-millis 100",
            "roost launch busybox --publish 80",
            "roost launch busybox --env NOVALUE",
            "roost launch --from web",
            "roost launch --from web/s1 one two",
            "roost rename web",
            "roost snapshot create",
            "roost exec web",
            "roost stop",
            "roost dev --rack 0",
            "roost dev --time-scale 0",
            "roost dev heat shelf-1",
            "roost dev heat shelf-1 41 --release",
            "roost dev --rack 2 heat shelf-1 41",
            "roost node power n01 explode",
            "roost hub flash",
            "roost hub flash --port /dev/ttyACM0 --board due",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_right_usage_is_taken() {
        for line in [
            "roost dev",
            "roost dev --rack 1 --no-install --state /tmp/x --listen 127.0.0.1:7711",
            "roost dev heat shelf-1 -5",
            "roost dev heat shelf-1 --release",
            "roost dev hub unplug",
            "roost exec -it web -- sh -c ls",
            "roost logs -f --tail 10 web",
            "roost ps -o yaml",
            "roost rm a b c",
            "roost stop -t 60 web",
            "roost launch --from web/s1 copy",
            "roost rename web shop",
            "roost snapshot create web before-upgrade",
            "roost snapshot ls web",
            "roost hub flash --port /dev/ttyACM0",
            "roost hub flash --port /dev/ttyUSB0 --board nano-old --dry-run",
            "roost completions bash",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn amounts_of_memory() {
        for (text, bytes) in
            [("8388608", 8 << 20), ("96M", 96 << 20), ("512MiB", 512 << 20), ("1G", 1 << 30), ("4kB", 4096)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "M", "1X", "-1", "1.5G", "99999999999999999999", "18446744073709551615G"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
