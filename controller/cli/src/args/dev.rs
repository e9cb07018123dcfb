//! `dev`: the flags of a start, and what can be done to a running rack.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use roost_types::Name;

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
    /// Keep instances from what is beyond this machine: no forwarding, no address translation.
    #[arg(long)]
    pub no_nat: bool,
    /// Boards ask the resolvers that this file names for names beyond the rack; this machine's own when absent.
    #[arg(long, value_name = "FILE")]
    pub resolv_conf: Option<PathBuf>,
    /// Divide the time a thermal state must hold by this, so that hysteresis is seen in seconds.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub time_scale: u32,
    /// Propose actions against heat instead of doing them: see `roost action`.
    #[arg(long)]
    pub recommend: bool,
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
