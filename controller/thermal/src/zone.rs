//! The air at a zone's inlet: from the readings of its probes to one temperature and a state.

use std::collections::BTreeMap;
use std::time::Duration;

use roost_types::rack::{Limits, ProbeId};
use roost_types::{MilliCelsius, MilliPercent, Name, ThermalState, Timestamp};

use crate::level::{Level, compare, seconds};
use crate::policy::Policy;
use crate::{Transition, dew_point};

/// What one probe last said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeValue {
    /// When it spoke.
    pub at: Timestamp,
    /// Temperature, if it could be measured.
    pub temperature: Option<MilliCelsius>,
    /// Relative humidity, if it could be measured.
    pub humidity: Option<MilliPercent>,
    /// Its hub has spoken since it was last lost.
    pub connected: bool,
}

/// The heat of a zone. Hot wins: of several good probes the hottest counts.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ZoneHeat {
    probes: BTreeMap<ProbeId, ProbeValue>,
    level: Level,
    state: ThermalState,
    reason: String,
    /// The worst-case inlet temperature at the last step, and what the probe that decided it had said.
    inlet: Option<(MilliCelsius, ProbeValue)>,
}

impl ZoneHeat {
    /// Takes in what a probe said. A probe that could measure nothing ages like a silent one.
    pub fn observe(
        &mut self,
        probe: &ProbeId,
        at: Timestamp,
        temperature: Option<MilliCelsius>,
        humidity: Option<MilliPercent>,
    ) {
        if temperature.is_none() {
            if let Some(known) = self.probes.get_mut(probe) {
                known.humidity = None;
            }
            return;
        }
        self.probes.insert(probe.clone(), ProbeValue { at, temperature, humidity, connected: true });
    }

    /// A hub's line closed: what its probes said counts no more.
    pub fn lose_hub(&mut self, hub: &Name) {
        for (_, value) in self.probes.iter_mut().filter(|(probe, _)| probe.hub == *hub) {
            value.connected = false;
        }
    }

    /// Decides the state anew, and says so when it changed.
    pub fn step(&mut self, now: Timestamp, policy: &Policy, own_limits: Option<&Limits>) -> Option<Transition> {
        let limits = policy.inlet_limits(own_limits);
        self.inlet = self.worst(now, policy);
        let from = self.state;
        let to = match self.inlet {
            Some((inlet, _)) => {
                self.level.feed(now, inlet, &limits, &policy.inlet);
                self.level.mark()
            }
            None => {
                self.level.lose();
                ThermalState::Unknown
            }
        };
        self.reason = self.explain(now, (from, to), &limits, policy);
        self.state = to;
        (from != to).then(|| Transition { from, to, reason: self.reason.clone() })
    }

    fn explain(
        &self,
        now: Timestamp,
        (from, to): (ThermalState, ThermalState),
        limits: &Limits,
        policy: &Policy,
    ) -> String {
        let age = self.age(now).map_or_else(|| "never read".to_owned(), |age| format!("{} old", seconds(age)));
        match self.inlet {
            Some((inlet, _)) => format!("inlet {}, {age}", compare(inlet, from, to, limits, &policy.inlet)),
            None if self.probes.is_empty() => "no probe has been read yet".to_owned(),
            None => format!("no fresh reading: the last is {age}"),
        }
    }

    /// The probe whose worst case is hottest, among those that are neither lost nor silent.
    fn worst(&self, now: Timestamp, policy: &Policy) -> Option<(MilliCelsius, ProbeValue)> {
        let good = self.probes.values().filter(|value| value.connected).filter_map(|value| {
            let worst = policy.worst_case(&policy.inlet, value.temperature?, now.since(value.at))?;
            Some((worst, *value))
        });
        good.max_by_key(|(worst, value)| (*worst, value.at))
    }

    /// The state after the last step.
    #[must_use]
    pub fn state(&self) -> ThermalState {
        self.state
    }

    /// The state it would have if its last reading still held; never unknown.
    #[must_use]
    pub fn mark(&self) -> ThermalState {
        self.level.mark()
    }

    /// Why, with the numbers of the last step.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The inlet temperature at the last step: the hottest good probe's, at its worst case when stale.
    #[must_use]
    pub fn inlet(&self) -> Option<MilliCelsius> {
        self.inlet.map(|(worst, _)| worst)
    }

    /// The same temperature as it was measured.
    #[must_use]
    pub fn measured(&self) -> Option<MilliCelsius> {
        self.inlet.and_then(|(_, probe)| probe.temperature)
    }

    /// Relative humidity beside that probe.
    #[must_use]
    pub fn humidity(&self) -> Option<MilliPercent> {
        self.inlet.and_then(|(_, probe)| probe.humidity)
    }

    /// The dew point of the air at that probe.
    #[must_use]
    pub fn dew_point(&self) -> Option<MilliCelsius> {
        dew_point(self.measured()?, self.humidity()?)
    }

    /// How many of its probes say at least this now: connected, and not silent.
    #[must_use]
    pub fn witnesses(&self, now: Timestamp, policy: &Policy, limit: MilliCelsius) -> usize {
        let fresh = |value: &&ProbeValue| value.connected && now.since(value.at) <= policy.stale_after;
        let says = |value: &&ProbeValue| value.temperature.is_some_and(|temperature| temperature >= limit);
        self.probes.values().filter(fresh).filter(says).count()
    }

    /// Age of the newest reading, whether its hub is there or not.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.probes.values().map(|value| value.at).max().map(|at| now.since(at))
    }

    /// Whether any probe was ever read.
    #[must_use]
    pub fn ever_had_source(&self) -> bool {
        !self.probes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ThermalState::{Hot, Nominal, Unknown, Warm};

    fn probe(number: u8) -> ProbeId {
        ProbeId { hub: "hub0".parse().unwrap(), number }
    }

    /// Steps once a second from `from` to `to`, reading `celsius` each time when there is one.
    fn run(zone: &mut ZoneHeat, seconds: std::ops::Range<i64>, celsius: Option<i32>) -> Vec<Transition> {
        let policy = Policy::default();
        seconds
            .filter_map(|second| {
                let now = Timestamp(second * 1000);
                if let Some(celsius) = celsius {
                    let humidity = Some(MilliPercent::whole(50));
                    zone.observe(&probe(1), now, Some(MilliCelsius::whole(celsius)), humidity);
                }
                zone.step(now, &policy, None)
            })
            .collect()
    }

    #[test]
    fn a_hot_inlet_is_hot_at_once_and_cool_only_after_hysteresis_and_dwell() {
        let mut zone = ZoneHeat::default();
        assert_eq!(run(&mut zone, 0..5, Some(24)).len(), 1);
        assert_eq!(zone.state(), Nominal);
        let change = run(&mut zone, 5..6, Some(41)).remove(0);
        assert_eq!((change.from, change.to), (Nominal, Hot));
        assert_eq!(change.reason, "inlet 41.0 °C ≥ hot 35.0 °C, 0 s old");
        run(&mut zone, 6..60, Some(34));
        assert_eq!(zone.state(), Hot, "34 °C is inside the hysteresis");
        run(&mut zone, 60..119, Some(26));
        assert_eq!(zone.state(), Hot, "the dwell has not passed");
        run(&mut zone, 119..125, Some(26));
        assert_eq!(zone.state(), Warm, "26 °C is inside the hysteresis of warm");
    }

    #[test]
    fn without_readings_it_is_unknown_and_comes_back_as_hot_as_it_left() {
        let mut zone = ZoneHeat::default();
        run(&mut zone, 0..2, Some(41));
        run(&mut zone, 2..20, None);
        assert_eq!((zone.state(), zone.inlet()), (Unknown, None));
        run(&mut zone, 20..21, Some(34));
        assert_eq!(zone.state(), Hot);
    }

    #[test]
    fn a_lost_hub_makes_it_unknown_at_once() {
        let mut zone = ZoneHeat::default();
        run(&mut zone, 0..3, Some(24));
        zone.lose_hub(&"hub1".parse().unwrap());
        assert!(zone.step(Timestamp(3000), &Policy::default(), None).is_none(), "another hub");
        zone.lose_hub(&"hub0".parse().unwrap());
        let change = zone.step(Timestamp(3000), &Policy::default(), None).unwrap();
        assert_eq!((change.from, change.to), (Nominal, Unknown));
    }

    #[test]
    fn a_probe_that_died_hot_no_longer_tells_the_dew_point_beside_one_that_lives() {
        let (mut zone, policy) = (ZoneHeat::default(), Policy::default());
        let damp = |zone: &mut ZoneHeat, number, second: i64, celsius| {
            let humidity = Some(MilliPercent::whole(50));
            zone.observe(&probe(number), Timestamp(second * 1000), Some(MilliCelsius::whole(celsius)), humidity);
            zone.step(Timestamp(second * 1000), &policy, None);
        };
        damp(&mut zone, 1, 0, 30);
        damp(&mut zone, 2, 0, 20);
        assert_eq!(zone.dew_point(), dew_point(MilliCelsius::whole(30), MilliPercent::whole(50)));
        damp(&mut zone, 2, 11, 20);
        assert_eq!(zone.measured(), Some(MilliCelsius::whole(20)));
        assert_eq!(zone.dew_point(), dew_point(MilliCelsius::whole(20), MilliPercent::whole(50)));
    }

    #[test]
    fn of_two_probes_the_hotter_counts() {
        let mut zone = ZoneHeat::default();
        zone.observe(&probe(1), Timestamp(0), Some(MilliCelsius::whole(20)), None);
        zone.observe(&probe(2), Timestamp(0), Some(MilliCelsius::whole(41)), None);
        zone.step(Timestamp(0), &Policy::default(), None);
        assert_eq!((zone.state(), zone.inlet()), (Hot, Some(MilliCelsius::whole(41))));
    }
}
