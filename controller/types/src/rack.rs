//! The rack: slots, zones, hubs, probes and their readings.

mod config;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::action::ActingMode;
use crate::cooling::Fan;
use crate::{Eligibility, MilliCelsius, MilliPercent, Name, NodeStatus, Timestamp};

pub use config::{HubConfig, IdRanges, ProjectConfig, RackConfig, ZoneConfig};

/// How hot a zone or node is. `unknown` is never cool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ThermalState {
    /// No data that can be trusted.
    #[default]
    Unknown,
    /// As it should be.
    Nominal,
    /// Near the limit.
    Warm,
    /// Over the limit: place nothing, empty it.
    Hot,
    /// In danger of damage.
    Critical,
}

impl ThermalState {
    /// The state as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Nominal => "nominal",
            Self::Warm => "warm",
            Self::Hot => "hot",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for ThermalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Temperatures at which a state begins. Each must be above the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Limits {
    /// Warm from here.
    pub warm: MilliCelsius,
    /// Hot from here.
    pub hot: MilliCelsius,
    /// Critical from here.
    pub critical: MilliCelsius,
}

/// Where a board stands, written `RACK/SHELF/POSITION`, for example `r1/2/6`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot {
    /// Rack.
    pub rack: Name,
    /// Shelf, from 1 at the bottom.
    pub shelf: u16,
    /// Position on the shelf, from 1 at the left.
    pub position: u16,
}

impl FromStr for Slot {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not RACK/SHELF/POSITION, for example r1/2/6");
        let mut parts = text.split('/');
        let rack = parts.next().and_then(|p| p.parse().ok()).ok_or_else(wrong)?;
        let mut number = || parts.next().and_then(|p| p.parse::<u16>().ok()).filter(|n| *n > 0).ok_or_else(wrong);
        let slot = Self { rack, shelf: number()?, position: number()? };
        if parts.next().is_some() { Err(wrong()) } else { Ok(slot) }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.rack, self.shelf, self.position)
    }
}

impl Serialize for Slot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Slot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A probe, written `HUB:PROBE`, for example `hub0:1`: the hub's name and the number on the hub's line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProbeId {
    /// The hub.
    pub hub: Name,
    /// Number of the probe on that hub, from 1.
    pub number: u8,
}

impl FromStr for ProbeId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not HUB:PROBE, for example hub0:1");
        let (hub, number) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Self {
            hub: hub.parse().map_err(|_| wrong())?,
            number: number.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?,
        })
    }
}

impl fmt::Display for ProbeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.hub, self.number)
    }
}

impl Serialize for ProbeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProbeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What a reading measures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Quantity {
    /// °C.
    Temperature,
    /// Percent relative humidity.
    Humidity,
}

/// How far a reading can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Quality {
    /// As it should be.
    Ok,
    /// Too old.
    Stale,
    /// Outside what the chip can measure.
    OutOfRange,
}

/// A value of a probe as the API shows it. `value` is in °C or percent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reading {
    /// When the controller received it.
    pub at: Timestamp,
    /// The value.
    pub value: f64,
}

/// A probe as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Probe {
    /// `HUB:PROBE`.
    pub id: ProbeId,
    /// The zone it stands in, if any.
    pub zone: Option<Name>,
    /// Last temperature.
    pub temperature: Option<MilliCelsius>,
    /// Last relative humidity.
    pub humidity: Option<MilliPercent>,
    /// How far they can be trusted.
    pub quality: Quality,
    /// Age of the last reading in milliseconds.
    pub age_ms: Option<u64>,
}

/// Counters of one serial line, from the opening of the port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HubCounters {
    /// Frames whose checksum was right and that could be read.
    pub frames_ok: u64,
    /// Frames with a wrong checksum.
    pub bad_crc: u64,
    /// Frames with a right checksum that could not be read, and bytes between frames (a run counts once).
    pub malformed: u64,
    /// Values no chip can measure: never a reading.
    pub out_of_range: u64,
    /// Frames dropped because the line was flooded, or too long.
    pub dropped: u64,
    /// Frames that the sequence number says are missing.
    pub lost: u64,
}

/// A hub as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hub {
    /// Name.
    pub name: Name,
    /// Path of its line.
    pub path: String,
    /// Good frames arrive.
    pub connected: bool,
    /// What its firmware says of itself.
    pub firmware: Option<String>,
    /// Counters of the line.
    pub counters: HubCounters,
    /// When the last good frame arrived.
    pub last_frame_at: Option<Timestamp>,
    /// Its probes.
    pub probes: Vec<Probe>,
}

/// What `GET /v1/rack` shows of a node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SlotNode {
    /// Name.
    pub name: Name,
    /// Whether the agent answers.
    pub status: NodeStatus,
    /// Whether it may be used.
    pub eligibility: Eligibility,
    /// How hot it is.
    pub thermal: ThermalState,
    /// Worst-case estimate of its temperature.
    pub temperature: Option<MilliCelsius>,
    /// Busy share of all cores, 0 to 1.
    pub load: Option<f64>,
    /// Names of the instances it has.
    pub instances: Vec<String>,
}

/// A slot of a zone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SlotView {
    /// Where.
    pub slot: Slot,
    /// What stands there.
    pub node: Option<SlotNode>,
}

/// A zone as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Zone {
    /// Name.
    pub name: Name,
    /// State with hysteresis.
    pub thermal: ThermalState,
    /// Why the state is what it is.
    pub reason: String,
    /// Inlet temperature: the hottest good probe's.
    pub temperature: Option<MilliCelsius>,
    /// Relative humidity at the inlet.
    pub humidity: Option<MilliPercent>,
    /// Dew point (Magnus formula).
    pub dew_point: Option<MilliCelsius>,
    /// Age of the newest reading in milliseconds.
    pub age_ms: Option<u64>,
    /// Limits in force.
    pub limits: Limits,
    /// Its probes.
    pub probes: Vec<ProbeId>,
    /// Its fans.
    #[serde(default)]
    pub fans: Vec<Fan>,
    /// Why its fans are driven as they are; empty without fans.
    #[serde(default)]
    pub fans_reason: String,
    /// Its slots and what stands in them.
    pub slots: Vec<SlotView>,
}

/// `GET /v1/rack`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RackView {
    /// When this was seen.
    pub at: Timestamp,
    /// Zones in the order of `rack.yaml`.
    pub zones: Vec<Zone>,
    /// Nodes that stand in no slot of a zone.
    pub elsewhere: Vec<SlotNode>,
    /// Hubs.
    pub hubs: Vec<Hub>,
    /// Instances that wait for a node.
    pub pending: u32,
    /// Who decides on actions against heat.
    #[serde(default)]
    pub mode: ActingMode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_probes_read_back_as_written() {
        assert_eq!("r1/2/6".parse::<Slot>().unwrap().to_string(), "r1/2/6");
        assert_eq!("hub0:1".parse::<ProbeId>().unwrap().to_string(), "hub0:1");
        for bad in ["", "r1", "r1/2", "r1/0/1", "r1/1/1/1", "R/1/1"] {
            assert!(bad.parse::<Slot>().is_err(), "{bad}");
        }
        for bad in ["", "hub0", "hub0:0", "hub0:x", ":1"] {
            assert!(bad.parse::<ProbeId>().is_err(), "{bad}");
        }
    }
}
