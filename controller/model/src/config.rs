//! What is fixed while a controller runs.

use std::net::Ipv4Addr;
use std::time::Duration;

use roost_thermal::{FanPolicy, Policy};
use roost_types::{MemoryBytes, RackConfig};

use crate::alerts::{AlertReceiver, AlertTimes};

/// The network that instances get their addresses from, cut into one piece per node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InstanceNetwork {
    /// First address.
    pub base: Ipv4Addr,
    /// Prefix length of the whole network.
    pub prefix_len: u8,
    /// Prefix length of a node's piece; a /24 has room for 253 instances.
    pub node_prefix_len: u8,
}

impl Default for InstanceNetwork {
    fn default() -> Self {
        Self { base: Ipv4Addr::new(10, 77, 0, 0), prefix_len: 16, node_prefix_len: 24 }
    }
}

impl InstanceNetwork {
    /// How many nodes have a piece; piece 0 is left out, so that no node's network looks like the whole.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        (1 << (self.node_prefix_len - self.prefix_len)) - 1
    }

    /// Address number `host` of the piece of node `index` (from 1).
    #[must_use]
    pub fn address(&self, index: u32, host: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() + (index << (32 - self.node_prefix_len)) + host)
    }

    /// Host numbers for instances: 0 is the network, 1 the gateway, the last is broadcast.
    #[must_use]
    pub fn hosts(&self) -> std::ops::Range<u32> {
        2..(1 << (32 - self.node_prefix_len)) - 1
    }
}

/// What is fixed while a controller runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Slots, zones, hubs.
    pub rack: RackConfig,
    /// Thermal limits and times.
    pub thermal: Policy,
    /// How fans are driven.
    pub fans: FanPolicy,
    /// Where instances get their addresses from.
    pub network: InstanceNetwork,
    /// Memory of a node that is never given out: kernel, agent, keeper.
    pub memory_reserve: MemoryBytes,
    /// Cpu is shared by weight, so more of it may be given out than there is: 200 is twice as much.
    pub cpu_percent: u32,
    /// Silence after which a node is `unreachable`.
    pub unreachable_after: Duration,
    /// Silence after which a node is `down`.
    pub down_after: Duration,
    /// An instance moved because of heat is not moved again for so long.
    pub move_cooldown: Duration,
    /// After one instance set out because of heat, the next one of the rack waits for so long.
    pub move_pause: Duration,
    /// A board is critical for so long before anything on it is halted.
    pub halt_after: Duration,
    /// What was halted has so long to show, before the next is halted or the power is cut.
    pub halt_dwell: Duration,
    /// Something can switch the power of every node, whatever the rack says.
    pub power_everywhere: bool,
    /// Who is told of alerts.
    pub alert_receivers: Vec<AlertReceiver>,
    /// When they are told, again, and not yet.
    pub alert_times: AlertTimes,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rack: RackConfig::default(),
            thermal: Policy::default(),
            fans: FanPolicy::default(),
            network: InstanceNetwork::default(),
            memory_reserve: MemoryBytes::mib(96),
            cpu_percent: 200,
            unreachable_after: Duration::from_secs(5),
            down_after: Duration::from_secs(30),
            move_cooldown: Duration::from_secs(600),
            move_pause: Duration::from_secs(10),
            halt_after: Duration::from_secs(5),
            halt_dwell: Duration::from_secs(30),
            power_everywhere: false,
            alert_receivers: Vec::new(),
            alert_times: AlertTimes::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::InstanceNetwork;

    #[test]
    fn every_node_has_a_network_of_its_own() {
        let network = InstanceNetwork::default();
        assert_eq!(network.nodes(), 255);
        assert_eq!(network.address(3, 1).to_string(), "10.77.3.1");
        assert_eq!(network.hosts(), 2..255);
    }
}
