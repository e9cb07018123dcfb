//! Links, addresses and routes over one synchronous rtnetlink socket, in the network namespace of the caller.
//!
//! Firewall rules are not made here. Everything named `ensure` may be repeated.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use roost_types::sync::NodeNetwork;

use super::plan::Plan;
use super::wire::{Context, Failure};

/// The bridge that a node's instances hang on.
pub const BRIDGE: &str = "roost0";

/// The longest answer: an acknowledgement or an error, which quotes the request.
const MAX_ANSWER: usize = 4096;

/// A conversation with the kernel about one network namespace.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Box<[u8]>,
}

impl Netlink {
    /// Opens it in the caller's network namespace, and there it stays.
    ///
    /// # Errors
    /// What `socket` says.
    pub fn open() -> Result<Self, Failure> {
        let mut socket = Socket::new(NETLINK_ROUTE).step(|| "open a netlink socket")?;
        socket.bind_auto().step(|| "bind the netlink socket")?;
        socket.connect(&SocketAddr::new(0, 0)).step(|| "connect the netlink socket")?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; MAX_ANSWER].into_boxed_slice() })
    }

    /// Makes the bridge, its address, forwarding and the routes to other nodes fit.
    ///
    /// # Errors
    /// The step that failed.
    pub fn ensure_network(&mut self, network: &NodeNetwork) -> Result<(), Failure> {
        if self.index_of(BRIDGE).is_err() {
            let mut bridge = LinkMessage::default();
            bridge.attributes.push(LinkAttribute::IfName(BRIDGE.to_owned()));
            bridge.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
            self.call(RouteNetlinkMessage::NewLink(bridge), NLM_F_CREATE | NLM_F_EXCL)
                .step(|| format!("make the bridge {BRIDGE}"))?;
        }
        let index = self.index_of(BRIDGE).step(|| format!("find the bridge {BRIDGE}"))?;
        self.add_address(index, network.gateway, network.prefix_len)
            .step(|| format!("give {BRIDGE} the address {}/{}", network.gateway, network.prefix_len))?;
        self.set_up(index).step(|| format!("set {BRIDGE} up"))?;
        let forward = "/proc/sys/net/ipv4/ip_forward";
        if std::fs::read_to_string(forward).step(|| format!("read {forward}"))?.trim() != "1" {
            std::fs::write(forward, "1").step(|| format!("write 1 to {forward}"))?;
        }
        for route in &network.routes {
            self.replace_route(route.network, route.prefix_len, route.via)
                .step(|| format!("route {}/{} via {}", route.network, route.prefix_len, route.via))?;
        }
        Ok(())
    }

    /// Makes the container's network cable: one end on the bridge, the other already in the network namespace of the
    /// process `pid`.
    ///
    /// # Errors
    /// The step that failed.
    pub fn plug_in(&mut self, plan: &Plan, pid: i32) -> Result<(), Failure> {
        let bridge = self.index_of(BRIDGE).step(|| format!("find the bridge {BRIDGE}"))?;
        let mut peer = LinkMessage::default();
        peer.attributes.push(LinkAttribute::IfName("eth0".to_owned()));
        peer.attributes.push(LinkAttribute::Address(plan.mac.to_vec()));
        peer.attributes.push(LinkAttribute::NetNsPid(pid.cast_unsigned()));
        let mut cable = LinkMessage::default();
        cable.header.flags = LinkFlags::Up;
        cable.header.change_mask = LinkFlags::Up;
        cable.attributes.push(LinkAttribute::IfName(plan.veth.clone()));
        cable.attributes.push(LinkAttribute::Controller(bridge));
        cable.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let mut made = self.call(RouteNetlinkMessage::NewLink(cable.clone()), flags);
        if made.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EEXIST)) {
            // Left by the container's last run, whose network namespace the kernel has not taken down yet.
            self.unplug(&plan.veth)?;
            made = self.call(RouteNetlinkMessage::NewLink(cable), flags);
        }
        made.step(|| format!("make the veth {} for process {pid}", plan.veth))
    }

    /// Takes the cable away; one that is gone is not an error.
    ///
    /// # Errors
    /// The step that failed.
    pub fn unplug(&mut self, veth: &str) -> Result<(), Failure> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(veth.to_owned()));
        match self.call(RouteNetlinkMessage::DelLink(link), 0) {
            Err(error) if error.raw_os_error() != Some(libc::ENODEV) => {
                Err(Failure::step(format!("remove the veth {veth}"), &error))
            }
            _ => Ok(()),
        }
    }

    /// Configures the inside of a container's network namespace, which must be the caller's.
    ///
    /// # Errors
    /// The step that failed.
    pub fn configure_inside(&mut self, plan: &Plan) -> Result<(), Failure> {
        self.set_up(1).step(|| "set lo up")?;
        let eth0 = self.index_of("eth0").step(|| "find eth0")?;
        self.add_address(eth0, plan.address, plan.prefix_len)
            .step(|| format!("give eth0 the address {}/{}", plan.address, plan.prefix_len))?;
        self.set_up(eth0).step(|| "set eth0 up")?;
        self.replace_route(Ipv4Addr::UNSPECIFIED, 0, plan.gateway)
            .step(|| format!("route everything via {}", plan.gateway))
    }

    /// The index of a link by its name; `ENODEV` when there is none.
    fn index_of(&self, name: &str) -> io::Result<u32> {
        // Asked by netlink, the answer is a kilobyte and a half about the link.
        Ok(rustix::net::netdevice::name_to_index(self.socket.as_fd(), name)?)
    }

    fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.call(RouteNetlinkMessage::SetLink(link), 0)
    }

    fn add_address(&mut self, index: u32, address: Ipv4Addr, prefix_len: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = prefix_len;
        message.header.scope = AddressScope::Universe;
        message.header.index = index;
        message.attributes.push(AddressAttribute::Local(IpAddr::V4(address)));
        message.attributes.push(AddressAttribute::Address(IpAddr::V4(address)));
        self.call(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn replace_route(&mut self, network: Ipv4Addr, prefix_len: u8, via: Ipv4Addr) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = prefix_len;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        if prefix_len > 0 {
            message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(network)));
        }
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(via)));
        self.call(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Sends a request and waits for its acknowledgement.
    fn call(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, flags | NLM_F_ACK)?;
        match self.receive()?.payload {
            NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            other => Err(io::Error::other(format!("unexpected netlink answer {other:?}"))),
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// The answer to the request just sent; a late answer to an earlier one is skipped.
    fn receive(&mut self) -> io::Result<NetlinkMessage<RouteNetlinkMessage>> {
        loop {
            let got = self.socket.recv(&mut &mut self.buffer[..], 0)?;
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&self.buffer[..got])
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            if message.header.sequence_number == self.sequence {
                return Ok(message);
            }
        }
    }
}
