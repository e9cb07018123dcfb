//! Switching boards on and off. A driver acts, then confirms: `Ok` means that the power *is* as asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use roost_model::{Command, Reply};
use roost_types::dev::DevCommand;
use roost_types::{Code, Name, NodeId, OperationId, PowerAction, Problem};

use crate::core::{Answer, Core};
use crate::dev::DevSocket;

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

/// Opens the operation and lets the driver work; the operation ends when the driver has answered.
///
/// # Errors
/// When there is no driver, or the model refuses.
pub async fn begin(
    core: &Core,
    driver: &Arc<dyn PowerDriver>,
    node: String,
    action: PowerAction,
) -> Result<(NodeId, OperationId, Answer), Problem> {
    if !driver.is_present() {
        return Err(Problem::new(Code::Unavailable, "this controller has no power driver: switch the board by hand"));
    }
    let answer = core.submit(Command::BeginPower { node, action }).await?;
    let Reply::NodeOperation { node, operation } = answer.reply else {
        return Err(Problem::new(Code::Internal, "power: the model answered something else"));
    };
    let name = answer.snapshot.cluster.find_node(&node.to_string())?.name.clone();
    let (core, driver) = (core.clone(), Arc::clone(driver));
    tokio::spawn(async move {
        let outcome = driver.switch(&name, action).await;
        if let Err(problem) = core.submit(Command::FinishPower { operation, node, action, outcome }).await {
            tracing::error!(node.name = %name, %problem, "the end of a power operation could not be stored");
        }
    });
    Ok((node, operation, answer))
}
