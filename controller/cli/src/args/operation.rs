//! `operation …`.

use clap::Subcommand;

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
