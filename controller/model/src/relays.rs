//! Relays that cut boards' power: what is wanted of them, and what their hubs say they are.
//!
//! A relay that nobody decided on since the controller started is left as it is: hubs keep them over power cuts.

use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use roost_types::{HubOutput, Name, PowerState, Problem, RackConfig, Timestamp};

use crate::cluster::{Cluster, not_found};
use crate::command::{RelayValues, Reply};
use crate::cooling::of_hub;
use crate::draft::Draft;

/// What a hub last said of its relays counts for so long: it says it after each hello, every 10 s, and when it changes.
const HEARD_WITHIN: Duration = Duration::from_secs(25);

/// What is known of a relay only while the controller runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RelayLive {
    /// Whether its coil should have current; none when nobody decided.
    pub wanted: Option<bool>,
    /// Whether it has, and when its hub said so.
    heard: Option<(Timestamp, bool)>,
    /// Its hub has no such relay.
    pub missing: bool,
}

impl RelayLive {
    /// Whether its coil has current, as far as its hub said lately.
    #[must_use]
    pub fn is_on(&self, now: Timestamp) -> Option<bool> {
        self.heard.filter(|(at, _)| now.since(*at) <= HEARD_WITHIN).map(|(_, on)| on)
    }
}

/// The relays that a rack names, as nobody has decided on them yet.
pub fn relays_of_rack(rack: &RackConfig) -> OrdMap<HubOutput, Arc<RelayLive>> {
    rack.power.values().map(|relay| (relay.clone(), Arc::new(RelayLive::default()))).collect()
}

impl Cluster {
    /// Whether a node has power; none when no relay cuts it. Off needs two witnesses: its relay, and its silence.
    #[must_use]
    pub fn power_of(&self, node: &Name, now: Timestamp) -> Option<PowerState> {
        let relay = self.relays.get(self.config.rack.power.get(node)?)?;
        Some(match relay.is_on(now) {
            Some(true) if self.silence_of(node, now).is_none_or(|silent| silent >= self.config.unreachable_after) => {
                PowerState::Off
            }
            Some(false) => PowerState::On,
            Some(true) | None => PowerState::Unknown,
        })
    }

    /// Why nobody knows whether a node has the power that is wanted.
    #[must_use]
    pub fn doubt_of_power(&self, node: &Name, now: Timestamp) -> String {
        let Some(id) = self.config.rack.power.get(node) else { return format!("no relay cuts the power of '{node}'") };
        let relay = self.relays.get(id).map(|relay| RelayLive::clone(relay)).unwrap_or_default();
        match (relay.is_on(now), self.silence_of(node, now)) {
            _ if relay.missing => format!("its hub has no relay {id}"),
            (None, _) => format!("nothing is heard of relay {id}"),
            (Some(true), Some(silent)) => format!(
                "relay {id} has switched off and '{node}' spoke {:.1} s ago: perhaps it cuts another board",
                silent.as_secs_f64()
            ),
            (Some(on), _) => format!("relay {id} is still {}", if on { "on" } else { "off" }),
        }
    }

    /// For how long a node has been silent; none when this controller never heard it.
    fn silence_of(&self, node: &Name, now: Timestamp) -> Option<Duration> {
        let live = self.node_names.get(node).and_then(|id| self.live.get(id))?;
        live.last_seen.map(|at| now.since(at))
    }
}

/// Wants a node's relay to have current, or not.
pub fn switch(draft: &mut Draft, node: &Name, on: bool) -> Result<Reply, Problem> {
    let relay = draft.cluster.config.rack.power.get(node).cloned();
    let live = relay.and_then(|relay| draft.cluster.relays.get_mut(&relay));
    let live = live.ok_or_else(|| not_found("relay of node", node.as_str()))?;
    Arc::make_mut(live).wanted = Some(on);
    Ok(Reply::Done)
}

/// Takes in what a hub said of its relays.
pub fn observe(draft: &mut Draft, hub: &Name, values: Option<RelayValues>) {
    let Some(values) = values else { return };
    let now = draft.now;
    for id in of_hub(&draft.cluster.relays, hub) {
        let bit = 1_u8.checked_shl(u32::from(id.number) - 1).unwrap_or(0);
        let Some(live) = draft.cluster.relays.get_mut(&id).map(Arc::make_mut) else { continue };
        live.missing = values.there & bit == 0;
        live.heard = (!live.missing).then_some((now, values.on & bit != 0));
    }
}

/// A hub is lost: what its relays are is not known.
pub fn lose_hub(draft: &mut Draft, hub: &Name) {
    for id in of_hub(&draft.cluster.relays, hub) {
        if let Some(live) = draft.cluster.relays.get_mut(&id) {
            Arc::make_mut(live).heard = None;
        }
    }
}
