//! Fans: each zone's loop decides how hard its fans are driven, hubs are told, and tachometers say whether they turn.
//!
//! What a fan is wanted to do is state, not a message: whoever drives a hub asks for it as often as it likes
//! ([`Cluster::wish_of_hub`]), also after the hub was lost.

use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use roost_thermal::{Alarm, FULL, FanControl, Monitoring, Need};
use roost_types::rack::ZoneConfig;
use roost_types::{Fan, HubOutput, MilliPercent, Name, NodeStatus, RackConfig, Severity, ThermalState, Timestamp};

use crate::cluster::Cluster;
use crate::command::FanValues;
use crate::draft::Draft;
use crate::row::NodeRow;

/// A driven fan that has not turned for so long is stalled: three windows in which a hub counts its turns.
const STALLED_AFTER: Duration = Duration::from_secs(6);
/// What a hub last said of its fans counts for so long: it speaks every 2 s.
const HEARD_WITHIN: Duration = Duration::from_secs(7);

/// What is known of a fan only while the controller runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FanLive {
    /// How hard it should be driven.
    pub wanted: MilliPercent,
    /// What its hub last said, and when.
    heard: Option<(Timestamp, FanValues)>,
    /// Since when it has been driven without turning.
    still_since: Option<Timestamp>,
    /// It is driven and does not turn.
    pub stalled: bool,
}

impl Default for FanLive {
    fn default() -> Self {
        Self { wanted: FULL, heard: None, still_since: None, stalled: false }
    }
}

/// What a hub should do now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HubWish {
    /// Number of each fan, and its drive in hundredths of a percent.
    pub fans: Vec<(u8, u16)>,
    /// Number of each relay that was decided on, and whether its coil has current.
    pub relays: Vec<(u8, bool)>,
}

impl Cluster {
    /// What a hub should do now, whatever it does.
    #[must_use]
    pub fn wish_of_hub(&self, hub: &Name) -> HubWish {
        let fans = self.fans.iter().filter(|(output, _)| output.hub == *hub);
        let relays = self.relays.iter().filter(|(output, _)| output.hub == *hub);
        HubWish {
            fans: fans.map(|(output, fan)| (output.number, centi(fan.wanted))).collect(),
            relays: relays.filter_map(|(output, relay)| Some((output.number, relay.wanted?))).collect(),
        }
    }

    /// The fans of a zone as the API shows them.
    pub(crate) fn fans_of<'c>(&'c self, zone: &'c ZoneConfig, now: Timestamp) -> impl Iterator<Item = Fan> + 'c {
        zone.fans.iter().filter_map(move |id| {
            let live = self.fans.get(id)?;
            let heard = live.heard.filter(|(at, _)| now.since(*at) <= HEARD_WITHIN).map(|(_, values)| values);
            Some(Fan {
                id: id.clone(),
                wanted: live.wanted,
                duty: heard.map(|values| values.duty),
                rpm: heard.and_then(|values| values.rpm),
                stalled: live.stalled,
            })
        })
    }
}

/// The outputs of a hub.
pub fn of_hub<T>(outputs: &OrdMap<HubOutput, Arc<T>>, hub: &Name) -> Vec<HubOutput> {
    outputs.keys().filter(|id| id.hub == *hub).cloned().collect()
}

/// To the unit of the serial line.
fn centi(duty: MilliPercent) -> u16 {
    u16::try_from(duty.0.clamp(0, FULL.0) / 10).unwrap_or(0)
}

/// Takes in what a hub said of its fans.
pub fn observe(draft: &mut Draft, hub: &Name, fans: &[FanValues]) {
    let now = draft.now;
    for values in fans {
        let id = HubOutput { hub: hub.clone(), number: values.number };
        let Some(live) = draft.cluster.fans.get_mut(&id) else { continue };
        let live = Arc::make_mut(live);
        live.heard = Some((now, *values));
        let still = values.rpm == Some(0) && values.duty.0 > 0;
        live.still_since = if still { live.still_since.or(Some(now)) } else { None };
    }
}

/// A hub is lost: what its fans do is not known. One that was stalled still is, as far as anybody knows.
pub fn lose_hub(draft: &mut Draft, hub: &Name) {
    for id in of_hub(&draft.cluster.fans, hub) {
        let Some(live) = draft.cluster.fans.get_mut(&id).map(Arc::make_mut) else { continue };
        live.heard = None;
        live.still_since = None;
    }
}

/// Drives every zone's fans anew, and looks whether they turn.
pub fn step(draft: &mut Draft, nodes: &[Arc<NodeRow>]) {
    let config = Arc::clone(&draft.cluster.config);
    for zone in config.rack.zones.iter().filter(|zone| !zone.fans.is_empty()) {
        let need = need(&draft.cluster, zone, nodes);
        let control = draft.cluster.fan_controls.entry(zone.name.clone()).or_default();
        let now = draft.now;
        Arc::make_mut(control).step(now, &config.fans, &need);
    }
    let fans: Vec<HubOutput> = draft.cluster.fans.keys().cloned().collect();
    for fan in fans {
        drive(draft, &fan);
        watch(draft, &fan);
    }
}

/// What a zone's fans must know of it.
fn need(cluster: &Cluster, zone: &ZoneConfig, nodes: &[Arc<NodeRow>]) -> Need {
    let mut need = Need::default();
    let air = cluster.zones.get(&zone.name);
    match air.map(|air| (air.state(), air.inlet())) {
        Some((ThermalState::Critical, _)) => need.alarm = Some(Alarm::Critical),
        Some((ThermalState::Unknown, _)) if !zone.probes.is_empty() => need.alarm = Some(Alarm::Unknown),
        Some((_, Some(inlet))) => {
            need.inlet = Some((inlet, cluster.config.thermal.inlet_limits(zone.limits.as_ref())));
        }
        Some((_, None)) | None => {}
    }
    let here = nodes.iter().filter(|node| node.slot.as_ref().is_some_and(|slot| zone.slots.contains(slot)));
    for live in here.filter_map(|node| cluster.live.get(&node.id)) {
        match live.status {
            NodeStatus::Ready => {
                if live.heat.monitoring() == Monitoring::Lost {
                    need.alarm.get_or_insert(Alarm::Unknown);
                }
                need.board(live.heat.state(), live.heat.estimate(), live.heat.limits());
            }
            // Its air is all that is known of it.
            NodeStatus::Joining | NodeStatus::Unreachable | NodeStatus::Down | NodeStatus::Retired => {}
        }
    }
    if cluster.heat_brake {
        need.alarm = Some(Alarm::Brake);
    }
    need
}

/// A fan does what the neediest of its zones asks for.
fn drive(draft: &mut Draft, fan: &HubOutput) {
    let config = Arc::clone(&draft.cluster.config);
    let controls = config.rack.zones_of_fan(fan).filter_map(|zone| draft.cluster.fan_controls.get(&zone.name));
    let wanted = controls.map(|control| control.duty()).max().unwrap_or(FULL);
    // Whole percents: a hub need not hear of less.
    let wanted = MilliPercent((wanted.0 + 500) / 1000 * 1000);
    match draft.cluster.fans.get_mut(fan) {
        Some(live) if live.wanted != wanted => Arc::make_mut(live).wanted = wanted,
        Some(_) | None => {}
    }
}

/// Fires when a driven fan does not turn, resolves when it does again.
fn watch(draft: &mut Draft, fan: &HubOutput) {
    let config = Arc::clone(&draft.cluster.config);
    let measured = config.rack.zones_of_fan(fan).all(|zone| zone.tachometers);
    let Some(live) = draft.cluster.fans.get(fan).filter(|_| measured) else { return };
    let still = live.still_since.map(|since| draft.now.since(since)).filter(|still| *still >= STALLED_AFTER);
    let turns = live.heard.is_some_and(|(_, values)| values.rpm.is_some_and(|rpm| rpm > 0));
    let key = format!("fan-stalled/{fan}");
    match (live.stalled, still, turns) {
        (false, Some(still), _) => {
            let duty = live.heard.map_or(live.wanted, |(_, values)| values.duty);
            set_stalled(draft, fan, true);
            let zones: Vec<&str> = config.rack.zones_of_fan(fan).map(|zone| zone.name.as_str()).collect();
            let message = format!(
                "fan {fan} of {} stands still at {duty} drive: 0 rpm for {} s",
                zones.join(" and "),
                still.as_secs()
            );
            let subject = zones.first().map_or_else(|| "/v1/rack".to_owned(), |zone| format!("/v1/rack/zones/{zone}"));
            draft.fire(&key, Severity::Warning, &subject, &message);
        }
        (true, None, true) => {
            set_stalled(draft, fan, false);
            draft.resolve(&key);
        }
        (false, None, true) => draft.resolve(&key),
        (true, _, _) | (false, None, false) => {}
    }
}

fn set_stalled(draft: &mut Draft, fan: &HubOutput, stalled: bool) {
    if let Some(live) = draft.cluster.fans.get_mut(fan) {
        Arc::make_mut(live).stalled = stalled;
    }
}

/// The fans that a rack names, as nobody has driven them yet.
pub fn fans_of_rack(rack: &RackConfig) -> OrdMap<HubOutput, Arc<FanLive>> {
    let fans = rack.zones.iter().flat_map(|zone| &zone.fans);
    fans.map(|fan| (fan.clone(), Arc::new(FanLive::default()))).collect()
}

/// Why a zone's fans are driven as they are; empty without fans.
pub fn reason(cluster: &Cluster, zone: &ZoneConfig) -> String {
    let control = cluster.fan_controls.get(&zone.name).filter(|_| !zone.fans.is_empty());
    control.map(|control: &Arc<FanControl>| control.reason().to_owned()).unwrap_or_default()
}
