//! `action …`.

use clap::Subcommand;

/// `action …`.
#[derive(Subcommand, Debug)]
pub enum ActionCommand {
    /// List the actions against heat that wait for approval.
    #[command(visible_alias = "ls")]
    List,
    /// Approve an action: it is done now.
    Approve {
        /// Id.
        action: String,
    },
}
