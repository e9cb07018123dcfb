//! `node …`.

use clap::{Subcommand, ValueEnum};
use roost_types::PowerAction;

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
        /// Switch on although water may condense on the board.
        #[arg(long)]
        despite_condensation: bool,
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
