//! What changes all the time: temperature, load, free memory. Sampled with each poll, sent when it says something.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roost_types::node::NodeVitals;
use roost_types::{MemoryBytes, MilliCelsius, Timestamp};

use crate::cgroup::Cgroup;
use crate::facts::meminfo;

/// Said again after this long even when nothing changed, so that its age stays small.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A temperature this much different is news.
const SOC_STEP: MilliCelsius = MilliCelsius(500);
/// A load this much different is news.
const LOAD_STEP: f64 = 0.02;
/// An amount of free memory this much different is news.
const MEMORY_STEP: u64 = 4 << 20;

/// Takes samples.
#[derive(Debug)]
pub struct Sampler {
    thermal_root: PathBuf,
    cgroup: Cgroup,
    cpu_millis: u32,
    last_cpu: Option<(u64, Timestamp)>,
    last_said: Option<(NodeVitals, Timestamp)>,
}

impl Sampler {
    /// Reads zones below `thermal_root` and the use of `cgroup`, which may use `cpu_millis`.
    #[must_use]
    pub const fn new(thermal_root: PathBuf, cgroup: Cgroup, cpu_millis: u32) -> Self {
        Self { thermal_root, cgroup, cpu_millis, last_cpu: None, last_said: None }
    }

    /// The vitals at `now`, when they are worth saying.
    pub fn news(&mut self, now: Timestamp) -> Option<NodeVitals> {
        let vitals = self.sample(now);
        let stale = |at: Timestamp| now.since(at) >= SAY_AGAIN_AFTER;
        if let Some((said, at)) = &self.last_said
            && !stale(*at)
            && !differs(said, &vitals)
        {
            return None;
        }
        self.last_said = Some((vitals.clone(), now));
        Some(vitals)
    }

    /// What was said did not arrive: say it again.
    pub fn unsaid(&mut self) {
        self.last_said = None;
    }

    fn sample(&mut self, now: Timestamp) -> NodeVitals {
        let hottest = hottest_zone(&self.thermal_root);
        NodeVitals {
            soc: hottest.as_ref().map(|zone| zone.1),
            soc_trip: hottest.and_then(|zone| passive_trip(&zone.0)),
            load: self.load(now),
            memory_available: MemoryBytes(self.memory_available()),
        }
    }

    fn memory_available(&self) -> u64 {
        let machine = meminfo("MemAvailable:").unwrap_or(0);
        match (self.cgroup.memory_limit(), self.cgroup.memory_used()) {
            (Some(limit), Some(used)) => limit.saturating_sub(used).min(machine),
            (None, _) | (_, None) => machine,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a share of a few seconds")]
    fn load(&mut self, now: Timestamp) -> f64 {
        let Some(used) = self.cgroup.cpu_usec().or_else(machine_cpu_usec) else { return 0.0 };
        let before = self.last_cpu.replace((used, now));
        let Some((used_before, then)) = before else { return 0.0 };
        let available = now.since(then).as_micros() as f64 * f64::from(self.cpu_millis) / 1000.0;
        let share = used.saturating_sub(used_before) as f64 / available;
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }
}

fn differs(a: &NodeVitals, b: &NodeVitals) -> bool {
    let soc = match (a.soc, b.soc) {
        (Some(a), Some(b)) => (a.0 - b.0).abs() >= SOC_STEP.0,
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    };
    let memory = a.memory_available.0.abs_diff(b.memory_available.0) >= MEMORY_STEP;
    soc || memory || a.soc_trip != b.soc_trip || (a.load - b.load).abs() >= LOAD_STEP
}

fn hottest_zone(root: &Path) -> Option<(PathBuf, MilliCelsius)> {
    let zones = fs::read_dir(root).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let is_zone = path.file_name()?.to_str()?.starts_with("thermal_zone");
        let temperature = is_zone.then(|| number(&path.join("temp"))).flatten()?;
        Some((path, MilliCelsius(temperature)))
    });
    zones.max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)))
}

fn passive_trip(zone: &Path) -> Option<MilliCelsius> {
    let is_passive = |n: &u32| {
        let kind = fs::read_to_string(zone.join(format!("trip_point_{n}_type")));
        kind.is_ok_and(|kind| kind.trim() == "passive")
    };
    let temperature = |n: u32| number(&zone.join(format!("trip_point_{n}_temp"))).map(MilliCelsius);
    (0..16).filter(is_passive).filter_map(temperature).min()
}

fn number(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Time all cores were busy since boot, in microseconds; user, nice, system, irq, softirq, steal of `/proc/stat`.
fn machine_cpu_usec() -> Option<u64> {
    const TICK_USEC: u64 = 10_000;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> = stat.lines().next()?.split_whitespace().skip(1).map_while(|f| f.parse().ok()).collect();
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|n| fields.get(*n)).sum();
    Some(busy * TICK_USEC)
}

#[cfg(test)]
mod tests {
    use super::Sampler;
    use crate::cgroup::Cgroup;
    use crate::testing::Scratch;
    use roost_types::{MilliCelsius, Timestamp};
    use std::fs;

    #[test]
    fn tells_the_hottest_zone_and_its_passive_trip_and_is_quiet_when_nothing_changes() {
        let scratch = Scratch::new("vitals");
        for (zone, temp) in [("thermal_zone0", "41000\n"), ("thermal_zone1", "55000\n"), ("cooling_device0", "99000\n")]
        {
            fs::create_dir(scratch.path().join(zone)).unwrap();
            fs::write(scratch.path().join(zone).join("temp"), temp).unwrap();
        }
        let hot = scratch.path().join("thermal_zone1");
        for (file, text) in [
            ("trip_point_0_type", "critical\n"),
            ("trip_point_0_temp", "100000\n"),
            ("trip_point_1_type", "passive\n"),
            ("trip_point_1_temp", "85000\n"),
        ] {
            fs::write(hot.join(file), text).unwrap();
        }
        let mut sampler = Sampler::new(scratch.path().to_owned(), Cgroup::new(None), 2_000);
        let vitals = sampler.news(Timestamp(1_000)).unwrap();
        assert_eq!(vitals.soc, Some(MilliCelsius::whole(55)));
        assert_eq!(vitals.soc_trip, Some(MilliCelsius::whole(85)));
        fs::write(hot.join("temp"), "56000\n").unwrap();
        assert_eq!(sampler.news(Timestamp(1_001)).unwrap().soc, Some(MilliCelsius::whole(56)));
        assert!(sampler.news(Timestamp(20_000)).is_some(), "said again when it has become old");
    }
}
