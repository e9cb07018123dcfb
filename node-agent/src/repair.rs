//! Puts back what somebody changed in the node's network: firewall tables, bridge, address, routes, forwarding.
//!
//! Looked at every few seconds; as long as nothing was changed a look costs three small files and one small message.
//! What was put back is told to the controller, which makes an event of it.

use std::sync::Arc;
use std::time::Duration;

use roost_types::sync::NodeNetwork;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::errors::chain;
use crate::firewall::Firewall;
use crate::network::{Shown, faults};
use crate::outbox::Outbox;
use crate::runtime::Runtime;

/// How often it is looked: well within the 30 s that a repair may take.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What a repair is made with.
pub struct Repairer<R> {
    /// What makes the bridge.
    pub runtime: Arc<R>,
    /// The node's firewall.
    pub firewall: Arc<Firewall>,
    /// The network that was made; none while it is being changed.
    pub network: watch::Receiver<Option<NodeNetwork>>,
    /// Where it is told.
    pub outbox: Arc<Outbox>,
}

impl<R: Runtime> Repairer<R> {
    /// Looks for ever.
    pub async fn run(self) {
        let mut tick = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A fault that stays is logged once.
        let (mut network_fails, mut firewall_fails) = (false, false);
        loop {
            tick.tick().await;
            let network = self.repair_network().await.map_err(|error| chain(&error));
            self.tell(network, &mut network_fails, "the instances' network cannot be repaired");
            let firewall = self.firewall.repair().await.map_err(|error| chain(&error));
            self.tell(firewall, &mut firewall_fails, "the firewall's tables cannot be checked");
        }
    }

    async fn repair_network(&self) -> Result<Vec<String>, crate::runtime::RuntimeError> {
        let Some(network) = self.network.borrow().clone() else { return Ok(Vec::new()) };
        let faults = faults(&network, &Shown::now());
        if !faults.is_empty() {
            self.runtime.ensure_network(&network).await?;
        }
        Ok(faults)
    }

    fn tell(&self, outcome: Result<Vec<String>, String>, failing: &mut bool, failure: &str) {
        match outcome {
            Ok(repairs) => {
                *failing = false;
                if !repairs.is_empty() {
                    tracing::warn!(found = repairs.join("; "), "somebody changed the node's network; put back");
                    self.outbox.add_repairs(repairs);
                }
            }
            Err(error) if !*failing => {
                *failing = true;
                tracing::warn!(error, "{failure}");
            }
            Err(_) => {}
        }
    }
}
