//! One synchronous rtnetlink conversation in the network namespace of the caller: containers' cables and what is inside.
//!
//! The node's own part is in [`super::bridge`]; firewall rules are not made here.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteProtocol};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::bridge::without_ipv6;
use super::plan::{Cable, Plan};
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

    /// Makes the container's network cable: its end is `eth0` in the network namespace of the process `pid`.
    ///
    /// # Errors
    /// The step that failed.
    pub fn plug_in(&mut self, plan: &Plan, pid: i32) -> Result<(), Failure> {
        match &plan.cable {
            Cable::Bridge { veth, .. } => self.plug_into_bridge(veth, plan.mac, pid),
            Cable::Lan { interface } => self.plug_into_lan(interface, plan.mac, pid),
        }
    }

    fn plug_into_bridge(&mut self, veth: &str, mac: [u8; 6], pid: i32) -> Result<(), Failure> {
        let bridge = self.index_of(BRIDGE).step(|| format!("find the bridge {BRIDGE}"))?;
        let mut cable = LinkMessage::default();
        cable.header.flags = LinkFlags::Up;
        cable.header.change_mask = LinkFlags::Up;
        cable.attributes.push(LinkAttribute::IfName(veth.to_owned()));
        cable.attributes.push(LinkAttribute::Controller(bridge));
        cable.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inside(mac, pid)))),
        ]));
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let mut made = self.call(RouteNetlinkMessage::NewLink(cable.clone()), flags);
        if made.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EEXIST)) {
            // Left by the container's last run, whose network namespace the kernel has not taken down yet.
            self.unplug(veth)?;
            made = self.call(RouteNetlinkMessage::NewLink(cable), flags);
        }
        made.step(|| format!("make the veth {veth} for process {pid}"))?;
        without_ipv6(veth);
        Ok(())
    }

    fn plug_into_lan(&mut self, interface: &str, mac: [u8; 6], pid: i32) -> Result<(), Failure> {
        let lan = self.index_of(interface).step(|| format!("find the LAN interface {interface}"))?;
        let mut cable = inside(mac, pid);
        cable.attributes.push(LinkAttribute::Link(lan));
        cable.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::MacVlan),
            LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)])),
        ]));
        self.call(RouteNetlinkMessage::NewLink(cable), NLM_F_CREATE | NLM_F_EXCL)
            .step(|| format!("make a macvlan on {interface} for process {pid}"))
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
        if let Cable::Bridge { address, prefix_len, .. } = plan.cable {
            self.add_address(eth0, address, prefix_len)
                .step(|| format!("give eth0 the address {address}/{prefix_len}"))?;
            // Before it is up, so that the kernel does not look for neighbours and routers that are not carried there.
            without_ipv6("eth0");
        }
        self.set_up(eth0).step(|| "set eth0 up")?;
        match plan.cable {
            Cable::Bridge { gateway, .. } => {
                self.add_default_route(gateway).step(|| format!("route everything via {gateway}"))
            }
            Cable::Lan { .. } => Ok(()),
        }
    }

    /// The index of a link by its name; `ENODEV` when there is none.
    pub(super) fn index_of(&self, name: &str) -> io::Result<u32> {
        // Asked by netlink, the answer is a kilobyte and a half about the link.
        Ok(rustix::net::netdevice::name_to_index(self.socket.as_fd(), name)?)
    }

    /// Makes the cable's end on the node a port of the bridge again; one that is gone is not an error.
    ///
    /// # Errors
    /// The step that failed.
    pub fn attach(&mut self, veth: &str) -> Result<(), Failure> {
        let bridge = self.index_of(BRIDGE).step(|| format!("find the bridge {BRIDGE}"))?;
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(veth.to_owned()));
        link.attributes.push(LinkAttribute::Controller(bridge));
        match self.call(RouteNetlinkMessage::SetLink(link), 0) {
            Err(error) if error.raw_os_error() != Some(libc::ENODEV) => {
                Err(Failure::step(format!("put {veth} on the bridge {BRIDGE}"), &error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.call(RouteNetlinkMessage::SetLink(link), 0)
    }

    pub(super) fn add_address(&mut self, index: u32, address: Ipv4Addr, prefix_len: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = prefix_len;
        message.header.scope = AddressScope::Universe;
        message.header.index = index;
        message.attributes.push(AddressAttribute::Local(IpAddr::V4(address)));
        message.attributes.push(AddressAttribute::Address(IpAddr::V4(address)));
        self.call(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Makes the container's way out.
    fn add_default_route(&mut self, via: Ipv4Addr) -> io::Result<()> {
        let mut route = super::bridge::route(Ipv4Addr::UNSPECIFIED, 0, RouteProtocol::Static);
        route.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(via)));
        self.call(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Sends a request and waits for its acknowledgement.
    pub(super) fn call(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, flags | NLM_F_ACK)?;
        match self.receive()?.payload {
            NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
            NetlinkPayload::Error(error) => Err(error.to_io()),
            other => Err(io::Error::other(format!("unexpected netlink answer {other:?}"))),
        }
    }

    /// Every object of a dump that can be read.
    pub(super) fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.send(message, NLM_F_DUMP)?;
        let mut found = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = bytes.as_slice();
            while let Some(length) = message_length(rest) {
                let (one, more) = rest.split_at(length);
                rest = more.get(length.next_multiple_of(4) - length..).unwrap_or_default();
                // An attribute that this program does not know is no reason to see nothing.
                let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(one) else { continue };
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(object) => found.push(object),
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
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

/// The container's end of a cable.
fn inside(mac: [u8; 6], pid: i32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName("eth0".to_owned()));
    link.attributes.push(LinkAttribute::Address(mac.to_vec()));
    link.attributes.push(LinkAttribute::NetNsPid(pid.cast_unsigned()));
    link
}

/// The length of the first message in `bytes`; none when no whole one is there.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let length = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    (16..=bytes.len()).contains(&length).then_some(length)
}
