//! The air of the shelves: steps the heat model with what really runs on the boards, and lets the boards' thermal sensors
//! and the hub's chips feel the result. The fans of a shelf turn as the hub's firmware drives them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use roost_heat_model::{FANS, Hold, Rack, TRIP};
use roost_types::{MilliCelsius, MilliPercent, Name};

use super::boards::Boards;
use super::hub::{Feeling, Hub};
use super::layout::{BoardPlan, Layout, fan_of};
use crate::error::CliError;

/// Time between two steps.
const STEP: Duration = Duration::from_millis(500);
/// The simulated air and boards live this many times as fast: a heat sink that warms in minutes does so in seconds.
const PACE: f64 = 20.0;

/// The air and what feels it.
pub struct Heat {
    plans: Vec<BoardPlan>,
    zones: Vec<Name>,
    boards: Arc<Boards>,
    hub: Arc<Hub>,
    rack: Mutex<Rack>,
}

impl Heat {
    /// Air at room temperature everywhere.
    pub fn new(layout: &Layout, boards: Arc<Boards>, hub: Arc<Hub>) -> Arc<Self> {
        let plans = layout.plans();
        let zones: Vec<Name> = (0..usize::from(layout.shelves())).map(|shelf| layout.zone(shelf)).collect();
        let rack = Mutex::new(Rack::alike(zones.len(), plans.iter().map(BoardPlan::shelf).collect()));
        Arc::new(Self { plans, zones, boards, hub, rack })
    }

    /// Holds a zone's inlet, or lets it go when no temperature is given.
    ///
    /// # Errors
    /// When there is no such zone, or no chip can measure it.
    pub fn hold(
        &self,
        zone: &Name,
        celsius: Option<MilliCelsius>,
        humidity: Option<MilliPercent>,
    ) -> Result<(), CliError> {
        let shelf = self.shelf(zone)?;
        if let Some(t) = celsius.filter(|t| !(-40_000..=125_000).contains(&t.0)) {
            return Err(CliError::Failed(format!("{t} is not a temperature the chip can measure: -40 to 125 °C")));
        }
        if let Some(h) = humidity.filter(|h| !(0..=100_000).contains(&h.0)) {
            return Err(CliError::Failed(format!("{h} is not a relative humidity: 0 to 100 %")));
        }
        let hold = (celsius.is_some() || humidity.is_some())
            .then(|| Hold { celsius: celsius.map(MilliCelsius::as_f64), humidity: humidity.map(MilliPercent::as_f64) });
        self.rack().hold(shelf, hold);
        Ok(())
    }

    /// Stops the fans of a zone's shelf, or lets them turn.
    ///
    /// # Errors
    /// When there is no such zone, or the hub does not listen.
    pub async fn turn_fans(&self, zone: &Name, turning: bool) -> Result<(), CliError> {
        let shelf = self.shelf(zone)?;
        self.rack().break_fans(shelf, if turning { 0 } else { FANS });
        self.hub.hold_fan(fan_of(shelf), !turning).await
    }

    /// Sets the room's temperature.
    ///
    /// # Errors
    /// When it is not one of a room: 0 to 60 °C.
    pub fn set_room(&self, celsius: MilliCelsius) -> Result<(), CliError> {
        if !(0..=60_000).contains(&celsius.0) {
            return Err(CliError::Failed(format!("{celsius} is not a room's temperature: use 0 to 60 °C")));
        }
        self.rack().set_room(celsius.as_f64());
        Ok(())
    }

    fn shelf(&self, zone: &Name) -> Result<usize, CliError> {
        self.zones.iter().position(|name| name == zone).ok_or_else(|| {
            let names: Vec<&str> = self.zones.iter().map(Name::as_str).collect();
            CliError::Failed(format!("no zone '{zone}': there are {}", names.join(", ")))
        })
    }

    fn rack(&self) -> MutexGuard<'_, Rack> {
        self.rack.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The air in one line.
    pub fn describe(&self) -> String {
        let rack = self.rack();
        let zone = |(shelf, name): (usize, &Name)| format!("{name} {:.1} °C", rack.inlet(shelf));
        self.zones.iter().enumerate().map(zone).collect::<Vec<_>>().join(", ")
    }

    /// Steps for ever.
    pub async fn run(self: Arc<Self>) {
        let mut used = BTreeMap::new();
        let mut last = Instant::now();
        let mut ticks = tokio::time::interval(STEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let seconds = last.elapsed().as_secs_f64();
            last = Instant::now();
            let loads = self.loads(&mut used, seconds).await;
            let feelings = self.step(seconds, &loads);
            if let Err(error) = self.hub.feel(&feelings).await {
                eprintln!("{error}");
            }
        }
    }

    /// Busy share of each board since the last call; none where the power is off.
    async fn loads(&self, used: &mut BTreeMap<usize, u64>, seconds: f64) -> Vec<Option<f64>> {
        let capacity = f64::from(Boards::cpu_millis()) / 1000.0 * seconds.max(0.001);
        let mut loads = Vec::with_capacity(self.plans.len());
        for (index, plan) in self.plans.iter().enumerate() {
            if !self.boards.is_on(&plan.name).await {
                used.remove(&index);
                loads.push(None);
                continue;
            }
            let now = self.boards.cgroups().cpu_usec(&plan.cgroup).unwrap_or(0);
            let before = used.insert(index, now).unwrap_or(now);
            let busy = Duration::from_micros(now.saturating_sub(before)).as_secs_f64();
            loads.push(Some((busy / capacity).clamp(0.0, 1.0)));
        }
        loads
    }

    /// One step of the air, written to the boards' sensors; gives what the hub's chips feel.
    fn step(&self, seconds: f64, loads: &[Option<f64>]) -> Vec<Feeling> {
        let mut rack = self.rack();
        for shelf in 0..self.zones.len() {
            rack.set_duty(shelf, self.hub.wires.duty(fan_of(shelf)));
        }
        rack.step(seconds * PACE, loads);
        for (index, plan) in self.plans.iter().enumerate() {
            if loads[index].is_some() {
                // A board whose power is being cut just now loses its sensors; the next step finds it off.
                let _ = write_sensor(&plan.thermal(), MilliCelsius::from_f64(rack.soc(index)));
            }
        }
        (0..self.zones.len())
            .map(|shelf| Feeling {
                centi_celsius: centi(rack.inlet(shelf)),
                centi_percent: centi(rack.humidity(shelf)),
            })
            .collect()
    }
}

/// To hundredths, as the chips measure.
#[expect(clippy::cast_possible_truncation, reason = "temperatures and percentages are small")]
fn centi(value: f64) -> i32 {
    (value * 100.0).round() as i32
}

/// One thermal zone as the kernel shows it.
fn write_sensor(root: &Path, temperature: MilliCelsius) -> std::io::Result<()> {
    let zone = root.join("thermal_zone0");
    if !zone.exists() {
        fs::create_dir_all(&zone)?;
        fs::write(zone.join("type"), "cpu-thermal\n")?;
        fs::write(zone.join("trip_point_0_temp"), format!("{}\n", MilliCelsius::from_f64(TRIP).0))?;
        fs::write(zone.join("trip_point_0_type"), "passive\n")?;
    }
    // Replaced in one step: a reader never sees half a number.
    let beside = zone.join("temp.new");
    fs::write(&beside, format!("{}\n", temperature.0))?;
    fs::rename(&beside, zone.join("temp"))
}
