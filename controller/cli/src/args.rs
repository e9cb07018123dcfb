//! The command line: every verb; the flags of each are in the module of its noun.

mod action;
mod alert;
mod dev;
mod file;
mod hub;
mod image;
mod instance;
mod limits;
mod node;
mod operation;
mod snapshot;
mod values;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

pub use self::action::ActionCommand;
pub use self::alert::AlertCommand;
pub use self::dev::{DevAction, DevArgs, DevStart, Fans, Plug};
pub use self::file::{CpArgs, FileCommand};
pub use self::hub::{Board, FlashArgs, HubCommand};
pub use self::image::{ImageCommand, ImportArgs};
pub use self::instance::{ExecArgs, LaunchArgs, ManyArgs, ResizeArgs, StopArgs};
pub use self::node::NodeCommand;
pub use self::operation::OperationCommand;
pub use self::snapshot::SnapshotCommand;

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
    /// What a person must look at, and whether people are told.
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Actions against heat that wait for a person.
    #[command(subcommand)]
    Action(ActionCommand),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use roost_types::Size;

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
            "roost alert ack",
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
            "roost alert ls --all",
            "roost alert ack node/n03 -m seen",
            "roost alert test ops",
            "roost completions bash",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }
}
