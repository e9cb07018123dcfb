//! The heat of a board: the worse of its zone's air and its own SoC, where it is going, and what that means.

use std::time::Duration;

use roost_types::rack::Limits;
use roost_types::{MilliCelsius, ThermalState, Timestamp};

use crate::board::BoardModel;
use crate::diagnosis::{Air, Diagnosis, Rise, TOO_HOT, diagnose};
use crate::forecast::{Felt, Moment};
use crate::level::{Level, compare, seconds};
use crate::policy::Policy;
use crate::trend::Trend;
use crate::{Transition, ZoneHeat};

mod ask;
#[cfg(test)]
mod tests;

/// A learned board that is this much hotter than it should be, in °C, does not teach: a fault must not become the new
/// normal; a better heat sink may.
const UNTAUGHT_RESIDUAL: f64 = TOO_HOT / 2.0;
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

/// What surrounds a board.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// The zone that cools it, already stepped.
    pub zone: Option<&'a ZoneHeat>,
    /// The rises of the other boards in that zone.
    pub neighbours: &'a [Rise],
    /// The median inlet of the other zones.
    pub elsewhere: Option<MilliCelsius>,
}

/// The heat of one board.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NodeHeat {
    soc: Option<(Timestamp, MilliCelsius)>,
    trip: Option<MilliCelsius>,
    load: f64,
    felt_load: Felt,
    felt_air: Felt,
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
    diagnosis: Option<Diagnosis>,
    rise: Option<Rise>,
    /// When it last learned, so that one sample teaches once.
    learned_at: Option<Timestamp>,
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

    /// The board was powered on anew: its fan or heat sink may be another.
    pub fn powered_on(&mut self) {
        self.board.doubt_again();
    }

    /// Decides the state anew, and says so when it changed.
    pub fn step(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        own_limits: Option<&Limits>,
        around: &Around<'_>,
    ) -> Option<Transition> {
        let zone = around.zone;
        let limits = policy.soc_limits(own_limits, self.trip);
        self.limits = Some(limits);
        let soc = self.soc.and_then(|(at, soc)| policy.worst_case(&policy.soc, soc, now.since(at)));
        let inlet = zone.and_then(ZoneHeat::inlet);
        self.felt_load.feed(now, self.load, policy.board_lag);
        if let Some(inlet) = inlet.map(MilliCelsius::as_f64) {
            self.felt_air.feed(now, inlet, policy.board_lag);
            self.air = Some(inlet);
        }
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
        self.rise = soc.zip(inlet).and_then(|(soc, _)| self.moment(soc).rise(&self.board));
        self.diagnosis = self.diagnose(around);
        (from != to).then(|| Transition { from, to, reason: self.explanation() })
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

    /// Only fresh, undisturbed moments teach, each once: both sources new, the air not hot, nothing wrong, and the
    /// temperature at rest.
    fn learn(&mut self, now: Timestamp, policy: &Policy, zone: Option<&ZoneHeat>) {
        let fresh = |age: Duration| age <= policy.stale_after;
        let new = |at: Timestamp| self.learned_at.is_none_or(|learned| learned < at);
        let soc = self.soc.filter(|(at, _)| fresh(now.since(*at)) && new(*at));
        let air = zone.filter(|zone| zone.state() < ThermalState::Hot && zone.age(now).is_some_and(fresh));
        let steady = self.trend.slope().is_some_and(|slope| slope.abs() < 0.05) && self.diagnosis.is_none();
        if let (Some((at, soc)), Some(air), true) = (soc, air.and_then(ZoneHeat::inlet), steady) {
            let (load, rise) = (self.felt_load.value(), soc.as_f64() - air.as_f64());
            let most = if self.board.is_learned() { UNTAUGHT_RESIDUAL } else { STRANGER_RESIDUAL };
            if rise - self.board.rise(load) < most.max(2.0 * self.board.doubt(load)) {
                self.board.learn(load, rise);
                self.learned_at = Some(at);
            }
        }
    }

    fn moment(&self, temperature: MilliCelsius) -> Moment {
        Moment {
            temperature: temperature.as_f64(),
            slope: self.trend.slope().unwrap_or(0.0),
            air: self.air,
            load: self.load,
            felt_air: self.felt_air.known(),
            felt_load: self.felt_load.value(),
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

    /// Compares it with its neighbours; needs both sources.
    fn diagnose(&self, around: &Around<'_>) -> Option<Diagnosis> {
        let zone = around.zone?;
        let air = Air { state: zone.state(), inlet: zone.inlet()?, elsewhere: around.elsewhere };
        diagnose(self.rise?, self.level.mark() >= ThermalState::Warm, air, around.neighbours)
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
