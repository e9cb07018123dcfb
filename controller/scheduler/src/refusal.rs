//! Why a node cannot take an instance, in values and in words.

use roost_types::node::Amounts;
use roost_types::placement::Filter;
use roost_types::size::{Arch, Resources};
use roost_types::{MilliCelsius, Name, NodeStatus};

/// Why a node cannot take an instance, as values: most are only counted, so the sentence is made when it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal<'a> {
    /// The agent does not answer.
    Status(NodeStatus),
    /// Keeps what it has.
    Cordoned,
    /// Is being emptied.
    Draining,
    /// Is handed out whole.
    Whole,
    /// Another instruction set than the image's.
    Arch {
        /// The image's.
        image: Arch,
        /// The node's; none before its first contact.
        node: Option<Arch>,
    },
    /// The instance leaves this node.
    Left,
    /// Another node was asked for, by id.
    NotAsked,
    /// Another node was asked for, by name or id.
    WantsNode(&'a str),
    /// Another instruction set was asked for.
    WantsArch(Arch),
    /// A label was asked for.
    WantsLabel(&'a str, &'a str),
    /// Hot or critical.
    Thermal {
        /// The zone that cools it.
        zone: Option<&'a Name>,
        /// With numbers and age.
        reason: &'a str,
    },
    /// With the request on it, it would be hot.
    WouldBeHot {
        /// Where its temperature would go.
        predicted: MilliCelsius,
        /// Temperature at which it is hot.
        hot: MilliCelsius,
        /// How far below that it must stay.
        headroom: MilliCelsius,
    },
    /// It had a temperature source and lost it.
    SensorLost {
        /// The zone that cools it.
        zone: Option<&'a Name>,
        /// With numbers and age.
        reason: &'a str,
    },
    /// The kernel cannot enforce a limit: the advice that helps.
    Feature(&'a str),
    /// It cannot put instances on its LAN.
    NoLan,
    /// This port is published by another instance there.
    Port(u16),
    /// Too little cpu is free.
    Cpu(Resources, Amounts),
    /// Too little memory is free.
    Memory(Resources, Amounts),
    /// Its instance network is full.
    Address,
}

impl Refusal<'_> {
    /// The filter it belongs to.
    #[must_use]
    pub const fn filter(&self) -> Filter {
        match self {
            Self::Status(_) => Filter::Status,
            Self::Cordoned | Self::Draining => Filter::Eligibility,
            Self::Whole => Filter::Use,
            Self::Arch { .. } => Filter::Arch,
            Self::Left | Self::NotAsked | Self::WantsNode(_) | Self::WantsArch(_) | Self::WantsLabel(..) => {
                Filter::Constraint
            }
            Self::Thermal { .. } | Self::WouldBeHot { .. } => Filter::Thermal,
            Self::SensorLost { .. } => Filter::SensorLost,
            Self::Feature(_) | Self::NoLan => Filter::Feature,
            Self::Port(_) => Filter::Port,
            Self::Cpu(..) => Filter::Cpu,
            Self::Memory(..) => Filter::Memory,
            Self::Address => Filter::Address,
        }
    }

    /// A sentence with its numbers.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Status(status) => format!("the node is {}", status.as_str()),
            Self::Cordoned => "the node is cordoned".to_owned(),
            Self::Draining => "the node is being emptied".to_owned(),
            Self::Whole => "the node is handed out whole".to_owned(),
            Self::Arch { image, node } => {
                format!("the image is for {image}, the node is {}", node.map_or("unknown", |arch| arch.as_str()))
            }
            Self::Left => "the instance leaves this node".to_owned(),
            Self::NotAsked => "another node was asked for".to_owned(),
            Self::WantsNode(wanted) => format!("constraint node = {wanted}"),
            Self::WantsArch(wanted) => format!("constraint arch = {wanted}"),
            Self::WantsLabel(key, value) => format!("constraint label {key} = {value}"),
            Self::Thermal { zone, reason } | Self::SensorLost { zone, reason } => match zone {
                Some(zone) => format!("zone {zone}: {reason}"),
                None => (*reason).to_owned(),
            },
            Self::WouldBeHot { predicted, hot, headroom } => {
                format!("with it {predicted} are predicted: it must stay {headroom} below hot {hot}")
            }
            Self::Feature(advice) => (*advice).to_owned(),
            Self::NoLan => "the node names no LAN interface: start its agent with --lan-interface".to_owned(),
            Self::Port(port) => format!("port {port} is published by another instance there"),
            Self::Cpu(wanted, free) => {
                format!("wants {} m cpu, {} m are free", wanted.cpu_millis, free.cpu_millis)
            }
            Self::Memory(wanted, free) => format!("wants {}, {} are free", wanted.memory_bytes, free.memory_bytes),
            Self::Address => "its instance network is full".to_owned(),
        }
    }
}
