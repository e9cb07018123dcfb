//! What a container's groups count, as far as this kernel counts it.

use std::fs;
use std::path::{Path, PathBuf};

use roost_types::stats::{CpuStats, InstanceStats, IoStats, MemoryStats, PressureStats, Stall};

use super::{Cgroups, field, read_field};

/// Where one container's counters are.
struct Files {
    cpu_usec: (PathBuf, Option<&'static str>),
    /// What `cpu_usec` is to be divided by.
    cpu_unit: u64,
    cpu_stat: PathBuf,
    /// Field of `cpu_stat`, and what it is to be divided by.
    throttled: (&'static str, u64),
    memory_usage: PathBuf,
    memory_max_usage: PathBuf,
    memory_limit: PathBuf,
    /// Swap in use; with memory in version 1.
    swap: PathBuf,
    swap_has_memory: bool,
    memory_stat: PathBuf,
    inactive_file: &'static str,
    pids: PathBuf,
    io: PathBuf,
    /// Directory of the `*.pressure` files.
    pressure: Option<PathBuf>,
}

impl Cgroups {
    /// What a container uses: everything but its network and its share of shared pages.
    #[must_use]
    pub fn stats(&self, id: &str) -> InstanceStats {
        let files = self.files(id);
        let (cpu, key) = &files.cpu_usec;
        let used = key.map_or_else(|| number(cpu), |key| Some(read_field(cpu, key))).unwrap_or(0);
        let stat = fs::read_to_string(&files.cpu_stat).unwrap_or_default();
        let (throttled, unit) = files.throttled;
        let usage = number(&files.memory_usage).unwrap_or(0);
        InstanceStats {
            cpu: CpuStats {
                usage_usec: used / files.cpu_unit,
                throttled_usec: known(&stat, throttled).map(|time| time / unit),
                throttled_periods: known(&stat, "nr_throttled"),
                periods: known(&stat, "nr_periods"),
            },
            memory: MemoryStats {
                usage_bytes: usage,
                max_usage_bytes: number(&files.memory_max_usage),
                working_set_bytes: usage.saturating_sub(read_field(&files.memory_stat, files.inactive_file)),
                limit_bytes: number(&files.memory_limit),
                pss_bytes: None,
                swap_bytes: number(&files.swap)
                    .map(|n| n.saturating_sub(if files.swap_has_memory { usage } else { 0 })),
                oom_kills: self.oom_kills(id),
            },
            pids: number(&files.pids.join("pids.current")).and_then(|n| n.try_into().ok()).unwrap_or(0),
            pids_limit: number(&files.pids.join("pids.max")).and_then(|n| n.try_into().ok()),
            io: fs::read_to_string(&files.io).ok().map(|text| io_of(&text)),
            pressure: files.pressure.as_deref().and_then(pressure),
            ..InstanceStats::default()
        }
    }

    fn files(&self, id: &str) -> Files {
        match self {
            Self::V1(found) => Files {
                cpu_usec: match found.unified_group(id) {
                    Some(group) => (group.join("cpu.stat"), Some("usage_usec")),
                    None => (found.file("cpuacct", id, "cpuacct.usage"), None),
                },
                cpu_unit: if found.unified_group(id).is_some() { 1 } else { 1000 },
                cpu_stat: found.file("cpu", id, "cpu.stat"),
                throttled: ("throttled_time", 1000),
                memory_usage: found.file("memory", id, "memory.usage_in_bytes"),
                memory_max_usage: found.file("memory", id, "memory.max_usage_in_bytes"),
                memory_limit: found.file("memory", id, "memory.limit_in_bytes"),
                swap: found.file("memory", id, "memory.memsw.usage_in_bytes"),
                swap_has_memory: true,
                memory_stat: found.file("memory", id, "memory.stat"),
                inactive_file: "total_inactive_file",
                pids: found.file("pids", id, ""),
                io: found.disk_group(id).unwrap_or_default().join("blkio.throttle.io_service_bytes_recursive"),
                pressure: found.unified_group(id),
            },
            Self::V2(found) => {
                let group = found.group(id);
                Files {
                    cpu_usec: (group.join("cpu.stat"), Some("usage_usec")),
                    cpu_unit: 1,
                    cpu_stat: group.join("cpu.stat"),
                    throttled: ("throttled_usec", 1),
                    memory_usage: group.join("memory.current"),
                    memory_max_usage: group.join("memory.peak"),
                    memory_limit: group.join("memory.max"),
                    swap: group.join("memory.swap.current"),
                    swap_has_memory: false,
                    memory_stat: group.join("memory.stat"),
                    inactive_file: "inactive_file",
                    io: group.join("io.stat"),
                    pressure: Some(group.clone()),
                    pids: group,
                }
            }
        }
    }
}

/// The number in a file; none where there is no such file, or it says `max`.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The number of a field that this kernel has.
fn known(text: &str, key: &str) -> Option<u64> {
    let there = text.lines().any(|line| line.split(' ').next() == Some(key));
    there.then(|| field(text, key))
}

/// The sum over disks: `8:0 Read 4096` lines of version 1, `8:0 rbytes=4096 wbytes=0 …` lines of version 2.
fn io_of(text: &str) -> IoStats {
    let mut sum = IoStats::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "Read", bytes] => sum.read_bytes += bytes.parse().unwrap_or(0),
            [_, "Write", bytes] => sum.write_bytes += bytes.parse().unwrap_or(0),
            _ => {
                let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.parse().ok()).unwrap_or(0);
                sum.read_bytes += value("rbytes=");
                sum.write_bytes += value("wbytes=");
            }
        }
    }
    sum
}

fn pressure(group: &Path) -> Option<PressureStats> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok().map(|text| stall(&text));
    Some(PressureStats { cpu: read("cpu.pressure")?, memory: read("memory.pressure")?, io: read("io.pressure")? })
}

/// What stands behind `key` in the line of a kind of stall, of `some avg10=1.50 avg60=0.00 avg300=0.00 total=12345` and
/// the same of `full`.
pub fn stall_field<'a>(text: &'a str, kind: &str, key: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
    line.split(' ').find_map(|word| word.strip_prefix(key))
}

fn stall(text: &str) -> Stall {
    let share = |kind| stall_field(text, kind, "avg10=").and_then(|text| text.parse().ok()).unwrap_or(0.0);
    Stall {
        some_percent_10s: share("some"),
        full_percent_10s: share("full"),
        some_usec: stall_field(text, "some", "total=").and_then(|text| text.parse().ok()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_traffic_is_summed_in_both_versions() {
        let v1 = "8:0 Read 4096\n8:0 Write 512\n8:0 Sync 1\n8:0 Total 4608\n7:1 Read 1024\nTotal 5632\n";
        let v2 = "8:0 rbytes=4096 wbytes=512 rios=1 wios=1 dbytes=0 dios=0\n7:1 rbytes=1024 wbytes=0\n";
        let sum = IoStats { read_bytes: 5120, write_bytes: 512 };
        assert_eq!((io_of(v1), io_of(v2), io_of("")), (sum, sum, IoStats::default()));
    }

    #[test]
    fn a_stall_is_read_and_a_missing_field_is_not_zero() {
        let text =
            "some avg10=1.50 avg60=0.30 avg300=0.00 total=12345\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=7\n";
        let expected = Stall { some_percent_10s: 1.5, full_percent_10s: 0.25, some_usec: 12_345 };
        assert_eq!(stall(text), expected);
        assert_eq!(known("nr_periods 3\n", "nr_periods"), Some(3));
        assert_eq!(known("nr_periods 3\n", "nr_throttled"), None);
    }
}
