//! The heat of a board: the worse of its zone's air and its own SoC, where it is going, and what that means.

use std::time::Duration;

use roost_types::rack::Limits;
use roost_types::{MilliCelsius, ThermalState, Timestamp};

use crate::board::BoardModel;
use crate::forecast::{FeltLoad, Moment};
use crate::level::{Level, compare, seconds};
use crate::policy::Policy;
use crate::trend::Trend;
use crate::{Transition, ZoneHeat};

/// A board this much hotter than expected in air that is not even warm has a broken fan or a loose heat sink.
const FAULT_RESIDUAL: f64 = 15.0;
/// As long as little was learned of a board, it may be this much hotter than boards are assumed to be: more teaches
/// nothing, it is broken.
const STRANGER_RESIDUAL: f64 = 30.0;

/// Whether a temperature source is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Monitoring {
    /// Neither SoC nor zone ever told a temperature.
    #[default]
    Never,
    /// At least one source is fresh.
    Fresh,
    /// There was a source and there is none now.
    Lost,
}

/// The heat of one board.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NodeHeat {
    soc: Option<(Timestamp, MilliCelsius)>,
    trip: Option<MilliCelsius>,
    load: f64,
    felt: FeltLoad,
    /// The air it breathed when that was last known, in °C.
    air: Option<f64>,
    level: Level,
    trend: Trend,
    board: BoardModel,
    state: ThermalState,
    reason: String,
    monitoring: Monitoring,
    estimate: Option<MilliCelsius>,
    predicted: Option<MilliCelsius>,
    /// How many times as much a watt warms it as it should.
    factor: f64,
    hysteresis: MilliCelsius,
    limits: Option<Limits>,
    fault: Option<String>,
}

impl NodeHeat {
    /// Takes in what the board said of itself.
    pub fn observe_vitals(&mut self, at: Timestamp, soc: Option<MilliCelsius>, trip: Option<MilliCelsius>, load: f64) {
        self.load = if load.is_finite() { load.clamp(0.0, 1.0) } else { 0.0 };
        self.trip = trip;
        if let Some(soc) = soc {
            self.soc = Some((at, soc));
            self.trend.feed(at, soc);
        }
    }

    /// Decides the state anew, and says so when it changed. `zone` is the one that cools it, already stepped.
    pub fn step(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        own_limits: Option<&Limits>,
        zone: Option<&ZoneHeat>,
    ) -> Option<Transition> {
        let limits = policy.soc_limits(own_limits, self.trip);
        self.limits = Some(limits);
        let soc = self.soc.and_then(|(at, soc)| policy.worst_case(&policy.soc, soc, now.since(at)));
        let inlet = zone.and_then(ZoneHeat::inlet);
        self.felt.feed(now, self.load, policy.board_lag);
        self.air = inlet.map(MilliCelsius::as_f64).or(self.air);
        self.learn(now, policy, zone);
        let by_air = inlet.map(|inlet| MilliCelsius::from_f64(inlet.as_f64() + self.board.rise(self.load)));
        self.estimate = soc.max(by_air);
        self.hysteresis = policy.soc.hysteresis;
        self.factor = soc.map_or(1.0, |soc| self.moment(soc).factor(&self.board));
        self.predicted =
            self.estimate.map(|estimate| MilliCelsius::from_f64(self.moment(estimate).predict(&self.board, policy)));
        self.monitoring = self.monitor(soc, inlet, zone);
        let from = self.state;
        let (own, own_reason) = self.own_state(now, policy, soc, &limits);
        let (to, reason) = worse(own, own_reason, zone);
        self.state = to;
        self.reason = reason;
        self.fault = self.diagnose(soc, zone);
        (from != to).then(|| Transition { from, to, reason: self.explained() })
    }

    fn explained(&self) -> String {
        match &self.fault {
            Some(fault) => format!("{}; {fault}", self.reason),
            None => self.reason.clone(),
        }
    }

    /// The state by its own SoC, and why.
    fn own_state(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        soc: Option<MilliCelsius>,
        limits: &Limits,
    ) -> (ThermalState, String) {
        let Some(soc) = soc else {
            self.level.lose();
            return (ThermalState::Unknown, "no fresh temperature of the SoC".to_owned());
        };
        let before = self.level.mark();
        self.level.feed(now, soc, limits, &policy.soc);
        let state = self.level.mark();
        let age = self.soc.map_or(Duration::ZERO, |(at, _)| now.since(at));
        (state, format!("SoC {}, {} old", compare(soc, before, state, limits, &policy.soc), seconds(age)))
    }

    /// Only fresh, undisturbed moments teach: both sources fresh and the air not hot.
    fn learn(&mut self, now: Timestamp, policy: &Policy, zone: Option<&ZoneHeat>) {
        let fresh = |age: Duration| age <= policy.stale_after;
        let soc = self.soc.filter(|(at, _)| fresh(now.since(*at)));
        let air = zone.filter(|zone| zone.state() < ThermalState::Hot && zone.age(now).is_some_and(fresh));
        let steady = self.trend.slope().is_some_and(|slope| slope.abs() < 0.05);
        if let (Some((_, soc)), Some(air), true) = (soc, air.and_then(ZoneHeat::inlet), steady) {
            // A fault must not become the new normal; a better heat sink may.
            let rise = soc.as_f64() - air.as_f64();
            let most = if self.board.is_learned() { FAULT_RESIDUAL } else { STRANGER_RESIDUAL };
            if rise - self.board.rise(self.felt.value()) < most {
                self.board.learn(self.felt.value(), rise);
            }
        }
    }

    fn moment(&self, temperature: MilliCelsius) -> Moment {
        Moment {
            temperature: temperature.as_f64(),
            slope: self.trend.slope().unwrap_or(0.0),
            air: self.air,
            load: self.load,
            felt: self.felt.value(),
        }
    }

    fn monitor(&self, soc: Option<MilliCelsius>, inlet: Option<MilliCelsius>, zone: Option<&ZoneHeat>) -> Monitoring {
        let ever = self.soc.is_some() || zone.is_some_and(ZoneHeat::ever_had_source);
        match (soc.or(inlet), ever) {
            (Some(_), _) => Monitoring::Fresh,
            (None, true) => Monitoring::Lost,
            (None, false) => Monitoring::Never,
        }
    }

    /// Hot in a cool zone is a broken fan, not a hot aisle.
    fn diagnose(&self, soc: Option<MilliCelsius>, zone: Option<&ZoneHeat>) -> Option<String> {
        let zone = zone.filter(|zone| zone.state() == ThermalState::Nominal)?;
        let (soc, inlet) = (soc?, zone.inlet()?);
        let residual = self.moment(soc).residual(&self.board)?;
        (residual > FAULT_RESIDUAL && self.level.mark() >= ThermalState::Warm).then(|| {
            format!("{residual:.1} °C hotter than its load explains while its air has {inlet}: look at its fan")
        })
    }

    /// The state after the last step: the worse of the zone's and its own.
    #[must_use]
    pub fn state(&self) -> ThermalState {
        self.state
    }

    /// Why, with the numbers of the last step.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The worst-case temperature of the SoC at the last step.
    #[must_use]
    pub fn estimate(&self) -> Option<MilliCelsius> {
        self.estimate
    }

    /// Where that is going.
    #[must_use]
    pub fn predicted(&self) -> Option<MilliCelsius> {
        self.predicted
    }

    /// Where it would go with this much more load (0 to 1).
    #[must_use]
    pub fn predict_with(&self, extra_load: f64) -> Option<MilliCelsius> {
        self.predicted.map(|at| MilliCelsius(at.0.saturating_add(self.rise_of(extra_load).0)))
    }

    /// What this much load (0 to 1) does to its temperature, with its fans as they are.
    #[must_use]
    pub fn rise_of(&self, load: f64) -> MilliCelsius {
        MilliCelsius::from_f64(self.board.load_rise() * self.factor.max(1.0) * load)
    }

    /// Its air alone makes it hot: its own sensor says less.
    #[must_use]
    pub fn is_hot_by_air(&self) -> bool {
        self.state >= ThermalState::Hot && self.level.mark() < ThermalState::Hot
    }

    /// By how much its prediction must fall for it to be safe: for a board that is warm and, by its prediction, will be
    /// hot, or that is hot and not on its way back.
    #[must_use]
    pub fn needs_relief(&self) -> Option<MilliCelsius> {
        let (limits, predicted) = (self.limits?, self.predicted?);
        let safe = MilliCelsius(limits.hot.0 - self.hysteresis.0);
        let needs = match self.level.mark() {
            ThermalState::Unknown | ThermalState::Nominal => false,
            ThermalState::Warm => predicted >= limits.hot,
            ThermalState::Hot | ThermalState::Critical => predicted >= safe,
        };
        needs.then(|| MilliCelsius(predicted.0 - safe.0))
    }

    /// What the SoC itself last said.
    #[must_use]
    pub fn soc(&self) -> Option<MilliCelsius> {
        self.soc.map(|(_, soc)| soc)
    }

    /// Age of what the SoC last said.
    #[must_use]
    pub fn soc_age(&self, now: Timestamp) -> Option<Duration> {
        self.soc.map(|(at, _)| now.since(at))
    }

    /// Whether a temperature source is there.
    #[must_use]
    pub fn monitoring(&self) -> Monitoring {
        self.monitoring
    }

    /// SoC limits in force at the last step.
    #[must_use]
    pub fn limits(&self) -> Option<Limits> {
        self.limits
    }

    /// A fault that explains the heat better than the room does.
    #[must_use]
    pub fn diagnosis(&self) -> Option<&str> {
        self.fault.as_deref()
    }
}

/// The worse of the board's own state and its zone's. An unknown zone does not hide what the SoC knows, and a SoC that
/// tells nothing does not hide the zone.
fn worse(own: ThermalState, own_reason: String, zone: Option<&ZoneHeat>) -> (ThermalState, String) {
    match zone {
        Some(zone) if zone.state() >= own && zone.state() != ThermalState::Unknown => {
            (zone.state(), zone.reason().to_owned())
        }
        // Losing sight of a hot aisle does not cool it.
        Some(zone)
            if zone.state() == ThermalState::Unknown && zone.mark() >= ThermalState::Hot && zone.mark() > own =>
        {
            (zone.mark(), format!("its zone was {} when it was last read; {}", zone.mark(), zone.reason()))
        }
        Some(zone) if own == ThermalState::Unknown && zone.ever_had_source() => {
            (own, format!("{}; {own_reason}", zone.reason()))
        }
        Some(_) | None => (own, own_reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ThermalState::{Hot, Nominal, Unknown};
    use roost_types::rack::ProbeId;

    fn zone(now: Timestamp, celsius: i32) -> ZoneHeat {
        let mut zone = ZoneHeat::default();
        let probe = ProbeId { hub: "hub0".parse().unwrap(), number: 1 };
        zone.observe(&probe, now, Some(MilliCelsius::whole(celsius)), None);
        zone.step(now, &Policy::default(), None);
        zone
    }

    fn stepped(soc: Option<i32>, zone: Option<&ZoneHeat>) -> NodeHeat {
        let mut node = NodeHeat::default();
        node.observe_vitals(Timestamp(0), soc.map(MilliCelsius::whole), None, 0.0);
        node.step(Timestamp(0), &Policy::default(), None, zone);
        node
    }

    #[test]
    fn the_worse_of_air_and_soc_counts() {
        let (cool, hot) = (zone(Timestamp(0), 24), zone(Timestamp(0), 41));
        for (soc, air, state) in [
            (Some(45), Some(&cool), Nominal),
            (Some(45), Some(&hot), Hot),
            (Some(85), Some(&cool), Hot),
            (None, Some(&hot), Hot),
            (None, None, Unknown),
            (Some(45), None, Nominal),
        ] {
            assert_eq!(stepped(soc, air).state(), state, "{soc:?}");
        }
    }

    #[test]
    fn a_board_that_never_had_a_source_is_told_from_one_that_lost_it() {
        assert_eq!(stepped(None, None).monitoring(), Monitoring::Never);
        let mut node = stepped(Some(45), None);
        assert_eq!(node.monitoring(), Monitoring::Fresh);
        let change = node.step(Timestamp(60_000), &Policy::default(), None, None).unwrap();
        assert_eq!((change.from, change.to, node.monitoring()), (Nominal, Unknown, Monitoring::Lost));
    }

    #[test]
    fn a_zone_that_is_unknown_does_not_hide_a_fresh_soc() {
        let mut lost = zone(Timestamp(0), 24);
        lost.lose_hub(&"hub0".parse().unwrap());
        lost.step(Timestamp(0), &Policy::default(), None);
        let node = stepped(Some(45), Some(&lost));
        assert_eq!((node.state(), node.monitoring()), (Nominal, Monitoring::Fresh));
        assert_eq!(stepped(None, Some(&lost)).monitoring(), Monitoring::Lost);
    }

    #[test]
    fn losing_sight_of_a_hot_aisle_does_not_cool_it() {
        let mut lost = zone(Timestamp(0), 41);
        lost.lose_hub(&"hub0".parse().unwrap());
        lost.step(Timestamp(0), &Policy::default(), None);
        assert_eq!(lost.state(), Unknown);
        assert_eq!(stepped(Some(45), Some(&lost)).state(), Hot);
    }

    #[test]
    fn hot_in_cool_air_is_a_broken_fan() {
        let node = stepped(Some(85), Some(&zone(Timestamp(0), 24)));
        assert!(node.diagnosis().unwrap().contains("fan"), "{:?}", node.diagnosis());
        assert_eq!(stepped(Some(85), Some(&zone(Timestamp(0), 41))).diagnosis(), None);
    }

    /// A node idle in air of 24 °C for ten minutes, with an SoC of `celsius`.
    fn idle(celsius: i32) -> NodeHeat {
        let mut node = NodeHeat::default();
        for second in 0..600 {
            let now = Timestamp(second * 1000);
            node.observe_vitals(now, Some(MilliCelsius::whole(celsius)), None, 0.0);
            node.step(now, &Policy::default(), None, Some(&zone(now, 24)));
        }
        node
    }

    #[test]
    fn boards_with_a_good_heat_sink_and_with_none_are_learned_and_a_broken_fan_is_not() {
        for (soc, estimate) in [(28, 28), (34, 34), (59, 59)] {
            let learned = idle(soc).estimate().unwrap();
            assert!((learned.0 - estimate * 1000).abs() < 500, "SoC {soc} °C: {learned}");
        }
        let mut node = idle(44);
        for second in 600..1200 {
            let now = Timestamp(second * 1000);
            node.observe_vitals(now, Some(MilliCelsius::whole(82)), None, 0.0);
            node.step(now, &Policy::default(), None, Some(&zone(now, 24)));
        }
        assert!(node.diagnosis().unwrap().starts_with("38.0 °C hotter"), "{:?}", node.diagnosis());
    }

    #[test]
    fn the_estimate_is_the_air_plus_the_learned_rise_when_the_soc_says_less() {
        let node = stepped(None, Some(&zone(Timestamp(0), 30)));
        assert_eq!(node.estimate(), Some(MilliCelsius::whole(50)));
        assert_eq!(node.predict_with(1.0), Some(MilliCelsius::whole(75)));
    }
}
