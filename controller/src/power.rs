//! Switching boards on and off. A driver acts, then confirms: `Ok` means that the power *is* as asked, an error that
//! nobody knows how it is.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use roost_model::{Command, Reply};
use roost_types::dev::DevCommand;
use roost_types::node::PowerRequest;
use roost_types::{Code, Name, NodeId, OperationId, PowerAction, PowerState, Problem};

use crate::core::{Answer, Core};
use crate::dev::DevSocket;

/// How often a relay is told before the power counts as unknown.
const TRIES: u32 = 3;
/// How long each time: a hub has 3 s to acknowledge, and a board that lost its power is missed after 5 s.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);
/// How often the confirmation is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a board that is cycled has no power, so that its capacitors are empty.
const DISCHARGE: Duration = Duration::from_secs(5);

/// Something that switches power.
pub trait PowerDriver: Send + Sync {
    /// Does it and confirms it.
    ///
    /// # Errors
    /// A sentence that says why it could not be done or confirmed.
    fn switch<'d>(
        &'d self,
        node: &'d Name,
        action: PowerAction,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'd>>;

    /// Whether it can switch anything at all.
    fn is_present(&self) -> bool;
}

/// No way to switch power.
pub struct NoPower;

impl PowerDriver for NoPower {
    fn switch<'d>(
        &'d self,
        node: &'d Name,
        _: PowerAction,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'd>> {
        Box::pin(async move { Err(format!("no power driver is set up for '{node}'")) })
    }

    fn is_present(&self) -> bool {
        false
    }
}

/// Boards whose supply goes through a relay of a hub (`power` in `rack.yaml`); the others are left to another driver.
///
/// Off is confirmed by two witnesses: the hub says that the relay has switched, and the board has fallen silent. On is
/// confirmed by the hub; the board needs its time to boot.
pub struct RelayPower {
    core: Core,
    others: Arc<dyn PowerDriver>,
}

impl RelayPower {
    /// Relays for the nodes that `rack.yaml` names, `others` for the rest.
    #[must_use]
    pub fn new(core: Core, others: Arc<dyn PowerDriver>) -> Self {
        Self { core, others }
    }

    async fn act(&self, node: &Name, action: PowerAction) -> Result<(), String> {
        match action {
            PowerAction::On => self.bring(node, PowerState::On).await,
            PowerAction::Off => self.bring(node, PowerState::Off).await,
            PowerAction::Cycle => {
                self.bring(node, PowerState::Off).await?;
                tokio::time::sleep(DISCHARGE).await;
                self.bring(node, PowerState::On).await
            }
        }
    }

    /// Switches the relay and waits until the power is confirmed.
    async fn bring(&self, node: &Name, wanted: PowerState) -> Result<(), String> {
        for _ in 0..TRIES {
            let command = Command::SwitchRelay { node: node.clone(), on: wanted == PowerState::Off };
            self.core.submit(command).await.map_err(|problem| problem.detail)?;
            let deadline = tokio::time::Instant::now() + CONFIRMED_WITHIN;
            while tokio::time::Instant::now() < deadline {
                tokio::time::sleep(LOOK_EVERY).await;
                if self.core.snapshot().cluster.power_of(node, crate::clock::now()) == Some(wanted) {
                    return Ok(());
                }
            }
        }
        let doubt = self.core.snapshot().cluster.doubt_of_power(node, crate::clock::now());
        Err(format!("not confirmed after {TRIES} tries of {} s: {doubt}", CONFIRMED_WITHIN.as_secs()))
    }
}

impl PowerDriver for RelayPower {
    fn switch<'d>(
        &'d self,
        node: &'d Name,
        action: PowerAction,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'd>> {
        if self.core.snapshot().cluster.config().rack.power.contains_key(node) {
            Box::pin(self.act(node, action))
        } else {
            self.others.switch(node, action)
        }
    }

    fn is_present(&self) -> bool {
        self.others.is_present() || !self.core.snapshot().cluster.config().rack.power.is_empty()
    }
}

/// The boards of a rack in a box: the supervisor ends every process of a board and then answers.
pub struct DevPower(pub DevSocket);

impl PowerDriver for DevPower {
    fn switch<'d>(
        &'d self,
        node: &'d Name,
        action: PowerAction,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'd>> {
        Box::pin(async move {
            let command = DevCommand::Power { node: node.clone(), action };
            match self.0.send(&command).await {
                Ok(reply) if reply.ok => Ok(()),
                Ok(reply) => Err(reply.message),
                Err(problem) => Err(problem.detail),
            }
        })
    }

    fn is_present(&self) -> bool {
        true
    }
}

/// Lets the driver cut the powers that the controller itself wants cut, for ever.
pub async fn follow(core: Core, driver: Arc<dyn PowerDriver>) {
    let mut begun: BTreeSet<OperationId> = BTreeSet::new();
    let mut clock = tokio::time::interval(LOOK_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let snapshot = core.snapshot();
        let orders: Vec<_> = snapshot.cluster.power_orders().collect();
        begun.retain(|known| orders.iter().any(|(operation, ..)| operation == known));
        for (operation, node, action) in orders {
            if let (true, Some(row)) = (begun.insert(operation), snapshot.cluster.node(node)) {
                work(&core, &driver, operation, (node, row.name.clone()), action);
            }
        }
    }
}

/// Opens the operation and lets the driver work; the operation ends when the driver has answered.
///
/// # Errors
/// When there is no driver, or the model refuses.
pub async fn begin(
    core: &Core,
    driver: &Arc<dyn PowerDriver>,
    node: String,
    request: PowerRequest,
) -> Result<(NodeId, OperationId, Answer), Problem> {
    let PowerRequest { action, despite_condensation } = request;
    if !driver.is_present() {
        return Err(Problem::new(Code::Unavailable, "this controller has no power driver: switch the board by hand"));
    }
    let answer = core.submit(Command::BeginPower { node, action, despite_condensation }).await?;
    let Reply::NodeOperation { node, operation } = answer.reply else {
        return Err(Problem::new(Code::Internal, "power: the model answered something else"));
    };
    let name = answer.snapshot.cluster.find_node(&node.to_string())?.name.clone();
    work(core, driver, operation, (node, name), action);
    Ok((node, operation, answer))
}

/// The driver switches and confirms, then the model is told.
fn work(
    core: &Core,
    driver: &Arc<dyn PowerDriver>,
    operation: OperationId,
    (node, name): (NodeId, Name),
    action: PowerAction,
) {
    let (core, driver) = (core.clone(), Arc::clone(driver));
    tokio::spawn(async move {
        let outcome = driver.switch(&name, action).await;
        if let Err(problem) = core.submit(Command::FinishPower { operation, node, action, outcome }).await {
            tracing::error!(node.name = %name, %problem, "the end of a power operation could not be stored");
        }
    });
}
