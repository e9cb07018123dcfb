//! Acting on heat: every action is first a value with its reason, then done, or shown to a person who may approve it.
//!
//! ```text
//!  drain, critical ─▶ Step + why ─▶ mode: act ───────▶ execute ─▶ events with the numbers
//!                                   mode: recommend ─▶ proposal ── approved ─▶ execute
//!                                                        └ not planned any more: expires
//! ```
//!
//! Proposals live as long as the controller: what is still of use after a restart is proposed again.

use std::sync::Arc;
use std::time::Duration;

use roost_types::action::ActionKind;
use roost_types::name::reference;
use roost_types::{
    ActingMode, Action, ActionId, Code, EventKind, InstanceId, NodeId, PowerAction, Problem, Severity, Timestamp,
};

use crate::cluster::{Cluster, not_found};
use crate::command::Reply;
use crate::critical;
use crate::decide::{instance_subject, node_subject};
use crate::draft::Draft;
use crate::reconcile;

/// A proposal that was not planned anew for so long is of no use any more: the plan is made four times a second.
const EXPIRES_AFTER: Duration = Duration::from_secs(2);

/// One action against heat.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// An instance leaves a node.
    Move(NodeId, InstanceId),
    /// An instance is halted on its node.
    Halt(NodeId, InstanceId),
    /// A node's power is cut.
    CutPower(NodeId),
}

/// An action that waits for a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    id: ActionId,
    message: String,
    since: Timestamp,
    /// When it was last planned.
    planned: Timestamp,
}

/// Does the step, or proposes it, as the rack's mode says. `why` has the numbers. Says whether something began.
pub fn act(draft: &mut Draft, step: Step, why: &str) -> bool {
    match draft.cluster.config.rack.mode {
        ActingMode::Act => execute(draft, step, why).is_ok(),
        ActingMode::Recommend => {
            propose(draft, step, why);
            false
        }
    }
}

fn execute(draft: &mut Draft, step: Step, why: &str) -> Result<(), Problem> {
    let now = draft.now;
    match step {
        Step::Move(_, instance) => {
            reconcile::begin_move(draft, instance, None, why)?;
            draft.cluster.moved_for_heat = Some(now);
            draft.edit_instance(instance, |row| row.moved_at = Some(now));
        }
        Step::Halt(node, instance) => critical::halt(draft, node, instance, why),
        Step::CutPower(node) => critical::cut_power(draft, node, why),
    }
    Ok(())
}

fn propose(draft: &mut Draft, step: Step, why: &str) {
    let now = draft.now;
    if let Some(known) = draft.cluster.proposals.get_mut(&step) {
        Arc::make_mut(known).planned = now;
        return;
    }
    let Some((_, subject, what)) = describe(&draft.cluster, step) else { return };
    let id = draft.action_id();
    let message = format!("proposed: {what}: {why}");
    draft.fire(&alert_key(id), Severity::Warning, &subject, &message);
    draft.event(EventKind::ActionProposed, subject, message.clone());
    draft.cluster.proposals.insert(step, Arc::new(Proposal { id, message, since: now, planned: now }));
}

/// The alert of a proposal: the dashboard finds the action's id in it.
fn alert_key(id: ActionId) -> String {
    format!("action/{id}")
}

/// Kind and subject of a step, and what it does in words.
fn describe(cluster: &Cluster, step: Step) -> Option<(ActionKind, String, String)> {
    let of_instance = |id: InstanceId| {
        let row = cluster.instances.get(&id)?;
        Some((instance_subject(&row.project, &row.name), reference(&row.project, &row.name)))
    };
    Some(match step {
        Step::Move(node, instance) => {
            let (subject, name) = of_instance(instance)?;
            (ActionKind::Move, subject, format!("move {name} away from {}", cluster.node_name(node)))
        }
        Step::Halt(node, instance) => {
            let (subject, name) = of_instance(instance)?;
            (ActionKind::Halt, subject, format!("halt {name} on {}", cluster.node_name(node)))
        }
        Step::CutPower(node) => {
            let name = cluster.nodes.get(&node)?.name.clone();
            (ActionKind::CutPower, node_subject(&name), format!("cut the power of {name}"))
        }
    })
}

/// Proposals that were not planned any more go.
pub fn expire(draft: &mut Draft) {
    let old = |proposal: &Proposal| draft.now.since(proposal.planned) >= EXPIRES_AFTER;
    let gone: Vec<Step> =
        draft.cluster.proposals.iter().filter(|(_, proposal)| old(proposal)).map(|(step, _)| *step).collect();
    for step in gone {
        let Some(proposal) = draft.cluster.proposals.remove(&step) else { continue };
        draft.resolve(&alert_key(proposal.id));
        let subject = describe(&draft.cluster, step).map_or_else(|| "/v1/rack".to_owned(), |(_, subject, _)| subject);
        draft.event(EventKind::ActionExpired, subject, format!("no longer of use: {}", proposal.message));
    }
}

/// A person approves a proposal: it is done now.
///
/// # Errors
/// `not_found` when it is not there (any more); `conflict` when it cannot be done at this moment.
pub fn approve(draft: &mut Draft, id: ActionId) -> Result<Reply, Problem> {
    let found = draft.cluster.proposals.iter().find(|(_, proposal)| proposal.id == id);
    let (step, proposal) = found.map(|(step, p)| (*step, Arc::clone(p))).ok_or_else(|| {
        let mut gone = not_found("action", &id.to_string());
        gone.detail.push_str(" any more: it was done, or is no longer of use");
        gone
    })?;
    if matches!(step, Step::Move(..)) && !draft.cluster.moving.is_empty() {
        let detail = "another instance is on its way: one moves at a time; approve it again when that has arrived";
        return Err(Problem::new(Code::Conflict, detail));
    }
    let why = proposal.message.strip_prefix("proposed: ").unwrap_or(&proposal.message);
    execute(draft, step, &format!("approved: {why}"))?;
    draft.cluster.proposals.remove(&step);
    draft.resolve(&alert_key(id));
    if let Some((_, subject, what)) = describe(&draft.cluster, step) {
        draft.event(EventKind::ActionApproved, subject, format!("a person approved: {what}"));
    }
    Ok(Reply::Done)
}

/// The proposal of this sort that is known already, if there is one: a plan keeps to it as long as it is of use.
pub fn proposed_move(cluster: &Cluster, node: NodeId) -> Option<InstanceId> {
    cluster.proposals.keys().find_map(|step| match step {
        Step::Move(from, instance) if *from == node => Some(*instance),
        Step::Move(..) | Step::Halt(..) | Step::CutPower(_) => None,
    })
}

impl Cluster {
    /// The actions that wait for a person, oldest first.
    #[must_use]
    pub fn actions(&self) -> Vec<Action> {
        let shown = self.proposals.iter().filter_map(|(step, proposal)| {
            let (kind, subject, _) = describe(self, *step)?;
            let (id, proposed_at) = (proposal.id, proposal.since);
            Some(Action { id, kind, subject, message: proposal.message.clone(), proposed_at })
        });
        let mut shown: Vec<Action> = shown.collect();
        shown.sort_by_key(|action| action.id);
        shown
    }

    /// Powers that the controller itself wants cut: what to do, by the operation that ends when it is done.
    pub fn power_orders(&self) -> impl Iterator<Item = (roost_types::OperationId, NodeId, PowerAction)> {
        self.power_orders.iter().map(|(operation, node)| (*operation, *node, PowerAction::Off))
    }
}
