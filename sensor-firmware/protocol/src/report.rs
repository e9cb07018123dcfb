//! What a hub says: readings, what it is, its fans and relays, its probes, its settings, and answers to commands.

use crate::fields::Fields;
use crate::line::Writer;
use crate::{
    DUTY_RANGE, Fault, HUMIDITY_RANGE, MAX_CAPABILITIES, MAX_FANS, MAX_FIRMWARE, MAX_PLACE, MAX_PROBES, MAX_RPM,
    TEMPERATURE_RANGE, Text,
};

/// What a probe is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// 1: Sensirion SHT31, temperature and humidity.
    Sht31,
    /// 2: Bosch BME280, temperature and humidity.
    Bme280,
    /// 3: Maxim DS18B20, temperature only.
    Ds18b20,
    /// 4: Aosong DHT22, temperature and humidity.
    Dht22,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Sht31, Self::Bme280, Self::Ds18b20, Self::Dht22];

    /// Its number on the line.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Sht31 => 1,
            Self::Bme280 => 2,
            Self::Ds18b20 => 3,
            Self::Dht22 => 4,
        }
    }

    /// Its name, as a hub's capabilities spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sht31 => "sht31",
            Self::Bme280 => "bme280",
            Self::Ds18b20 => "ds18b20",
            Self::Dht22 => "dht22",
        }
    }

    fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| i32::from(kind.number()) == number)
    }
}

/// `$R,<seq>,<probe>,<temperature>,<humidity>[,<kind>]`: what one probe measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Number of the frame, wraps after 65535.
    pub seq: u16,
    /// The probe, 1 to [`MAX_PROBES`].
    pub probe: u8,
    /// Hundredths of a degree Celsius in [`TEMPERATURE_RANGE`]; `None` when the chip gave no value.
    pub temperature_centi: Option<i16>,
    /// Hundredths of a percent of relative humidity in [`HUMIDITY_RANGE`]; `None` when the chip gave no value or
    /// measures none.
    pub humidity_centi: Option<u16>,
    /// What the probe is made of; `None` when the hub does not say (before 0.2.0).
    pub kind: Option<Kind>,
}

impl Reading {
    pub(crate) fn write(&self, out: &mut Writer) {
        out.put(format_args!("R,{},{},", self.seq, self.probe));
        out.optional(self.temperature_centi);
        out.put(format_args!(","));
        out.optional(self.humidity_centi);
        if let Some(kind) = self.kind {
            out.put(format_args!(",{}", kind.number()));
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>, seq: u16) -> Result<Self, Fault> {
        let mut parts = || Some((fields.number::<u8>()?, fields.optional()?, fields.optional()?));
        let (probe, temperature, humidity) = parts().ok_or(Fault::Malformed)?;
        let kind = if fields.is_done() {
            None
        } else {
            Some(fields.number().and_then(Kind::from_number).ok_or(Fault::Malformed)?)
        };
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
        Ok(Self { seq, probe, temperature_centi, humidity_centi, kind })
    }
}

/// `$H,<seq>,<version>,<firmware>,<capabilities>`: what the hub is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Number of the frame, wraps after 65535.
    pub seq: u16,
    /// Version of the protocol the hub speaks.
    pub version: u8,
    /// Name and version of the firmware, for example `roost-hub/0.2.0`.
    pub firmware: Text<MAX_FIRMWARE>,
    /// Words joined by `+`, for example `sht31+mux`.
    pub capabilities: Text<MAX_CAPABILITIES>,
}

impl Hello {
    pub(crate) fn write(&self, out: &mut Writer) {
        out.put(format_args!("H,{},{},{},{}", self.seq, self.version, self.firmware, self.capabilities));
    }

    pub(crate) fn decode(fields: &mut Fields<'_>, seq: u16) -> Option<Self> {
        let version = fields.number()?;
        let firmware = Text::new(fields.text()?).ok()?;
        let capabilities = Text::new(fields.text()?).ok()?;
        Some(Self { seq, version, firmware, capabilities })
    }
}

/// `$T,<seq>,<fan>,<duty>,<rpm>`: how a fan is driven and how it turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fan {
    /// Number of the frame, wraps after 65535.
    pub seq: u16,
    /// The fan, 1 to [`MAX_FANS`].
    pub fan: u8,
    /// Hundredths of a percent of full drive, in [`DUTY_RANGE`].
    pub duty_centi: u16,
    /// Turns a minute by its tachometer, 0 to [`MAX_RPM`]; `None` until it was counted for a whole window.
    pub rpm: Option<u16>,
}

impl Fan {
    pub(crate) fn write(&self, out: &mut Writer) {
        out.put(format_args!("T,{},{},{},", self.seq, self.fan, self.duty_centi));
        out.optional(self.rpm);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>, seq: u16) -> Option<Self> {
        let fan = fields.number_in(1..=MAX_FANS)?;
        let duty_centi = fields.number_in(DUTY_RANGE)?;
        let rpm = match fields.optional()? {
            None => None,
            Some(rpm) => Some(u16::try_from(rpm).ok().filter(|rpm| *rpm <= MAX_RPM)?),
        };
        Some(Self { seq, fan, duty_centi, rpm })
    }
}

/// `$S,<seq>,<uptime>,<relays on>,<relays there>,<host silent>`: the state of the hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Number of the frame, wraps after 65535.
    pub seq: u16,
    /// Seconds since the hub started.
    pub uptime_seconds: u32,
    /// Bit *n* − 1: relay *n* is on.
    pub relays_on: u8,
    /// Bit *n* − 1: the hub has a relay *n*.
    pub relays_there: u8,
    /// The host was silent, or never spoke: the fans run at full.
    pub failsafe: bool,
}

impl Status {
    pub(crate) fn write(&self, out: &mut Writer) {
        let Self { seq, uptime_seconds, relays_on, relays_there, failsafe } = self;
        out.put(format_args!("S,{seq},{uptime_seconds},{relays_on},{relays_there},{}", u8::from(*failsafe)));
    }

    pub(crate) fn decode(fields: &mut Fields<'_>, seq: u16) -> Option<Self> {
        Some(Self {
            seq,
            uptime_seconds: fields.number()?,
            relays_on: fields.number()?,
            relays_there: fields.number()?,
            failsafe: fields.flag()?,
        })
    }
}

/// `$I,<seq>,<probe>,<kind>,<place>`: which chip a probe's number belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Number of the frame, wraps after 65535.
    pub seq: u16,
    /// The probe, 1 to [`MAX_PROBES`].
    pub probe: u8,
    /// What it is made of.
    pub kind: Kind,
    /// Where it is: `0x44`, `ch3/0x44`, `pin2`, or a 1-Wire chip's own number, `28FF641E8216C3A1`.
    pub place: Text<MAX_PLACE>,
}

impl Identity {
    pub(crate) fn write(&self, out: &mut Writer) {
        out.put(format_args!("I,{},{},{},{}", self.seq, self.probe, self.kind.number(), self.place));
    }

    pub(crate) fn decode(fields: &mut Fields<'_>, seq: u16) -> Option<Self> {
        let probe = fields.number_in(1..=MAX_PROBES)?;
        let kind = Kind::from_number(fields.number()?)?;
        let place = Text::new(fields.text()?).ok()?;
        Some(Self { seq, probe, kind, place })
    }
}

/// `$V,<seq>,<key>,<value>`: the value of a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Number of the frame, wraps after 65535.
    pub seq: u16,
    /// Which setting; see [`crate::settings`].
    pub key: u8,
    /// Its value.
    pub value: u16,
}

impl Setting {
    pub(crate) fn write(&self, out: &mut Writer) {
        out.put(format_args!("V,{},{},{}", self.seq, self.key, self.value));
    }

    pub(crate) fn decode(fields: &mut Fields<'_>, seq: u16) -> Option<Self> {
        Some(Self { seq, key: fields.number()?, value: fields.number()? })
    }
}

/// `$A,<seq>,<code>`: the hub received a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    /// Number of the *command*; an acknowledgement is not part of the hub's own sequence.
    pub seq: u16,
    /// What became of it.
    pub code: AckCode,
}

impl Ack {
    pub(crate) fn write(&self, out: &mut Writer) {
        out.put(format_args!("A,{},{}", self.seq, self.code.number()));
    }

    pub(crate) fn decode(fields: &mut Fields<'_>, seq: u16) -> Option<Self> {
        Some(Self { seq, code: AckCode::from_number(fields.number()?)? })
    }
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckCode {
    /// 0: done, now or when the same command came before.
    Done,
    /// 1: this firmware does not know such commands.
    Unsupported,
    /// 2: the command's fields make no sense, or name what this hub does not have.
    Invalid,
    /// 3: the command was understood and the hardware did not obey.
    Failed,
}

impl AckCode {
    const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unsupported => 1,
            Self::Invalid => 2,
            Self::Failed => 3,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Done),
            1 => Some(Self::Unsupported),
            2 => Some(Self::Invalid),
            3 => Some(Self::Failed),
            _ => None,
        }
    }
}
