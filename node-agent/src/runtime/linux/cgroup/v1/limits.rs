//! Limits in the words of version 1.

use std::fs;
use std::path::Path;

use roost_types::Limits;
use roost_types::size::Resources;

use super::{Hierarchies, make_group};
use crate::runtime::linux::cgroup::{
    CPU_BURST, CPU_PERIOD_USEC, NO_HIGH, NO_SWAP, Optional, collect_processes, disk, in_use, missing, read_number,
    write_limit,
};
use crate::runtime::linux::wire::{Context, Failure};

/// What is no limit at all: the kernel shows its largest number of whole pages.
const UNLIMITED: u64 = 1 << 60;
/// How often processes are looked for that are to be moved.
const GATHER_ROUNDS: u32 = 64;

impl Hierarchies {
    /// See [`crate::runtime::linux::cgroup::Cgroups::lacks`].
    #[must_use]
    pub fn lacks(&self, limit: Optional) -> Option<String> {
        let memory = |name: &str, advice: &str| match self.controllers.get("memory") {
            None => Some(missing("memory")),
            Some(point) => (!point.join(name).exists()).then(|| advice.to_owned()),
        };
        let caps = self.blkio.as_ref().is_some_and(|point| point.join("blkio.throttle.read_bps_device").exists());
        match limit {
            Optional::MemoryHigh => memory("memory.soft_limit_in_bytes", NO_HIGH),
            Optional::Swap => memory("memory.memsw.limit_in_bytes", NO_SWAP),
            Optional::Io if !caps => Some(disk::NO_CAPS.to_owned()),
            Optional::Io => self.disk.is_none().then(|| disk::NO_DISK.to_owned()),
            Optional::IoShare if self.blkio.is_some() && disk::Share::of(self.disk, None).is_some() => None,
            Optional::IoShare => Some(disk::NO_SHARES.to_owned()),
        }
    }

    /// See [`crate::runtime::linux::cgroup::Cgroups::limit`].
    ///
    /// # Errors
    /// As there.
    pub fn limit(&self, id: &str, limits: &Resources) -> Result<(), Failure> {
        match self.limit_memory(id, limits) {
            // The kernel has tried to free as much as it takes.
            Err(Failure::Step { errno: libc::EBUSY, .. }) => {
                return Err(in_use(self.usage(id).memory_bytes, limits.memory_bytes.0));
            }
            other => other?,
        }
        write_limit(&self.file("pids", id, "pids.max"), limits.pids.into(), 1)?;
        self.limit_cpu(id, limits)?;
        self.limit_disk(id, &limits.limits)
    }

    fn limit_memory(&self, id: &str, limits: &Resources) -> Result<(), Failure> {
        let page = 64 * 1024;
        let bytes = limits.memory_bytes.0;
        let both = self.file("memory", id, "memory.memsw.limit_in_bytes");
        let memory = self.file("memory", id, "memory.limit_in_bytes");
        let swap = limits.limits.swap_bytes;
        if swap.is_some() && !both.exists() {
            return Err(Failure::Unsupported(NO_SWAP.to_owned()));
        }
        let sum = bytes.saturating_add(swap.map_or(0, |swap| swap.0));
        // Memory plus swap may never be below memory: lower memory first, but raise the sum first.
        if both.exists() && read_number(&both) < sum {
            write_limit(&both, sum, page)?;
        }
        write_limit(&memory, bytes, page)?;
        if both.exists() {
            write_limit(&both, sum, page)?;
        }
        self.limit_softly(id, limits.limits.memory_high_bytes.map(|bytes| bytes.0))
    }

    fn limit_softly(&self, id: &str, bytes: Option<u64>) -> Result<(), Failure> {
        let soft = self.file("memory", id, "memory.soft_limit_in_bytes");
        match bytes {
            Some(_) if !soft.exists() => Err(Failure::Unsupported(NO_HIGH.to_owned())),
            Some(bytes) => write_limit(&soft, bytes, 64 * 1024),
            None if !soft.exists() || read_number(&soft) >= UNLIMITED => Ok(()),
            None => fs::write(&soft, "-1").step(|| format!("write -1 to {}", soft.display())),
        }
    }

    fn limit_disk(&self, id: &str, limits: &Limits) -> Result<(), Failure> {
        let group = self.disk_group(id);
        let asked = limits.caps_io() || limits.io_weight.is_some();
        if let Some(group) = group.as_deref().filter(|group| !group.exists()) {
            if !asked {
                return Ok(());
            }
            make_group(group).step(|| format!("make {}", group.display()))?;
            self.gather(id, group)?;
        }
        disk::cap_v1(group.as_deref(), self.disk, limits)?;
        disk::share(group.as_deref(), disk::Share::of(self.disk, None), limits)
    }

    /// Moves a container's processes into a group of theirs that was not there when they were made. What they make
    /// meanwhile, before they are moved, is found in the next round.
    fn gather(&self, id: &str, group: &Path) -> Result<(), Failure> {
        let file = group.join("cgroup.procs");
        for _ in 0..GATHER_ROUNDS {
            let (mut all, mut inside) = (Vec::new(), Vec::new());
            self.groups(id).iter().for_each(|group| collect_processes(group, &mut all));
            collect_processes(group, &mut inside);
            let mut moved = false;
            for pid in all.into_iter().filter(|pid| !inside.contains(pid)) {
                match fs::write(&file, pid.to_string()) {
                    // It has ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    written => {
                        written.step(|| format!("write {pid} to {}", file.display()))?;
                        moved = true;
                    }
                }
            }
            if !moved {
                return Ok(());
            }
        }
        Err(Failure::Unsupported("its processes multiply faster than they can be limited: restart it".to_owned()))
    }

    fn limit_cpu(&self, id: &str, limits: &Resources) -> Result<(), Failure> {
        let asked = limits.limits.cpu_weight.map(|weight| u64::from(weight) * 1024 / 100);
        let shares = asked.unwrap_or_else(|| u64::from(limits.cpu_millis) * 1024 / 1000).max(2);
        write_limit(&self.file("cpu", id, "cpu.shares"), shares, 1)?;
        let quota = self.file("cpu", id, "cpu.cfs_quota_us");
        if quota.exists() {
            write_limit(&self.file("cpu", id, "cpu.cfs_period_us"), CPU_PERIOD_USEC.into(), 1)?;
            let cap = u64::from(limits.cpu_millis) * u64::from(CPU_BURST) * u64::from(CPU_PERIOD_USEC) / 1000;
            write_limit(&quota, cap, 1)?;
        }
        Ok(())
    }
}
