//! The rack: slots, zones, hubs, probes and their readings.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::action::ActingMode;
use crate::cooling::{FANS_OF_A_HUB, Fan, HubOutput, RELAYS_OF_A_HUB};
use crate::{Eligibility, MilliCelsius, MilliPercent, Name, NodeStatus, Timestamp};

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

/// A hub in `rack.yaml`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubConfig {
    /// Name.
    pub name: Name,
    /// Path of its line, best below `/dev/serial/by-id/`.
    pub path: String,
}

/// A zone in `rack.yaml`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneConfig {
    /// Name.
    pub name: Name,
    /// Slots cooled together.
    pub slots: Vec<Slot>,
    /// Probes at their inlet.
    #[serde(default)]
    pub probes: Vec<ProbeId>,
    /// Inlet limits instead of the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Fans that cool it. One that cools two zones turns as the one that needs more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fans: Vec<HubOutput>,
    /// Its fans tell how fast they turn. Without (fans of two wires) none is ever called stalled.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub tachometers: bool,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_true(value: &bool) -> bool {
    *value
}

/// `rack.yaml`: what stands where and which probe feels it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RackConfig {
    /// Hubs plugged into the controller.
    #[serde(default)]
    pub hubs: Vec<HubConfig>,
    /// Zones.
    #[serde(default)]
    pub zones: Vec<ZoneConfig>,
    /// Slot of each node, by name.
    #[serde(default)]
    pub nodes: BTreeMap<Name, Slot>,
    /// Who decides on actions against heat.
    #[serde(default, skip_serializing_if = "ActingMode::is_act")]
    pub mode: ActingMode,
    /// The relay that cuts a node's power while its coil has current, by the node's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub power: BTreeMap<Name, HubOutput>,
}

impl RackConfig {
    /// Whether the parts fit together.
    ///
    /// # Errors
    /// A sentence that names the entry at fault: a name used twice, a slot or probe in two zones, a probe, fan or relay
    /// of an unknown hub or with a number that no hub has, a relay of two nodes, two nodes in one slot, or limits that do
    /// not rise.
    pub fn check(&self) -> Result<(), String> {
        let mut hubs = BTreeMap::new();
        for hub in &self.hubs {
            if hubs.insert(&hub.name, ()).is_some() {
                return Err(format!("hubs: '{}' is there twice", hub.name));
            }
        }
        self.check_zones(&hubs)?;
        self.check_power(&hubs)?;
        let mut taken = BTreeMap::new();
        for (node, slot) in &self.nodes {
            if let Some(other) = taken.insert(slot, node) {
                return Err(format!("nodes: '{other}' and '{node}' are both in slot {slot}"));
            }
        }
        Ok(())
    }

    fn check_zones(&self, hubs: &BTreeMap<&Name, ()>) -> Result<(), String> {
        let (mut zones, mut slots, mut probes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for zone in &self.zones {
            if zones.insert(&zone.name, ()).is_some() {
                return Err(format!("zones: '{}' is there twice", zone.name));
            }
            for slot in &zone.slots {
                if let Some(other) = slots.insert(slot, &zone.name) {
                    return Err(format!("zones: slot {slot} is in '{other}' and in '{}'", zone.name));
                }
            }
            for probe in &zone.probes {
                if !hubs.contains_key(&probe.hub) {
                    return Err(format!("zones: '{}' names probe {probe} of a hub that is not in `hubs`", zone.name));
                }
                if let Some(other) = probes.insert(probe, &zone.name) {
                    return Err(format!("zones: probe {probe} is in '{other}' and in '{}'", zone.name));
                }
            }
            for fan in &zone.fans {
                check_output(hubs, fan, FANS_OF_A_HUB, "fan")
                    .map_err(|why| format!("zones: fans of '{}': {why}", zone.name))?;
            }
            if zone.limits.is_some_and(|l| l.warm >= l.hot || l.hot >= l.critical) {
                return Err(format!("zones: the limits of '{}' must rise: warm < hot < critical", zone.name));
            }
        }
        Ok(())
    }

    fn check_power(&self, hubs: &BTreeMap<&Name, ()>) -> Result<(), String> {
        let mut taken = BTreeMap::new();
        for (node, relay) in &self.power {
            check_output(hubs, relay, RELAYS_OF_A_HUB, "relay").map_err(|why| format!("power: '{node}': {why}"))?;
            if let Some(other) = taken.insert(relay, node) {
                return Err(format!("power: relay {relay} is that of '{other}' and of '{node}'"));
            }
        }
        Ok(())
    }

    /// The zones that a fan cools.
    pub fn zones_of_fan<'c>(&'c self, fan: &'c HubOutput) -> impl Iterator<Item = &'c ZoneConfig> {
        self.zones.iter().filter(move |zone| zone.fans.contains(fan))
    }
}

/// Whether a hub can have this fan or relay.
fn check_output(hubs: &BTreeMap<&Name, ()>, output: &HubOutput, most: u8, what: &str) -> Result<(), String> {
    if !hubs.contains_key(&output.hub) {
        return Err(format!("{what} {output} is of a hub that is not in `hubs`"));
    }
    if output.number > most {
        return Err(format!("a hub has no {what} {}: use 1 to {most}", output.number));
    }
    Ok(())
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

    #[test]
    fn a_rack_whose_parts_do_not_fit_is_refused_by_name() {
        let zone = |name: &str, slot: &str, probe: &str| ZoneConfig {
            name: name.parse().unwrap(),
            slots: vec![slot.parse().unwrap()],
            probes: vec![probe.parse().unwrap()],
            limits: None,
            fans: Vec::new(),
            tachometers: true,
        };
        let hubs = vec![HubConfig { name: "hub0".parse().unwrap(), path: "/dev/null".into() }];
        let rack = |zones| RackConfig { hubs: hubs.clone(), zones, ..RackConfig::default() };
        assert_eq!(rack(vec![zone("a", "r1/1/1", "hub0:1"), zone("b", "r1/1/2", "hub0:2")]).check(), Ok(()));
        for (zones, word) in [
            (vec![zone("a", "r1/1/1", "hub0:1"), zone("a", "r1/1/2", "hub0:2")], "twice"),
            (vec![zone("a", "r1/1/1", "hub0:1"), zone("b", "r1/1/1", "hub0:2")], "slot r1/1/1"),
            (vec![zone("a", "r1/1/1", "hub0:1"), zone("b", "r1/1/2", "hub0:1")], "probe hub0:1"),
            (vec![zone("a", "r1/1/1", "hub9:1")], "hub9:1"),
        ] {
            let error = rack(zones).check().unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_fan_or_relay_that_no_hub_has_is_refused_by_name() {
        let output = |text: &str| text.parse::<HubOutput>().unwrap();
        let rack = |fan: &str, power: &[(&str, &str)]| RackConfig {
            hubs: vec![HubConfig { name: "hub0".parse().unwrap(), path: "/dev/null".into() }],
            zones: vec![ZoneConfig {
                name: "a".parse().unwrap(),
                slots: Vec::new(),
                probes: Vec::new(),
                limits: None,
                fans: vec![output(fan)],
                tachometers: true,
            }],
            power: power.iter().map(|(node, relay)| (node.parse().unwrap(), output(relay))).collect(),
            ..RackConfig::default()
        };
        assert_eq!(rack("hub0:4", &[("n01", "hub0:1"), ("n02", "hub0:8")]).check(), Ok(()));
        for (fan, power, words) in [
            ("hub0:5", &[][..], ["fans of 'a'", "1 to 4"]),
            ("hub1:1", &[], ["fans of 'a'", "hub1:1"]),
            ("hub0:1", &[("n01", "hub0:9")], ["power: 'n01'", "1 to 8"]),
            ("hub0:1", &[("n01", "hub1:1")], ["power: 'n01'", "hub1:1"]),
            ("hub0:1", &[("n01", "hub0:3"), ("n02", "hub0:3")], ["relay hub0:3", "'n02'"]),
        ] {
            let error = rack(fan, power).check().unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
}
