//! `alert …`.

use clap::Subcommand;

/// `alert …`.
#[derive(Subcommand, Debug)]
pub enum AlertCommand {
    /// List alerts that fire.
    #[command(visible_alias = "ls")]
    List {
        /// Those that are over, too.
        #[arg(short, long)]
        all: bool,
    },
    /// Show an alert, and who was told of it.
    Info {
        /// Id, or the key of one that fires (`node/n03`).
        alert: String,
    },
    /// Say that you have seen alerts: nobody is reminded of them any more.
    #[command(visible_alias = "acknowledge")]
    Ack {
        /// Ids, or keys of those that fire.
        #[arg(required = true)]
        alerts: Vec<String>,
        /// Who you are; the user's name when not said.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// What others should know.
        #[arg(short = 'm', long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Send a test message to those who are told of alerts, and say what comes of it.
    Test {
        /// Only to this one of `alerts.yaml`.
        receiver: Option<String>,
    },
}
