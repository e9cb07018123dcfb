//! `snapshot …`.

use clap::Subcommand;

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
