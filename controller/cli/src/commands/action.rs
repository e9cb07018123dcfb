//! `roost action …`: what a person decides in `mode: recommend`.

use reqwest::Method;
use roost_types::Action;

use super::instance::word;
use crate::args::ActionCommand;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Columns, Style, print};
use crate::time;

/// Runs a verb on actions.
pub async fn run(client: &Client, style: Style, command: ActionCommand) -> Result<(), CliError> {
    match command {
        ActionCommand::List => list(client, style).await,
        ActionCommand::Approve { action } => {
            client.act(Method::POST, &format!("/v1/actions/{}/approve", segment(&action))).await?;
            print(&format!("{action}\n"))
        }
    }
}

async fn list(client: &Client, style: Style) -> Result<(), CliError> {
    let actions: Vec<Action> = client.list("/v1/actions").await?;
    let now = time::now();
    let row = |action: &Action| {
        let age = time::age(now.since(action.proposed_at).as_secs());
        vec![action.id.to_string(), word(&action.kind), age, action.message.clone()]
    };
    let headings = ["ID", "KIND", "AGE", "WHAT AND WHY"];
    print(&style.list(&actions, &Columns { headings: &headings, row: &row, name: &|action| action.id.to_string() })?)
}
