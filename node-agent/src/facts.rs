//! What the node says of itself: hardware, kernel, what its kernel can do, images it holds.

use std::fs;
use std::path::Path;

use roost_types::node::{CgroupMode, Feature};
use roost_types::size::Arch;
use roost_types::{ImageDigest, MemoryBytes, NodeFacts};

use crate::cgroup::Cgroup;
use crate::config::Config;

/// Free disk space is told in steps of 64 MiB, so that a log line is no news.
const DISK_STEP: u64 = 64 << 20;

/// Looks at the machine. `features` is what the runtime found.
#[must_use]
pub fn gather(config: &Config, cgroup: &Cgroup, features: &[Feature], images: Vec<ImageDigest>) -> NodeFacts {
    NodeFacts {
        arch: Arch::native(),
        cpu_millis: cpu_millis(config),
        memory_bytes: MemoryBytes(memory(cgroup)),
        disk_bytes: MemoryBytes(disk_free(&config.state) / DISK_STEP * DISK_STEP),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        address: config.address,
        cgroup: cgroup.mode(),
        features: features.to_vec(),
        images,
    }
}

/// Thousandths of a core this node has.
#[must_use]
pub fn cpu_millis(config: &Config) -> u32 {
    let cores = || std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    config.cpu_millis.unwrap_or_else(|| cores().saturating_mul(1000))
}

fn memory(cgroup: &Cgroup) -> u64 {
    let machine = meminfo("MemTotal:").unwrap_or(0);
    cgroup.memory_limit().map_or(machine, |limit| limit.min(machine))
}

/// A line of `/proc/meminfo` in bytes.
pub(crate) fn meminfo(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn disk_free(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The hierarchy that carries the limits when nobody says otherwise.
pub(crate) fn cgroup_mode() -> CgroupMode {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { CgroupMode::V2 } else { CgroupMode::V1 }
}
