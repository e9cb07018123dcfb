//! The verbs, one file per noun.

mod action;
mod alert;
mod console;
mod copy;
mod dev_action;
mod event;
mod exec;
mod file;
mod flash;
mod hub;
mod image;
mod image_import;
mod instance;
mod launch;
mod logs;
mod node;
mod operation;
mod rack;
mod snapshot;
mod stats;
mod stream;
mod terminal;
mod why;

use std::process::ExitCode;

use clap::CommandFactory;
pub use image::upload;
use roost_types::{Operation, OperationStatus};

use crate::args::{Cli, Command, HubCommand};
use crate::client::Client;
use crate::error::CliError;
use crate::output::Style;
use crate::progress::Step;
use crate::{context, dev};

/// Runs the verb of a command line.
///
/// # Errors
/// What went wrong, to be shown to the user.
pub fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CliError::step("starting the event loop", e))?;
    let style = cli.style();
    let named = cli.context.clone();
    let client = || Client::new(context::load(named.as_deref())?);
    runtime.block_on(async {
        match cli.command {
            Command::Launch(args) => launch::launch(&client()?, style, *args).await,
            Command::List { filter, project } => {
                instance::list(&client()?, style, filter.as_deref(), project.as_deref()).await
            }
            Command::Info { instance } => instance::info(&client()?, style, &instance).await,
            Command::Start(args) => instance::change_many(&client()?, style, instance::Verb::Start, args).await,
            Command::Stop(args) => {
                let verb = instance::Verb::Stop { timeout_seconds: args.timeout_seconds };
                instance::change_many(&client()?, style, verb, args.many).await
            }
            Command::Restart(args) => instance::change_many(&client()?, style, instance::Verb::Restart, args).await,
            Command::Delete(args) => instance::change_many(&client()?, style, instance::Verb::Delete, args).await,
            Command::Move { instance, to, no_wait } => {
                instance::relocate(&client()?, style, &instance, to, no_wait).await
            }
            Command::Resize(args) => instance::resize(&client()?, style, &args).await,
            Command::Rename { instance, new } => instance::rename(&client()?, style, &instance, &new).await,
            Command::Snapshot(command) => snapshot::run(&client()?, style, command).await,
            Command::Exec(args) => return exec::exec(&client()?, args).await,
            Command::Console { instance, scrollback } => {
                return console::console(&client()?, &instance, scrollback).await;
            }
            Command::Cp(args) => copy::copy(&client()?, style, args).await,
            Command::File(command) => file::run(&client()?, style, command).await,
            Command::Logs { instance, follow, tail } => logs::logs(&client()?, &instance, follow, tail).await,
            Command::Stats { instances, watch } => stats::stats(&client()?, style, &instances, watch).await,
            Command::Why { instance } => why::why(&client()?, style, &instance).await,
            Command::Rack { watch } => rack::rack(&client()?, style, watch).await,
            Command::Node(command) => node::run(&client()?, style, command).await,
            Command::Hub(HubCommand::List) => hub::list(&client()?, style).await,
            Command::Hub(HubCommand::Flash(args)) => flash::flash(args).await,
            Command::Image(command) => image::run(client, style, command).await,
            Command::Event { follow, after } => event::events(&client()?, style, follow, after).await,
            Command::Alert(command) => alert::run(&client()?, style, command).await,
            Command::Action(command) => action::run(&client()?, style, command).await,
            Command::Operation(command) => operation::run(&client()?, style, command).await,
            Command::Dev(args) => match args.action {
                Some(action) => dev_action::run(&client()?, style, action).await,
                None => return dev::run(args.start).await,
            },
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "roost", &mut script);
                crate::output::print(&String::from_utf8_lossy(&script))
            }
        }
        .map(|()| ExitCode::SUCCESS)
    })
}

/// Follows an operation, showing how far it is. A failed or cancelled one is an error.
async fn finish(client: &Client, style: Style, operation: Operation, what: &str) -> Result<Operation, CliError> {
    let mut step = Step::begin(what, style.quiet);
    let ended = client
        .follow(operation, |op| {
            let progress = &op.progress;
            let waiting = if op.status == OperationStatus::Pending { ": waiting" } else { "" };
            step.say(if progress.total > 1 {
                format!("{what}{waiting} ({}/{} {})", progress.done, progress.total, progress.unit)
            } else {
                format!("{what}{waiting}")
            });
        })
        .await;
    step.clear();
    let ended = ended?;
    match ended.status {
        OperationStatus::Failed => Err(match ended.error {
            Some(problem) => CliError::Refused(Box::new(problem)),
            None => CliError::step(what, "failed, and the controller does not say why"),
        }),
        OperationStatus::Cancelled => Err(CliError::step(what, "the operation was cancelled")),
        OperationStatus::Pending | OperationStatus::Running | OperationStatus::Succeeded => Ok(ended),
    }
}
