//! Limits of a container's traffic with the disk that holds its layer.
//!
//! Caps are `io.max` (version 2) and `blkio.throttle.*` (version 1). A share needs somebody who hands the disk out: the
//! BFQ scheduler, or on version 2 the io.cost controller where it is on.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use roost_types::limits::Limits;

use crate::runtime::linux::wire::{Context, Failure};

/// A whole disk, by its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disk {
    major: u32,
    minor: u32,
}

impl Disk {
    /// The disk below a directory; none where its file system lies on none, or on several.
    #[must_use]
    pub fn below(directory: &Path) -> Option<Self> {
        let device = fs::metadata(directory).ok()?.dev();
        let numbers = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let entry = fs::canonicalize(Path::new("/sys/dev/block").join(&numbers)).ok()?;
        // The kernel counts by whole disks.
        if entry.join("partition").exists() {
            return Self::parse(&fs::read_to_string(entry.parent()?.join("dev")).ok()?);
        }
        Self::parse(&numbers)
    }

    fn parse(numbers: &str) -> Option<Self> {
        let (major, minor) = numbers.trim().split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    fn has_bfq(self) -> bool {
        let file = format!("/sys/dev/block/{self}/queue/scheduler");
        fs::read_to_string(file).is_ok_and(|text| text.contains("[bfq]"))
    }

    /// Whether the io.cost controller of version 2 hands it out; `root` is that of the hierarchy.
    fn has_cost(self, root: &Path) -> bool {
        let text = fs::read_to_string(root.join("io.cost.qos")).unwrap_or_default();
        line_of(&text, self).is_some_and(|line| line.split(' ').any(|word| word == "enable=1"))
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// What of a limit a file holds.
struct Cap {
    /// Name in `io.max`.
    v2: &'static str,
    /// File of version 1.
    v1: &'static str,
    value: Option<u64>,
}

fn caps(limits: &Limits) -> [Cap; 4] {
    let bytes = |limit: Option<roost_types::MemoryBytes>| limit.map(|bytes| bytes.0);
    let cap = |v2, v1, value| Cap { v2, v1, value };
    [
        cap("rbps", "blkio.throttle.read_bps_device", bytes(limits.io_read_bytes_per_second)),
        cap("wbps", "blkio.throttle.write_bps_device", bytes(limits.io_write_bytes_per_second)),
        cap("riops", "blkio.throttle.read_iops_device", limits.io_reads_per_second.map(u64::from)),
        cap("wiops", "blkio.throttle.write_iops_device", limits.io_writes_per_second.map(u64::from)),
    ]
}

/// Puts the caps of a group of version 2 in force; may be repeated.
///
/// # Errors
/// [`Failure::Unsupported`] where there is no such disk or limit.
pub fn cap_v2(group: &Path, disk: Option<Disk>, limits: &Limits) -> Result<(), Failure> {
    let file = group.join("io.max");
    let now = fs::read_to_string(&file).unwrap_or_default();
    let Some(disk) = disk.filter(|_| file.exists()) else {
        return if limits.caps_io() { Err(unsupported(disk)) } else { Ok(()) };
    };
    if !limits.caps_io() && line_of(&now, disk).is_none() {
        return Ok(());
    }
    let caps = caps(limits);
    let words = caps.iter().map(|cap| format!("{}={}", cap.v2, cap.value.map_or("max".into(), |n| n.to_string())));
    let line = format!("{disk} {}", words.collect::<Vec<_>>().join(" "));
    fs::write(&file, &line).step(|| format!("write {line} to {}", file.display()))?;
    let back = fs::read_to_string(&file).step(|| format!("read {}", file.display()))?;
    let in_force = line_of(&back, disk);
    let is_in_force = |cap: &Cap| cap_in(in_force, cap.v2) == cap.value;
    if caps.iter().all(is_in_force) { Ok(()) } else { Err(not_taken(&file, &back, &line)) }
}

/// Puts the caps of a group of version 1 in force; may be repeated. `group` is none without a `blkio` hierarchy.
///
/// # Errors
/// [`Failure::Unsupported`] where there is no such disk or limit.
pub fn cap_v1(group: Option<&Path>, disk: Option<Disk>, limits: &Limits) -> Result<(), Failure> {
    let (Some(group), Some(on)) = (group, disk) else {
        return if limits.caps_io() { Err(unsupported(disk)) } else { Ok(()) };
    };
    for cap in caps(limits) {
        let file = group.join(cap.v1);
        let Ok(now) = fs::read_to_string(&file) else {
            if cap.value.is_some() {
                return Err(unsupported(disk));
            }
            continue;
        };
        if cap.value.is_none() && line_of(&now, on).is_none() {
            continue;
        }
        // Zero takes it back.
        let line = format!("{on} {}", cap.value.unwrap_or(0));
        fs::write(&file, &line).step(|| format!("write {line} to {}", file.display()))?;
        let back = fs::read_to_string(&file).step(|| format!("read {}", file.display()))?;
        if line_of(&back, on).and_then(|value| value.trim().parse().ok()) != cap.value {
            return Err(not_taken(&file, &back, &line));
        }
    }
    Ok(())
}

/// The file of a group that holds its share of a disk, and the largest share it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    file: &'static str,
    most: u32,
}

impl Share {
    /// By which file shares count here, if any; `v2` is the root of the hierarchy of version 2, where that one is used.
    #[must_use]
    pub fn of(disk: Option<Disk>, v2: Option<&Path>) -> Option<Self> {
        let disk = disk?;
        match v2 {
            Some(root) if disk.has_cost(root) => Some(Self { file: "io.weight", most: 10_000 }),
            Some(_) if disk.has_bfq() => Some(Self { file: "io.bfq.weight", most: 1_000 }),
            None if disk.has_bfq() => Some(Self { file: "blkio.bfq.weight", most: 1_000 }),
            Some(_) | None => None,
        }
    }

    /// 100 is 100 everywhere; above, what is left is stretched or pressed to fit.
    const fn scaled(self, weight: u32) -> u32 {
        if weight <= 100 { weight } else { 100 + (weight - 100) * (self.most - 100) / (10_000 - 100) }
    }
}

/// Gives a group its share; may be repeated.
///
/// # Errors
/// [`Failure::Unsupported`] where nobody hands the disk out by shares.
pub fn share(group: Option<&Path>, share: Option<Share>, limits: &Limits) -> Result<(), Failure> {
    let found = group.zip(share).map(|(group, share)| (group.join(share.file), share));
    let Some((file, share)) = found.filter(|(file, _)| file.exists()) else {
        return if limits.io_weight.is_some() { Err(Failure::Unsupported(NO_SHARES.to_owned())) } else { Ok(()) };
    };
    let weight = share.scaled(limits.io_weight.unwrap_or(100));
    fs::write(&file, weight.to_string()).step(|| format!("write {weight} to {}", file.display()))?;
    let back = fs::read_to_string(&file).step(|| format!("read {}", file.display()))?;
    let first = back.lines().next().unwrap_or_default();
    if first.strip_prefix("default ").unwrap_or(first).trim().parse() == Ok(weight) {
        return Ok(());
    }
    Err(not_taken(&file, &back, &weight.to_string()))
}

/// What to do where no cap can be put on a disk's traffic.
pub const NO_CAPS: &str = "use a kernel with CONFIG_BLK_DEV_THROTTLING and without 'cgroup_disable=io' or \
                           'cgroup_disable=blkio'";
/// What to do where the layers lie on no disk.
pub const NO_DISK: &str = "put the agent's state on a file system of one disk, such as ext4, xfs or f2fs";
/// What to do where nobody hands the disk out by shares.
pub const NO_SHARES: &str = "a share of the disk cannot be enforced: use the BFQ scheduler for the disk that holds the \
                             agent's state ('echo bfq > /sys/block/DISK/queue/scheduler'), or on cgroup v2 turn io.cost \
                             on for it ('echo \"MAJOR:MINOR enable=1\" > /sys/fs/cgroup/io.cost.qos')";

fn unsupported(disk: Option<Disk>) -> Failure {
    let advice = if disk.is_some() { NO_CAPS } else { NO_DISK };
    Failure::Unsupported(format!("traffic with the disk cannot be limited: {advice}"))
}

fn not_taken(file: &Path, back: &str, written: &str) -> Failure {
    Failure::Unsupported(format!("{} reads '{}' after '{written}' was written", file.display(), back.trim()))
}

/// What follows a disk's numbers in a file with a line for each.
fn line_of(text: &str, disk: Disk) -> Option<&str> {
    let numbers = disk.to_string();
    text.lines().find_map(|line| line.strip_prefix(&numbers)?.strip_prefix(' '))
}

/// One number of a line of `io.max`; none where it is `max` or there is no line.
fn cap_in(line: Option<&str>, name: &str) -> Option<u64> {
    line?.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;
    use roost_types::MemoryBytes;

    const DISK: Disk = Disk { major: 8, minor: 0 };

    #[test]
    fn a_line_is_that_of_the_whole_number() {
        let text = "8:00 rbps=1 wbps=max\n8:0 rbps=77 wbps=max riops=max wiops=9\n";
        assert_eq!(cap_in(line_of(text, DISK), "rbps"), Some(77));
        assert_eq!(cap_in(line_of(text, DISK), "wbps"), None);
        assert_eq!(cap_in(line_of(text, DISK), "wiops"), Some(9));
        assert_eq!(line_of(text, Disk { major: 8, minor: 1 }), None);
    }

    #[test]
    fn a_cap_is_written_in_the_words_of_each_version_and_read_back() {
        let scratch = Scratch::new("io-caps");
        let limits = Limits { io_read_bytes_per_second: Some(MemoryBytes::mib(1)), ..Limits::NONE };
        let file = |name: &str| scratch.path().join(name);
        fs::write(file("io.max"), "").unwrap();
        cap_v2(scratch.path(), Some(DISK), &limits).unwrap();
        assert_eq!(fs::read_to_string(file("io.max")).unwrap(), "8:0 rbps=1048576 wbps=max riops=max wiops=max");
        for cap in caps(&limits) {
            fs::write(file(cap.v1), "").unwrap();
        }
        cap_v1(Some(scratch.path()), Some(DISK), &limits).unwrap();
        assert_eq!(fs::read_to_string(file("blkio.throttle.read_bps_device")).unwrap(), "8:0 1048576");
        assert_eq!(fs::read_to_string(file("blkio.throttle.write_bps_device")).unwrap(), "");
    }

    #[test]
    fn what_cannot_be_limited_says_what_to_do_and_only_when_asked() {
        let asked = Limits { io_writes_per_second: Some(10), io_weight: Some(1), ..Limits::NONE };
        let nowhere = Path::new("/nonexistent");
        for refused in [cap_v2(nowhere, None, &asked), cap_v1(None, None, &asked)] {
            assert!(matches!(&refused, Err(Failure::Unsupported(text)) if text.contains("state on a file system")));
        }
        for refused in [cap_v2(nowhere, Some(DISK), &asked), cap_v1(Some(nowhere), Some(DISK), &asked)] {
            assert!(matches!(&refused, Err(Failure::Unsupported(text)) if text.contains("CONFIG_BLK_DEV_THROTTLING")));
        }
        assert!(matches!(&share(None, None, &asked), Err(Failure::Unsupported(text)) if text.contains("BFQ")));
        cap_v2(nowhere, None, &Limits::NONE).unwrap();
        cap_v1(None, None, &Limits::NONE).unwrap();
        share(None, None, &Limits::NONE).unwrap();
    }

    #[test]
    fn shares_are_scaled_around_a_hundred() {
        let bfq = Share { file: "io.bfq.weight", most: 1_000 };
        assert_eq!([1, 100, 10_000].map(|weight| bfq.scaled(weight)), [1, 100, 1_000]);
        let cost = Share { file: "io.weight", most: 10_000 };
        assert_eq!([1, 100, 5_000, 10_000].map(|weight| cost.scaled(weight)), [1, 100, 5_000, 10_000]);
    }
}
