//! The unified hierarchy.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use roost_allocation::Counters;
use roost_types::size::Resources;

use super::stats::stall_field;
use super::{
    CPU_BURST, CPU_PERIOD_USEC, Entry, Usage, cpu_counters, devices, in_use, missing, read_field, read_number,
    write_limit,
};
use crate::runtime::linux::wire::{Context, Failure};

/// Controllers that a container needs.
const NEEDED: [&str; 3] = ["memory", "pids", "cpu"];

/// Where the hierarchy is mounted, and the parent below it.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    point: PathBuf,
    parent: PathBuf,
}

impl Hierarchy {
    /// Reads it from the text of `/proc/self/mountinfo`.
    #[must_use]
    pub fn from_mounts(mounts: &str, parent: &Path) -> Option<Self> {
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let point = PathBuf::from(line.split(' ').nth(4)?);
        Some(Self { point, parent: parent.to_owned() })
    }

    /// Whether the root offers a controller.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        let text = fs::read_to_string(self.point.join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().any(|name| name == controller)
    }

    /// Whether the kernel asks programs which devices may be used.
    #[must_use]
    pub fn limits_devices(&self) -> bool {
        devices::are_asked_for(&self.point)
    }

    /// The group of a container.
    #[must_use]
    pub fn group(&self, id: &str) -> PathBuf {
        self.point.join(&self.parent).join("instances").join(id)
    }

    /// See [`super::Cgroups::create`].
    ///
    /// # Errors
    /// As there.
    pub fn create(&self, id: &str, limits: &Resources, owner: Option<u32>) -> Result<Entry, Failure> {
        for controller in NEEDED {
            if !self.has(controller) {
                return Err(Failure::Unsupported(missing(controller)));
            }
        }
        self.enable_controllers()?;
        let above = self.point.join(&self.parent).join("instances");
        // A kernel without it: the user namespace keeps devices out alone, and the node's features say so.
        devices::restrict(&above)?;
        let group = self.group(id);
        fs::create_dir_all(&group).step(|| format!("make {}", group.display()))?;
        self.limit(id, limits)?;
        if let Some(owner) = owner {
            delegate(&group.join("delegated"), owner)?;
        }
        self.entry(id, None)
    }

    /// See [`super::Cgroups::limit`].
    ///
    /// # Errors
    /// As there.
    pub fn limit(&self, id: &str, limits: &Resources) -> Result<(), Failure> {
        let group = self.group(id);
        limit_memory(&group, limits.memory_bytes.0)?;
        let swap = group.join("memory.swap.max");
        if swap.exists() {
            write_limit(&swap, 0, 1)?;
        }
        write_limit(&group.join("pids.max"), limits.pids.into(), 1)?;
        write_limit(&group.join("cpu.weight"), weight(limits.cpu_millis), 1)?;
        let cap = u64::from(limits.cpu_millis) * u64::from(CPU_BURST) * u64::from(CPU_PERIOD_USEC) / 1000;
        let file = group.join("cpu.max");
        fs::write(&file, format!("{cap} {CPU_PERIOD_USEC}")).step(|| format!("write {cap} to {}", file.display()))
    }

    /// Hands the controllers down from the root to `instances`.
    fn enable_controllers(&self) -> Result<(), Failure> {
        let mut group = self.point.clone();
        let below = self.parent.join("instances");
        for name in std::iter::once(None).chain(below.components().map(Some)) {
            if let Some(name) = name {
                group.push(name);
                fs::create_dir_all(&group).step(|| format!("make {}", group.display()))?;
            }
            let file = group.join("cgroup.subtree_control");
            let have = fs::read_to_string(&file).step(|| format!("read {}", file.display()))?;
            if NEEDED.iter().all(|needed| have.split_whitespace().any(|name| name == *needed)) {
                continue;
            }
            let all = "+memory +pids +cpu";
            fs::write(&file, all).step(|| format!("write {all} to {}", file.display()))?;
        }
        Ok(())
    }

    /// See [`super::Cgroups::entry`].
    ///
    /// # Errors
    /// As there.
    pub fn entry(&self, id: &str, deeper: Option<&str>) -> Result<Entry, Failure> {
        let group = self.group(id);
        let delegated = group.join("delegated");
        let start = if delegated.exists() { delegated } else { group };
        let home = deeper.map_or(start, |path| self.point.join(path));
        let fd = fs::File::open(&home).step(|| format!("open {}", home.display()))?;
        Ok(Entry { join: Vec::new(), born_in: Some(fd.into()) })
    }

    /// See [`super::Cgroups::usage`].
    #[must_use]
    pub fn usage(&self, id: &str) -> Usage {
        let group = self.group(id);
        Usage {
            cpu_usec: read_field(&group.join("cpu.stat"), "usage_usec"),
            memory_bytes: read_number(&group.join("memory.current")),
            pids: u32::try_from(read_number(&group.join("pids.current"))).unwrap_or(u32::MAX),
        }
    }

    /// See [`super::Cgroups::counters`].
    #[must_use]
    pub fn counters(&self, id: &str) -> Option<Counters> {
        let group = self.group(id);
        let cpu = cpu_counters(&group.join("cpu.stat"))?;
        let pressure = fs::read_to_string(group.join("memory.pressure")).ok();
        let memory_pressure = pressure.as_deref().and_then(last_minute);
        Some(Counters { oom_kills: self.oom_kills(id), memory_pressure, ..cpu })
    }

    /// See [`super::Cgroups::oom_kills`].
    #[must_use]
    pub fn oom_kills(&self, id: &str) -> u64 {
        read_field(&self.group(id).join("memory.events"), "oom_kill")
    }
}

/// A limit below what is in use would have the kernel kill at once: first it is asked to free what it can.
fn limit_memory(group: &Path, bytes: u64) -> Result<(), Failure> {
    let current = group.join("memory.current");
    if read_number(&current) > bytes {
        let high = group.join("memory.high");
        fs::write(&high, bytes.to_string()).step(|| format!("write {bytes} to {}", high.display()))?;
        let left = read_number(&current);
        fs::write(&high, "max").step(|| format!("write max to {}", high.display()))?;
        if left > bytes {
            return Err(in_use(left, bytes));
        }
    }
    write_limit(&group.join("memory.max"), bytes, 64 * 1024)
}

/// 1000 thousandths of a core weigh 100, the kernel's default.
fn weight(cpu_millis: u32) -> u64 {
    u64::from(cpu_millis / 10).clamp(1, 10_000)
}

/// The share of the last minute in which some process waited, in hundredths of a percent.
fn last_minute(pressure: &str) -> Option<u32> {
    let (whole, hundredths) = stall_field(pressure, "some", "avg60=")?.split_once('.')?;
    Some(whole.parse::<u32>().ok()? * 100 + hundredths.parse::<u32>().ok()?)
}

/// Gives a subtree to the container's own init, which divides it as it likes. Limits stay on the group above, or in
/// hierarchies that the container cannot write.
///
/// # Errors
/// The step that failed.
pub fn delegate(group: &Path, owner: u32) -> Result<(), Failure> {
    fs::create_dir_all(group).step(|| format!("make {}", group.display()))?;
    for name in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        let path = group.join(name);
        chown(&path, Some(owner), Some(owner)).step(|| format!("give {} to {owner}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_in_hundredths_of_a_percent() {
        let text = "some avg10=0.00 avg60=12.34 avg300=1.00 total=7\nfull avg10=0.00 avg60=0.50 avg300=0.00 total=1\n";
        assert_eq!(last_minute(text), Some(1234));
        assert_eq!(last_minute(""), None);
    }

    #[test]
    fn one_core_has_the_default_weight() {
        assert_eq!(weight(1000), 100);
        assert_eq!(weight(250), 25);
        assert_eq!(weight(1), 1);
    }
}
