//! What a host asks of a hub. Every command asks for a state, not for a step, so that sending it again does no harm.

use crate::fields::Fields;
use crate::line::Writer;
use crate::{DUTY_RANGE, MAX_FANS, MAX_RELAYS};

/// `$Q,<seq>`: ask for a hello now, and for the state, the fans and the probes' places after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query {
    /// Number of the command, chosen by the host.
    pub seq: u16,
}

/// A command that changes something, or asks for one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command {
    /// Number of the command, chosen by the host.
    pub seq: u16,
    /// What is asked for.
    pub action: Action,
}

/// What a command asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// `$B,<seq>`: the host is alive.
    Beat,
    /// `$F,<seq>,<fan>,<duty>`: drive a fan.
    SetFan {
        /// The fan, 1 to [`MAX_FANS`].
        fan: u8,
        /// Hundredths of a percent of full drive, in [`DUTY_RANGE`].
        duty_centi: u16,
    },
    /// `$P,<seq>,<relay>,<on>`: switch a relay.
    SetRelay {
        /// The relay, 1 to [`MAX_RELAYS`].
        relay: u8,
        /// Whether its coil is to have current.
        on: bool,
    },
    /// `$G,<seq>,<key>`: tell a setting.
    Get {
        /// Which setting; see [`crate::settings`].
        key: u8,
    },
    /// `$C,<seq>,<key>,<value>`: change a setting and keep it over power cuts.
    Set {
        /// Which setting; see [`crate::settings`].
        key: u8,
        /// Its value.
        value: u16,
    },
}

impl Command {
    pub(crate) fn write(&self, out: &mut Writer) {
        let seq = self.seq;
        match self.action {
            Action::Beat => out.put(format_args!("B,{seq}")),
            Action::SetFan { fan, duty_centi } => out.put(format_args!("F,{seq},{fan},{duty_centi}")),
            Action::SetRelay { relay, on } => out.put(format_args!("P,{seq},{relay},{}", u8::from(on))),
            Action::Get { key } => out.put(format_args!("G,{seq},{key}")),
            Action::Set { key, value } => out.put(format_args!("C,{seq},{key},{value}")),
        }
    }
}

impl Action {
    /// The fields after seq of a line that begins with `kind`; `None` when they make no sense.
    pub(crate) fn decode(kind: CommandKind, fields: &mut Fields<'_>) -> Option<Self> {
        Some(match kind {
            CommandKind::Beat => Self::Beat,
            CommandKind::SetFan => {
                Self::SetFan { fan: fields.number_in(1..=MAX_FANS)?, duty_centi: fields.number_in(DUTY_RANGE)? }
            }
            CommandKind::SetRelay => Self::SetRelay { relay: fields.number_in(1..=MAX_RELAYS)?, on: fields.flag()? },
            CommandKind::Get => Self::Get { key: fields.number()? },
            CommandKind::Set => Self::Set { key: fields.number()?, value: fields.number()? },
        })
    }
}

/// The first letters of commands.
#[derive(Clone, Copy)]
pub(crate) enum CommandKind {
    Beat,
    SetFan,
    SetRelay,
    Get,
    Set,
}
