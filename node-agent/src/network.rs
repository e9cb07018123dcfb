//! Whether the node's network of instances still is as it was made.
//!
//! What the kernel shows of routes tells all: the bridge's own route is there only while the bridge is up and has its
//! address.

use std::net::Ipv4Addr;

use roost_types::prefix;
use roost_types::sync::NodeNetwork;

use crate::firewall::BRIDGE;

/// The kernel's table of IPv4 routes.
pub const ROUTES: &str = "/proc/net/route";
/// Whether the kernel forwards.
pub const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
/// Whether bridged packets pass the rules for routed ones: not, as translation between two ports of the bridge would
/// hide who asks whom.
pub const BRIDGE_CALLS: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// A route as the kernel shows it.
struct Route<'a> {
    interface: &'a str,
    network: Ipv4Addr,
    via: Ipv4Addr,
    mask: Ipv4Addr,
}

/// The texts of the kernel's files; empty where there is none.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// [`ROUTES`].
    pub routes: String,
    /// [`FORWARDING`].
    pub forwarding: String,
    /// [`BRIDGE_CALLS`].
    pub bridge_calls: String,
}

impl Shown {
    /// As it is now, in the network namespace of the calling thread.
    #[must_use]
    pub fn now() -> Self {
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self { routes: text(ROUTES), forwarding: text(FORWARDING), bridge_calls: text(BRIDGE_CALLS) }
    }
}

/// What of `network` is not there, a sentence each.
#[must_use]
pub fn faults(network: &NodeNetwork, shown: &Shown) -> Vec<String> {
    let found: Vec<Route<'_>> = shown.routes.lines().skip(1).filter_map(route).collect();
    let has = |wanted: Ipv4Addr, length: u8, via: Ipv4Addr, interface: Option<&str>| {
        let mask = prefix::mask(length);
        found.iter().any(|route| {
            let there = interface.is_none_or(|interface| route.interface == interface);
            there && route.mask == mask && route.network == (wanted & mask) && route.via == via
        })
    };
    let mut faults = Vec::new();
    if !has(network.gateway, network.prefix_len, Ipv4Addr::UNSPECIFIED, Some(BRIDGE)) {
        faults.push(format!("{BRIDGE}, its address or its route was gone"));
    }
    let lost = network.routes.iter().filter(|peer| !has(peer.network, peer.prefix_len, peer.via, None));
    faults.extend(lost.map(|peer| format!("the route to {}/{} was gone", peer.network, peer.prefix_len)));
    if shown.forwarding.trim() == "0" {
        faults.push("ip_forward was 0".to_owned());
    }
    if shown.bridge_calls.trim() == "1" {
        faults.push("bridge-nf-call-iptables was 1".to_owned());
    }
    faults
}

/// A line of the table: interface, destination, gateway, flags, three counters, mask; addresses as the number that the
/// kernel's memory holds.
fn route(line: &str) -> Option<Route<'_>> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |at: usize| Some(Ipv4Addr::from(u32::from_str_radix(fields.get(at)?, 16).ok()?.to_ne_bytes()));
    Some(Route { interface: fields.first()?, network: address(1)?, via: address(2)?, mask: address(7)? })
}

#[cfg(test)]
mod tests {
    use roost_types::sync::PeerRoute;

    use super::*;
    use crate::testing::network;

    fn shown(interface: &str, [network, via, mask]: [[u8; 4]; 3]) -> String {
        let hex = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        format!("{interface}\t{}\t{}\t0003\t0\t0\t0\t{}\t0\t0\t0\n", hex(network), hex(via), hex(mask))
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut network = network();
        let peer = PeerRoute { network: Ipv4Addr::new(10, 77, 2, 0), prefix_len: 24, via: Ipv4Addr::new(10, 0, 0, 12) };
        network.routes.push(peer);
        let title = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let bridge = shown("roost0", [[10, 77, 1, 0], [0; 4], [255, 255, 255, 0]]);
        let peer = shown("eth0", [[10, 77, 2, 0], [10, 0, 0, 12], [255, 255, 255, 0]]);
        let of = |routes: &[&str], forwarding: &str| {
            let routes = format!("{title}{}", routes.concat());
            faults(&network, &Shown { routes, forwarding: forwarding.to_owned(), bridge_calls: String::new() })
        };
        assert_eq!(of(&[&bridge, &peer], "1\n"), [""; 0]);
        assert_eq!(of(&[&peer], "1\n"), ["roost0, its address or its route was gone"]);
        assert_eq!(of(&[&bridge], "1\n"), ["the route to 10.77.2.0/24 was gone"]);
        assert_eq!(of(&[&bridge, &peer], "0\n"), ["ip_forward was 0"]);
        let elsewhere = shown("eth0", [[10, 77, 2, 0], [10, 0, 0, 99], [255, 255, 255, 0]]);
        assert_eq!(of(&[&bridge, &elsewhere], "1").len(), 1);
        let nonsense = Shown { routes: "nonsense\nmore nonsense\n".to_owned(), ..Shown::default() };
        assert_eq!(faults(&network, &nonsense).len(), 2);
        let calls = Shown { bridge_calls: "1\n".to_owned(), ..nonsense };
        assert_eq!(faults(&network, &calls)[2], "bridge-nf-call-iptables was 1");
    }
}
