//! The frames and what their fields mean.

use crate::fields::Fields;
use crate::{
    Fault, HUMIDITY_RANGE, Line, MAX_CAPABILITIES, MAX_FIRMWARE, MAX_PROBES, TEMPERATURE_RANGE, Text, line::Writer,
};

/// One line of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// `$R`, hub to host.
    Reading(Reading),
    /// `$H`, hub to host.
    Hello(Hello),
    /// `$A`, hub to host.
    Ack(Ack),
    /// `$Q`, host to hub.
    Query(Query),
}

/// `$R,<seq>,<probe>,<temperature>,<humidity>`: what one probe measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Number of the frame, wraps after 65535.
    pub seq: u16,
    /// The probe, 1 to [`MAX_PROBES`].
    pub probe: u8,
    /// Hundredths of a degree Celsius in [`TEMPERATURE_RANGE`]; `None` when the chip gave no value.
    pub temperature_centi: Option<i16>,
    /// Hundredths of a percent of relative humidity in [`HUMIDITY_RANGE`]; `None` when the chip gave no value.
    pub humidity_centi: Option<u16>,
}

/// `$H,<seq>,<version>,<firmware>,<capabilities>`: what the hub is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Number of the frame, wraps after 65535.
    pub seq: u16,
    /// Version of the protocol the hub speaks.
    pub version: u8,
    /// Name and version of the firmware, for example `roost-hub/0.1.0`.
    pub firmware: Text<MAX_FIRMWARE>,
    /// Words joined by `+`, for example `sht31+mux`.
    pub capabilities: Text<MAX_CAPABILITIES>,
}

/// `$Q,<seq>`: ask for a hello now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query {
    /// Number of the command, chosen by the host.
    pub seq: u16,
}

/// `$A,<seq>,<code>`: the hub received a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    /// Number of the *command*; an acknowledgement is not part of the hub's own sequence.
    pub seq: u16,
    /// What became of it.
    pub code: AckCode,
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckCode {
    /// 0: done, now or when the same command came before.
    Done,
    /// 1: this firmware does not know such commands.
    Unsupported,
    /// 2: the command's fields make no sense.
    Invalid,
}

impl AckCode {
    const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unsupported => 1,
            Self::Invalid => 2,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Done),
            1 => Some(Self::Unsupported),
            2 => Some(Self::Invalid),
            _ => None,
        }
    }
}

impl Frame {
    /// The frame's number in the hub's own sequence; `None` for what answers or comes from the host.
    #[must_use]
    pub const fn hub_seq(&self) -> Option<u16> {
        match self {
            Self::Reading(Reading { seq, .. }) | Self::Hello(Hello { seq, .. }) => Some(*seq),
            Self::Ack(_) | Self::Query(_) => None,
        }
    }

    /// The frame as bytes for the line, with checksum and line end. Values are written as they are, in range or not.
    #[must_use]
    pub fn line(&self) -> Line {
        let mut out = Writer::new();
        match self {
            Self::Reading(r) => {
                out.put(format_args!("R,{},{},", r.seq, r.probe));
                if let Some(value) = r.temperature_centi {
                    out.put(format_args!("{value}"));
                }
                out.put(format_args!(","));
                if let Some(value) = r.humidity_centi {
                    out.put(format_args!("{value}"));
                }
            }
            Self::Hello(h) => out.put(format_args!("H,{},{},{},{}", h.seq, h.version, h.firmware, h.capabilities)),
            Self::Ack(a) => out.put(format_args!("A,{},{}", a.seq, a.code.number())),
            Self::Query(q) => out.put(format_args!("Q,{}", q.seq)),
        }
        out.finish()
    }

    /// Read the bytes between `$` and `*`, whose checksum was right.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Fault> {
        let mut fields = Fields::new(body);
        let kind = fields.text().ok_or(Fault::Malformed)?;
        let seq = fields.number().ok_or(Fault::Malformed)?;
        let frame = match kind {
            b"R" => Self::Reading(decode_reading(&mut fields, seq)?),
            b"H" => Self::Hello(decode_hello(&mut fields, seq).ok_or(Fault::Malformed)?),
            b"A" => Self::Ack(decode_ack(&mut fields, seq).ok_or(Fault::Malformed)?),
            b"Q" => Self::Query(Query { seq }),
            _ => return Err(Fault::Malformed),
        };
        if fields.is_done() { Ok(frame) } else { Err(Fault::Malformed) }
    }
}

fn decode_reading(fields: &mut Fields<'_>, seq: u16) -> Result<Reading, Fault> {
    let mut parts = || Some((fields.number::<u8>()?, fields.optional()?, fields.optional()?));
    let (probe, temperature, humidity) = parts().ok_or(Fault::Malformed)?;
    if !(1..=MAX_PROBES).contains(&probe) || !fields.is_done() {
        return Err(Fault::Malformed);
    }
    let out_of_range = Fault::OutOfRange { seq, probe };
    let temperature_centi = match temperature {
        None => None,
        Some(n) => Some(i16::try_from(n).ok().filter(|n| TEMPERATURE_RANGE.contains(n)).ok_or(out_of_range)?),
    };
    let humidity_centi = match humidity {
        None => None,
        Some(n) => Some(u16::try_from(n).ok().filter(|n| HUMIDITY_RANGE.contains(n)).ok_or(out_of_range)?),
    };
    Ok(Reading { seq, probe, temperature_centi, humidity_centi })
}

fn decode_hello(fields: &mut Fields<'_>, seq: u16) -> Option<Hello> {
    let version = fields.number()?;
    let firmware = Text::new(fields.text()?).ok()?;
    let capabilities = Text::new(fields.text()?).ok()?;
    Some(Hello { seq, version, firmware, capabilities })
}

fn decode_ack(fields: &mut Fields<'_>, seq: u16) -> Option<Ack> {
    Some(Ack { seq, code: AckCode::from_number(fields.number()?)? })
}
