//! The unified hierarchy.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use roost_allocation::Counters;
use roost_types::size::Resources;

use super::{
    CPU_BURST, CPU_PERIOD_USEC, Entry, NO_SWAP, Optional, Usage, children, cpu_counters, devices, disk, in_use,
    last_minute, missing, read_field, read_number, write_limit,
};
use crate::runtime::linux::wire::{Context, Failure};

/// Controllers that a container needs.
const NEEDED: [&str; 3] = ["memory", "pids", "cpu"];
/// The controller that is used where it is there.
const USED: &str = "io";

/// Where the hierarchy is mounted, and the parent below it.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    point: PathBuf,
    parent: PathBuf,
    /// The disk that holds the layers.
    pub(super) disk: Option<disk::Disk>,
}

impl Hierarchy {
    /// Reads it from the text of `/proc/self/mountinfo`.
    #[must_use]
    pub fn from_mounts(mounts: &str, parent: &Path) -> Option<Self> {
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let point = PathBuf::from(line.split(' ').nth(4)?);
        Some(Self { point, parent: parent.to_owned(), disk: None })
    }

    /// See [`super::Cgroups::lacks`].
    #[must_use]
    pub fn lacks(&self, limit: Optional) -> Option<String> {
        let missing_memory = || (!self.has("memory")).then(|| missing("memory"));
        match limit {
            Optional::MemoryHigh => missing_memory(),
            Optional::Swap => missing_memory().or_else(|| (!self.limits_swap()).then(|| NO_SWAP.to_owned())),
            Optional::Io if !self.has(USED) => Some(disk::NO_CAPS.to_owned()),
            Optional::Io => self.disk.is_none().then(|| disk::NO_DISK.to_owned()),
            Optional::IoShare if self.has(USED) && self.share().is_some() => None,
            Optional::IoShare => Some(disk::NO_SHARES.to_owned()),
        }
    }

    fn share(&self) -> Option<disk::Share> {
        disk::Share::of(self.disk, Some(&self.point))
    }

    /// The root has no such file: another group that limits memory tells, and where there is none, whether there is swap.
    fn limits_swap(&self) -> bool {
        let group = children(&self.point).into_iter().find(|group| group.join("memory.max").exists());
        group.map_or_else(|| Path::new("/proc/swaps").exists(), |group| group.join("memory.swap.max").exists())
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
        limit_memory(&group, limits)?;
        let (swap, wanted) = (group.join("memory.swap.max"), limits.limits.swap_bytes);
        if swap.exists() {
            write_limit(&swap, wanted.map_or(0, |bytes| bytes.0), 64 * 1024)?;
        } else if wanted.is_some() {
            return Err(Failure::Unsupported(NO_SWAP.to_owned()));
        }
        disk::cap_v2(&group, self.disk, &limits.limits)?;
        disk::share(Some(&group), self.share(), &limits.limits)?;
        write_limit(&group.join("pids.max"), limits.pids.into(), 1)?;
        write_limit(
            &group.join("cpu.weight"),
            limits.limits.cpu_weight.map_or_else(|| weight(limits.cpu_millis), u64::from),
            1,
        )?;
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
            let has = |wanted: &str| have.split_whitespace().any(|name| name == wanted);
            if !NEEDED.iter().all(|needed| has(needed)) {
                let all = "+memory +pids +cpu";
                fs::write(&file, all).step(|| format!("write {all} to {}", file.display()))?;
            }
            if !has(USED) {
                // Where it is not offered, or not handed down to here, a limit that needs it is refused.
                let _ = fs::write(&file, format!("+{USED}"));
            }
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
        let pressure = |of: &str| last_minute(&group.join(of));
        let (memory_pressure, io_pressure) = (pressure("memory.pressure"), pressure("io.pressure"));
        Some(Counters { oom_kills: self.oom_kills(id), memory_pressure, io_pressure, ..cpu })
    }

    /// See [`super::Cgroups::oom_kills`].
    #[must_use]
    pub fn oom_kills(&self, id: &str) -> u64 {
        read_field(&self.group(id).join("memory.events"), "oom_kill")
    }
}

/// A limit below what is in use would have the kernel kill at once: first it is asked to free what it can.
fn limit_memory(group: &Path, limits: &Resources) -> Result<(), Failure> {
    let bytes = limits.memory_bytes.0;
    let (current, high) = (group.join("memory.current"), group.join("memory.high"));
    let before = fs::read_to_string(&high).step(|| format!("read {}", high.display()))?;
    let before = before.trim();
    if read_number(&current) > bytes {
        fs::write(&high, bytes.to_string()).step(|| format!("write {bytes} to {}", high.display()))?;
        let left = read_number(&current);
        fs::write(&high, before).step(|| format!("write {before} to {}", high.display()))?;
        if left > bytes {
            return Err(in_use(left, bytes));
        }
    }
    write_limit(&group.join("memory.max"), bytes, 64 * 1024)?;
    match limits.limits.memory_high_bytes {
        Some(wanted) => write_limit(&high, wanted.0, 64 * 1024),
        None if before == "max" => Ok(()),
        None => fs::write(&high, "max").step(|| format!("write max to {}", high.display())),
    }
}

/// 1000 thousandths of a core weigh 100, the kernel's default.
fn weight(cpu_millis: u32) -> u64 {
    u64::from(cpu_millis / 10).clamp(1, 10_000)
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
    fn one_core_has_the_default_weight() {
        assert_eq!(weight(1000), 100);
        assert_eq!(weight(250), 25);
        assert_eq!(weight(1), 1);
    }
}
