//! `hub …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

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
