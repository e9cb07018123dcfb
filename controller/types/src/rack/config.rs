//! `rack.yaml`: what stands where, which probe feels it, which fan cools it, and which relay cuts its power.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Limits, ProbeId, Slot};
use crate::Name;
use crate::action::ActingMode;
use crate::cooling::{FANS_OF_A_HUB, HubOutput, RELAYS_OF_A_HUB};

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
    /// Settings of projects, by name; a project that is not here has the defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub projects: BTreeMap<Name, ProjectConfig>,
}

/// What holds for the instances of a project.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectConfig {
    /// The ids that they have on a node.
    #[serde(default)]
    pub ids: IdRanges,
}

/// The ids that the instances of a project have on a node. Those of different projects never overlap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdRanges {
    /// 65,536 for each instance.
    #[default]
    Own,
    /// 65,536 for all of them together.
    Shared,
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

#[cfg(test)]
mod tests {
    use super::*;

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
