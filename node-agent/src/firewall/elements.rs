//! What the sets and maps of the rules hold: each element once as `nft` writes it and once as the kernel takes it.

use std::fmt::{self, Display, Formatter};
use std::net::Ipv4Addr;

use roost_types::instance::Transport;

/// Length of an interface's name in a key, in bytes.
const INTERFACE_BYTES: usize = 16;

/// A family of tables; ours has the same name in each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// Routed packets: translation and filter.
    Inet,
    /// Frames that pass the bridge.
    Bridge,
}

/// A set or map of ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Set {
    /// Published ports of every address of the node, and where they lead.
    Ports,
    /// Published ports of one address of the node, and where they lead.
    PortsOfAddress,
    /// From an instance to the chain that judges what it sends through the node.
    SentBy,
    /// From an instance to the chain that judges what it is sent through the node.
    SentTo,
    /// From an instance to the chain that judges what it sends on the bridge.
    ProjectOf,
    /// The port, hardware address and address of each instance.
    Pins,
    /// The addresses of a project, by its number.
    Members(Family, usize),
}

/// A part of a key or value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Field {
    /// An interface's name.
    Interface(String),
    /// A hardware address.
    Mac([u8; 6]),
    /// An address.
    Address(Ipv4Addr),
    /// A transport protocol.
    Protocol(Transport),
    /// A port number.
    Port(u16),
}

/// What a map's element leads to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Value {
    /// Nothing: it is an element of a set.
    None,
    /// A jump to this chain.
    Jump(String),
    /// Other fields.
    Fields(Vec<Field>),
}

/// An element of a set or map.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Element {
    /// Of which.
    pub set: Set,
    /// What is looked up.
    pub key: Vec<Field>,
    /// What is found.
    pub value: Value,
}

impl Family {
    /// Its name for `nft`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Bridge => "bridge",
        }
    }

    /// Its number for the kernel (`NFPROTO_*`).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Bridge => 7,
        }
    }
}

impl Set {
    /// The family of the table that has it.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Ports | Self::PortsOfAddress | Self::SentBy | Self::SentTo => Family::Inet,
            Self::ProjectOf | Self::Pins => Family::Bridge,
            Self::Members(family, _) => family,
        }
    }
}

impl Display for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports => f.write_str("ports"),
            Self::PortsOfAddress => f.write_str("ports_of_address"),
            Self::SentBy => f.write_str("sent_by"),
            Self::SentTo => f.write_str("sent_to"),
            Self::ProjectOf => f.write_str("project_of"),
            Self::Pins => f.write_str("pins"),
            Self::Members(_, number) => write!(f, "members_{number}"),
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "\"{name}\""),
            Self::Mac([a, b, c, d, e, g]) => write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"),
            Self::Address(address) => address.fmt(f),
            Self::Protocol(Transport::Tcp) => f.write_str("tcp"),
            Self::Protocol(Transport::Udp) => f.write_str("udp"),
            Self::Port(port) => port.fmt(f),
        }
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        joined(&self.key, f)?;
        match &self.value {
            Value::None => Ok(()),
            Value::Jump(chain) => write!(f, " : jump {chain}"),
            Value::Fields(fields) => {
                f.write_str(" : ")?;
                joined(fields, f)
            }
        }
    }
}

fn joined(fields: &[Field], f: &mut Formatter<'_>) -> fmt::Result {
    for (at, field) in fields.iter().enumerate() {
        write!(f, "{}{field}", if at == 0 { "" } else { " . " })?;
    }
    Ok(())
}

/// Fields as the kernel compares them: each in network byte order, filled up to a multiple of four bytes.
#[must_use]
pub fn bytes(fields: &[Field]) -> Vec<u8> {
    let mut all = Vec::new();
    for field in fields {
        match field {
            Field::Interface(name) => {
                let mut padded = [0; INTERFACE_BYTES];
                let length = name.len().min(INTERFACE_BYTES - 1);
                padded[..length].copy_from_slice(&name.as_bytes()[..length]);
                all.extend(padded);
            }
            Field::Mac(mac) => all.extend(mac),
            Field::Address(address) => all.extend(address.octets()),
            Field::Protocol(Transport::Tcp) => all.push(6),
            Field::Protocol(Transport::Udp) => all.push(17),
            Field::Port(port) => all.extend(port.to_be_bytes()),
        }
        all.resize(all.len().next_multiple_of(4), 0);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_reads_as_nft_writes_it_and_is_padded_for_the_kernel() {
        let key = vec![Field::Protocol(Transport::Udp), Field::Port(0x1234)];
        let to = vec![Field::Address(Ipv4Addr::new(10, 77, 1, 11)), Field::Port(53)];
        assert_eq!(bytes(&key), [17, 0, 0, 0, 0x12, 0x34, 0, 0]);
        let element = Element { set: Set::Ports, key, value: Value::Fields(to) };
        assert_eq!(element.to_string(), "udp . 4660 : 10.77.1.11 . 53");
        let pin = vec![Field::Interface("rv1".to_owned()), Field::Mac([2, 0x52, 10, 77, 1, 12])];
        assert_eq!(bytes(&pin), *b"rv1\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x52\x0a\x4d\x01\x0c\0\0");
        let jump = Element { set: Set::Pins, key: pin, value: Value::Jump("x".to_owned()) };
        assert_eq!(jump.to_string(), "\"rv1\" . 02:52:0a:4d:01:0c : jump x");
    }
}
