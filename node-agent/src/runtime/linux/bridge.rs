//! The node's own part of the instances' network: the bridge, its address, forwarding and the routes to other nodes.
//!
//! Everything named `ensure` may be repeated. Routes that Roost made carry a protocol number of their own, so that those
//! of a node that is no more can be told from an operator's.

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use roost_types::prefix::first;
use roost_types::sync::NodeNetwork;

use super::netlink::{BRIDGE, Netlink};
use super::plan::mac;
use super::wire::{Context, Failure};
use crate::network::{BRIDGE_CALLS, FORWARDING};

/// Who made a route, as `ip route` shows it (`proto 142`): a number that nobody registered.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(142);

impl Netlink {
    /// Makes the bridge, its address, forwarding and the routes to other nodes fit.
    ///
    /// # Errors
    /// The step that failed.
    pub fn ensure_network(&mut self, network: &NodeNetwork) -> Result<(), Failure> {
        let (gateway, length) = (network.gateway, network.prefix_len);
        let index = self.ensure_bridge(gateway)?;
        self.add_address(index, gateway, length).step(|| format!("give {BRIDGE} the address {gateway}/{length}"))?;
        self.set_up(index).step(|| format!("set {BRIDGE} up"))?;
        self.ensure_own_route(index, network).step(|| format!("route {gateway}/{length} to {BRIDGE}"))?;
        ensure_setting(FORWARDING, "1")?;
        // Packets from the bridge whose answers would go elsewhere are somebody else's.
        ensure_setting(&format!("/proc/sys/net/ipv4/conf/{BRIDGE}/rp_filter"), "1")?;
        without_ipv6(BRIDGE);
        // Not every kernel has it.
        if std::path::Path::new(BRIDGE_CALLS).exists() {
            ensure_setting(BRIDGE_CALLS, "0")?;
        }
        for peer in &network.routes {
            let mut route = route(peer.network, peer.prefix_len, PROTOCOL);
            route.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(peer.via)));
            self.call(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
                .step(|| format!("route {}/{} via {}", peer.network, peer.prefix_len, peer.via))?;
        }
        self.remove_other_routes(network)
    }

    /// The bridge's number. Its hardware address is fixed: otherwise it would follow its ports', and neighbours would
    /// lose their gateway with every one that comes or goes.
    fn ensure_bridge(&mut self, gateway: Ipv4Addr) -> Result<u32, Failure> {
        let address = LinkAttribute::Address(mac(gateway).to_vec());
        if let Ok(index) = self.index_of(BRIDGE) {
            let mut bridge = LinkMessage::default();
            bridge.header.index = index;
            bridge.attributes.push(address);
            self.call(RouteNetlinkMessage::SetLink(bridge), 0)
                .step(|| format!("set the hardware address of {BRIDGE}"))?;
            return Ok(index);
        }
        let mut bridge = LinkMessage::default();
        bridge.attributes.push(LinkAttribute::IfName(BRIDGE.to_owned()));
        bridge.attributes.push(address);
        bridge.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.call(RouteNetlinkMessage::NewLink(bridge), NLM_F_CREATE | NLM_F_EXCL)
            .step(|| format!("make the bridge {BRIDGE}"))?;
        self.index_of(BRIDGE).step(|| format!("find the bridge {BRIDGE}"))
    }

    /// The route that comes with the address, in case somebody deleted it alone.
    fn ensure_own_route(&mut self, index: u32, network: &NodeNetwork) -> io::Result<()> {
        let length = network.prefix_len;
        let mut route = route(first(network.gateway, length), length, RouteProtocol::Kernel);
        route.header.scope = RouteScope::Link;
        route.attributes.push(RouteAttribute::Oif(index));
        route.attributes.push(RouteAttribute::PrefSource(RouteAddress::Inet(network.gateway)));
        self.call(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes the routes to nodes that are no more.
    fn remove_other_routes(&mut self, network: &NodeNetwork) -> Result<(), Failure> {
        let mut all = RouteMessage::default();
        all.header.address_family = AddressFamily::Inet;
        let found = self.dump(RouteNetlinkMessage::GetRoute(all)).step(|| "list the routes")?;
        for found in found {
            let RouteNetlinkMessage::NewRoute(old) = found else { continue };
            let Some(to) = ours(&old) else { continue };
            let length = old.header.destination_prefix_length;
            let wanted = |peer: &roost_types::sync::PeerRoute| peer.network == to && peer.prefix_len == length;
            if !network.routes.iter().any(wanted) {
                match self.call(RouteNetlinkMessage::DelRoute(route(to, length, PROTOCOL)), 0) {
                    // Somebody was quicker.
                    Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                        return Err(Failure::step(format!("remove the route to {to}/{length}"), &error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Where a route of ours in the main table leads.
fn ours(route: &RouteMessage) -> Option<Ipv4Addr> {
    if route.header.table != RouteHeader::RT_TABLE_MAIN || route.header.protocol != PROTOCOL {
        return None;
    }
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(to)) => Some(*to),
        _ => None,
    })
}

/// A route in the main table that leads nowhere yet.
pub(super) fn route(network: Ipv4Addr, prefix_len: u8, protocol: RouteProtocol) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = prefix_len;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = protocol;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    if prefix_len > 0 {
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(network)));
    }
    message
}

/// Nobody has an IPv6 address on the instances' network or asks for one: nothing of it is carried there. A kernel without
/// IPv6 has nothing to be told.
pub(super) fn without_ipv6(interface: &str) {
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1");
}

/// Writes a kernel setting, unless it has the value.
fn ensure_setting(path: &str, value: &str) -> Result<(), Failure> {
    if std::fs::read_to_string(path).step(|| format!("read {path}"))?.trim() != value {
        std::fs::write(path, value).step(|| format!("write {value} to {path}"))?;
    }
    Ok(())
}
