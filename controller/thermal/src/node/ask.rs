//! What can be asked of a board's heat after a step.

use std::time::Duration;

use roost_types::node::LearnedRise;
use roost_types::rack::Limits;
use roost_types::{MilliCelsius, ThermalState, Timestamp};

use super::{Monitoring, NodeHeat};
use crate::diagnosis::{Diagnosis, Rise};

impl NodeHeat {
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

    /// What explains its heat, or what a sensor gets wrong.
    #[must_use]
    pub fn diagnosis(&self) -> Option<Diagnosis> {
        self.diagnosis
    }

    /// Its rise over its air at the last step, for its neighbours to be compared with; none without both sources.
    #[must_use]
    pub fn rise(&self) -> Option<Rise> {
        self.rise
    }

    /// What was learned of it; none before enough was.
    #[must_use]
    pub fn learned(&self) -> Option<LearnedRise> {
        let (idle, load) = (self.board.rise(0.0), self.board.load_rise());
        let rise = LearnedRise { idle: MilliCelsius::from_f64(idle), load: MilliCelsius::from_f64(load) };
        self.board.is_learned().then_some(rise)
    }

    /// Why it has its state, with what is wrong.
    #[must_use]
    pub fn explanation(&self) -> String {
        match &self.diagnosis {
            Some(diagnosis) => format!("{}; {diagnosis}", self.reason),
            None => self.reason.clone(),
        }
    }
}
