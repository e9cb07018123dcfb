//! The one entrance: a command in, a decision out.

mod hubs;
mod images;
mod instances;
mod nodes;
mod operations;
mod resize;
mod snapshots;
mod sync;
mod tick;

use roost_types::{EventKind, Problem};

pub(crate) use instances::{resource as instance_resource, subject as instance_subject};
pub(crate) use nodes::{end_drain, resource as node_resource, subject as node_subject};

use crate::cluster::Cluster;
use crate::command::{Command, Context, Reply};
use crate::draft::Draft;
use crate::row::Change;
use crate::{actions, alerts, relays, swarm};

/// What was decided: nothing of it has happened yet.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Rows to make durable, in order. Empty when only live state changed.
    pub changes: Vec<Change>,
    /// What the caller is told once they are durable.
    pub reply: Reply,
    /// The state after it, which the next command is decided on. `apply`ing the changes to the old state gives the
    /// same durable state.
    pub cluster: Cluster,
}

/// Decides one command. Pure: the same cluster, command and context give the same decision.
///
/// # Errors
/// A problem for the caller; then nothing changes.
pub fn decide(cluster: &Cluster, command: &Command, context: &Context) -> Result<Decision, Problem> {
    let mut draft = Draft::new(cluster, context);
    let reply = execute(&mut draft, command)?;
    Ok(Decision { changes: draft.changes, reply, cluster: draft.cluster })
}

fn execute(draft: &mut Draft, command: &Command) -> Result<Reply, Problem> {
    match command {
        Command::Started { version } => {
            draft.event(EventKind::ControllerStarted, "/v1/", format!("controller {version} started"));
            images::abandon_imports(draft);
            nodes::abandon_power(draft);
            alerts::abandon(draft);
            Ok(Reply::Done)
        }
        Command::Tick => {
            tick::tick(draft);
            Ok(Reply::Done)
        }
        Command::CreateInstance { request, idempotency } => instances::create(draft, request, idempotency.as_ref()),
        Command::PatchInstance { instance, patch, if_match } => instances::patch(draft, instance, patch, *if_match),
        Command::StartInstance { instance } => instances::start(draft, instance),
        Command::StopInstance { instance, timeout_seconds } => instances::stop(draft, instance, *timeout_seconds),
        Command::RestartInstance { instance } => instances::restart(draft, instance),
        Command::DeleteInstance { instance } => instances::delete(draft, instance),
        Command::MoveInstance { instance, to } => instances::move_to(draft, instance, to.as_deref()),
        Command::CreateSnapshot { instance, name } => snapshots::create(draft, instance, name.as_deref()),
        Command::RestoreSnapshot { instance, snapshot } => snapshots::restore(draft, instance, snapshot),
        Command::DeleteSnapshot { instance, snapshot } => snapshots::delete(draft, instance, snapshot),
        Command::CancelOperation { operation } => operations::cancel(draft, *operation),
        Command::RegisterNode { name } => nodes::register(draft, name),
        Command::PatchNode { node, patch, if_match } => nodes::patch(draft, node, patch, *if_match),
        Command::DrainNode { node } => nodes::drain(draft, node),
        Command::DeleteNode { node } => nodes::delete(draft, node),
        Command::BeginPower { node, action, despite_condensation } => {
            nodes::begin_power(draft, node, *action, *despite_condensation)
        }
        Command::FinishPower { operation, node, action, outcome } => {
            nodes::finish_power(draft, *operation, *node, *action, outcome.as_ref().copied().map_err(String::as_str));
            Ok(Reply::Done)
        }
        Command::SwitchRelay { node, on } => relays::switch(draft, node, *on),
        Command::Sync { node, request } => sync::sync(draft, *node, request),
        Command::HubReport { hub, news } => hubs::report(draft, hub, news),
        Command::HubLost { hub, reason } => hubs::lost(draft, hub, reason),
        Command::AddImage { image } => Ok(images::add(draft, image)),
        Command::BeginImport { alias } => Ok(images::begin_import(draft, alias)),
        Command::ImportProgress { operation, progress } => Ok(images::progress(draft, *operation, progress)),
        Command::FinishImport { operation, outcome } => {
            images::finish_import(draft, *operation, outcome.as_deref().map_err(Clone::clone))
        }
        Command::DeleteImage { image } => images::delete(draft, image),
        Command::ApproveAction { action } => actions::approve(draft, *action),
        Command::AskImageSource { node, image, failed, ticket_sha256 } => {
            swarm::ask(draft, *node, image, failed, ticket_sha256)
        }
        Command::AcknowledgeAlert { alert, said } => alerts::acknowledge(draft, alert, said),
        Command::FinishNotice { notice, outcome } => {
            alerts::finish(draft, *notice, outcome);
            Ok(Reply::Done)
        }
    }
}
