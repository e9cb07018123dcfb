//! All lines there are, and how each is told from the others.

use crate::command::CommandKind;
use crate::fields::Fields;
use crate::line::Writer;
use crate::{Ack, Action, Command, Fan, Fault, Hello, Identity, Line, Query, Reading, Setting, Status};

/// One line of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// `$R`, hub to host.
    Reading(Reading),
    /// `$H`, hub to host.
    Hello(Hello),
    /// `$T`, hub to host.
    Fan(Fan),
    /// `$S`, hub to host.
    Status(Status),
    /// `$I`, hub to host.
    Identity(Identity),
    /// `$V`, hub to host.
    Setting(Setting),
    /// `$A`, hub to host.
    Ack(Ack),
    /// `$Q`, host to hub.
    Query(Query),
    /// `$B`, `$F`, `$P`, `$G` and `$C`, host to hub.
    Command(Command),
}

impl Frame {
    /// The frame's number in the hub's own sequence; `None` for what answers or comes from the host.
    #[must_use]
    pub const fn hub_seq(&self) -> Option<u16> {
        match self {
            Self::Reading(Reading { seq, .. })
            | Self::Hello(Hello { seq, .. })
            | Self::Fan(Fan { seq, .. })
            | Self::Status(Status { seq, .. })
            | Self::Identity(Identity { seq, .. })
            | Self::Setting(Setting { seq, .. }) => Some(*seq),
            Self::Ack(_) | Self::Query(_) | Self::Command(_) => None,
        }
    }

    /// The frame as bytes for the line, with checksum and line end. Values are written as they are, in range or not.
    #[must_use]
    pub fn line(&self) -> Line {
        let mut out = Writer::new();
        match self {
            Self::Reading(reading) => reading.write(&mut out),
            Self::Hello(hello) => hello.write(&mut out),
            Self::Fan(fan) => fan.write(&mut out),
            Self::Status(status) => status.write(&mut out),
            Self::Identity(identity) => identity.write(&mut out),
            Self::Setting(setting) => setting.write(&mut out),
            Self::Ack(ack) => ack.write(&mut out),
            Self::Query(query) => out.put(format_args!("Q,{}", query.seq)),
            Self::Command(command) => command.write(&mut out),
        }
        out.finish()
    }

    /// Read the bytes between `$` and `*`, whose checksum was right.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Fault> {
        let mut fields = Fields::new(body);
        let kind = fields.text().ok_or(Fault::Malformed)?;
        let seq = fields.number().ok_or(Fault::Malformed)?;
        let frame = match kind {
            b"R" => Some(Self::Reading(Reading::decode(&mut fields, seq)?)),
            b"H" => Hello::decode(&mut fields, seq).map(Self::Hello),
            b"T" => Fan::decode(&mut fields, seq).map(Self::Fan),
            b"S" => Status::decode(&mut fields, seq).map(Self::Status),
            b"I" => Identity::decode(&mut fields, seq).map(Self::Identity),
            b"V" => Setting::decode(&mut fields, seq).map(Self::Setting),
            b"A" => Ack::decode(&mut fields, seq).map(Self::Ack),
            b"Q" => Some(Self::Query(Query { seq })),
            b"B" => command(CommandKind::Beat, &mut fields, seq),
            b"F" => command(CommandKind::SetFan, &mut fields, seq),
            b"P" => command(CommandKind::SetRelay, &mut fields, seq),
            b"G" => command(CommandKind::Get, &mut fields, seq),
            b"C" => command(CommandKind::Set, &mut fields, seq),
            _ => None,
        };
        frame.filter(|_| fields.is_done()).ok_or(Fault::Malformed)
    }
}

fn command(kind: CommandKind, fields: &mut Fields<'_>, seq: u16) -> Option<Frame> {
    Action::decode(kind, fields).map(|action| Frame::Command(Command { seq, action }))
}
