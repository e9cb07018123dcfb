//! Control groups: what puts a container's limits in force, on version 1 hierarchies (hybrid included) and version 2.
//!
//! A container's groups are `<hierarchy>/<parent>/instances/<allocation id>`. Only groups made here are ever touched.
//! Every limit is read back after it was written. A controller that is missing is an error that names the kernel
//! argument that brings it: a limit is never dropped silently.
//!
//! Processor time: `cpu_millis` is the container's *weight* when the board is busy (1000 = one core = 1024 shares), and
//! four times `cpu_millis` is its *cap* when the board is idle, so that a nano (250) may use one whole idle core. A weight
//! that was asked for takes the place of the first: 100 is that of a core.

mod devices;
pub mod disk;
mod stats;
pub mod v1;
pub mod v2;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use roost_allocation::Counters;
use roost_types::node::CgroupMode;
use roost_types::size::Resources;

use super::wire::{Context, Failure};

/// How many times its weight a container may use while nobody else wants the processor.
pub const CPU_BURST: u32 = 4;
/// Period over which the cap counts, in microseconds.
pub const CPU_PERIOD_USEC: u32 = 100_000;

/// What a container uses, straight from its groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in microseconds.
    pub cpu_usec: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
}

/// A limit that not every board can enforce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Optional {
    /// Memory above which a container is slowed down.
    MemoryHigh,
    /// Swap.
    Swap,
    /// Caps of the traffic with the disk.
    Io,
    /// A share of the disk.
    IoShare,
}

/// Where a new process has to go.
#[derive(Debug)]
pub struct Entry {
    /// Files to which the process itself writes `0`. Opened by root, whose rights count.
    pub join: Vec<(OwnedFd, PathBuf)>,
    /// Directory of the unified hierarchy for `clone3`; none where the process joins it by a file.
    pub born_in: Option<OwnedFd>,
}

/// The hierarchies of this machine.
#[derive(Clone, Debug)]
pub enum Cgroups {
    /// Version 1 or hybrid.
    V1(v1::Hierarchies),
    /// Version 2 only.
    V2(v2::Hierarchy),
}

impl Cgroups {
    /// Looks at the machine. `parent` is the path below each hierarchy's root under which everything is made.
    ///
    /// # Errors
    /// When no hierarchy is mounted.
    pub fn detect(parent: &Path) -> Result<Self, Failure> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").step(|| "read /proc/self/mountinfo")?;
        let parent = parent.strip_prefix("/").unwrap_or(parent);
        let found = v1::Hierarchies::from_mounts(&mounts, parent);
        if found.has_controllers() {
            return Ok(Self::V1(found));
        }
        match v2::Hierarchy::from_mounts(&mounts, parent) {
            Some(hierarchy) => Ok(Self::V2(hierarchy)),
            None => Err(Failure::Unsupported("no cgroup hierarchy is mounted below /sys/fs/cgroup".into())),
        }
    }

    /// Names the disk that holds the layers of containers, whose traffic is limited.
    #[must_use]
    pub fn on_disk(self, disk: Option<disk::Disk>) -> Self {
        match self {
            Self::V1(mut found) => {
                found.disk = disk;
                Self::V1(found)
            }
            Self::V2(mut found) => {
                found.disk = disk;
                Self::V2(found)
            }
        }
    }

    /// Why a limit that not every board can enforce cannot be enforced on this one; none when it can.
    #[must_use]
    pub fn lacks(&self, limit: Optional) -> Option<String> {
        match self {
            Self::V1(found) => found.lacks(limit),
            Self::V2(found) => found.lacks(limit),
        }
    }

    /// Which kind it is.
    #[must_use]
    pub const fn mode(&self) -> CgroupMode {
        match self {
            Self::V1(_) => CgroupMode::V1,
            Self::V2(_) => CgroupMode::V2,
        }
    }

    /// Makes the groups of a container with its limits in force. `owner` is the host id of the container's root, to
    /// which a subtree of the unified hierarchy is delegated where the container has its own init.
    ///
    /// # Errors
    /// [`Failure::Unsupported`] for a controller that is missing.
    pub fn create(&self, id: &str, limits: &Resources, owner: Option<u32>) -> Result<Entry, Failure> {
        match self {
            Self::V1(found) => found.create(id, limits, owner),
            Self::V2(found) => found.create(id, limits, owner),
        }
    }

    /// Puts other limits in force on the groups of a container.
    ///
    /// # Errors
    /// [`Failure::Unsupported`] when the container uses more memory than it is to have.
    pub fn limit(&self, id: &str, limits: &Resources) -> Result<(), Failure> {
        match self {
            Self::V1(found) => found.limit(id, limits),
            Self::V2(found) => found.limit(id, limits),
        }
    }

    /// Whether a list of devices is enforced here: by its controller, or by a program where the kernel takes one.
    #[must_use]
    pub fn limits_devices(&self) -> bool {
        match self {
            Self::V1(found) => found.has("devices"),
            Self::V2(found) => found.limits_devices(),
        }
    }

    /// How another process of the same container joins its groups. `init` is its first process: where it has its own
    /// init, that one may have moved itself deeper into the subtree it was given and closed the group it came from.
    ///
    /// # Errors
    /// When a group is gone.
    pub fn entry(&self, id: &str, init: u32) -> Result<Entry, Failure> {
        let own = fs::read_to_string(format!("/proc/{init}/cgroup")).step(|| format!("read /proc/{init}/cgroup"))?;
        match self {
            Self::V1(found) => found.entry(id, unified_path(&own)),
            Self::V2(found) => found.entry(id, unified_path(&own)),
        }
    }

    /// What the container uses.
    #[must_use]
    pub fn usage(&self, id: &str) -> Usage {
        match self {
            Self::V1(found) => found.usage(id),
            Self::V2(found) => found.usage(id),
        }
    }

    /// How many of its processes the kernel killed for want of memory.
    #[must_use]
    pub fn oom_kills(&self, id: &str) -> u64 {
        match self {
            Self::V1(found) => found.oom_kills(id),
            Self::V2(found) => found.oom_kills(id),
        }
    }

    /// What the container's groups count; none when there are none.
    #[must_use]
    pub fn counters(&self, id: &str) -> Option<Counters> {
        match self {
            Self::V1(found) => found.counters(id),
            Self::V2(found) => found.counters(id),
        }
    }

    /// Processes that are still in the container's groups.
    #[must_use]
    pub fn processes(&self, id: &str) -> Vec<i32> {
        let mut all = Vec::new();
        for group in self.groups(id) {
            collect_processes(&group, &mut all);
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Removes the container's groups; `false` while a process is still in one.
    ///
    /// # Errors
    /// Anything but a group that is busy or gone.
    pub fn remove(&self, id: &str) -> Result<bool, Failure> {
        let mut gone = true;
        let further: Vec<PathBuf> = match self {
            Self::V1(found) => found.further_groups(id).collect(),
            Self::V2(_) => Vec::new(),
        };
        for group in self.groups(id).into_iter().chain(further) {
            gone &= remove_tree(&group).step(|| format!("remove {}", group.display()))?;
        }
        Ok(gone)
    }

    /// Pauses all processes of a container, or lets them go on.
    ///
    /// # Errors
    /// [`Failure::Unsupported`] where the kernel cannot.
    pub fn freeze(&self, id: &str, frozen: bool) -> Result<(), Failure> {
        let (file, words) = self.freezer(id)?;
        let word = words[usize::from(frozen)];
        fs::write(&file, word).step(|| format!("write {word} to {}", file.display()))
    }

    /// Whether none of its processes runs any more.
    #[must_use]
    pub fn is_frozen(&self, id: &str) -> bool {
        match self.freezer(id) {
            Ok((file, [_, "1"])) => read_field(&file.with_file_name("cgroup.events"), "frozen") == 1,
            Ok((file, [_, word])) => fs::read_to_string(&file).is_ok_and(|text| text.trim() == word),
            Err(_) => false,
        }
    }

    /// The file that pauses a container, and what to write to it to let it go on and to pause it. The container may not
    /// write it: of a group that is delegated to it, that file is still the board's.
    fn freezer(&self, id: &str) -> Result<(PathBuf, [&'static str; 2]), Failure> {
        let unified = match self {
            Self::V1(found) => found.unified_group(id),
            Self::V2(found) => Some(found.group(id)),
        };
        if let Some(file) = unified.map(|group| group.join("cgroup.freeze")).filter(|file| file.exists()) {
            return Ok((file, ["0", "1"]));
        }
        let legacy = if let Self::V1(found) = self { found.freezer_group(id) } else { None };
        legacy.map(|group| (group.join("freezer.state"), ["THAWED", "FROZEN"])).ok_or_else(|| {
            Failure::Unsupported(
                "the kernel cannot pause a running instance (it has neither cgroup.freeze, since 5.2, nor the freezer \
                 controller without a unified hierarchy): stop the instance first"
                    .into(),
            )
        })
    }

    fn groups(&self, id: &str) -> Vec<PathBuf> {
        match self {
            Self::V1(found) => found.groups(id),
            Self::V2(found) => vec![found.group(id)],
        }
    }
}

/// The path below the unified hierarchy's root in the text of `/proc/<pid>/cgroup`.
fn unified_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::/"))
}

fn collect_processes(group: &Path, all: &mut Vec<i32>) {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    for child in children(group) {
        collect_processes(&child, all);
    }
}

fn children(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else { return Vec::new() };
    entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()).collect()
}

/// Removes a group and those that the container made in it, deepest first.
fn remove_tree(group: &Path) -> io::Result<bool> {
    // Most containers make none.
    if remove_group(group)? {
        return Ok(true);
    }
    for child in children(group) {
        if !remove_tree(&child)? {
            return Ok(false);
        }
    }
    remove_group(group)
}

fn remove_group(group: &Path) -> io::Result<bool> {
    match fs::remove_dir(group) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a limit and reads it back: the kernel rounds memory to pages, anything else must be exactly what was asked.
fn write_limit(path: &Path, value: u64, rounded_to: u64) -> Result<(), Failure> {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).step(|| format!("open {}", path.display()))?;
    file.write_at(value.to_string().as_bytes(), 0).step(|| format!("write {value} to {}", path.display()))?;
    let mut buffer = [0; 64];
    let got = file.read_at(&mut buffer, 0).step(|| format!("read {}", path.display()))?;
    let back = String::from_utf8_lossy(&buffer[..got]);
    let first = back.split_whitespace().next().and_then(|text| text.parse::<u64>().ok());
    match first {
        Some(got) if got.abs_diff(value) < rounded_to => Ok(()),
        _ => Err(Failure::Unsupported(format!("{} reads {} after {value} was written", path.display(), back.trim()))),
    }
}

/// What to do where swap cannot be limited.
pub const NO_SWAP: &str =
    "swap cannot be limited: add 'swapaccount=1' to the kernel's command line and restart the board";
/// What to do where there is no limit below the last one.
pub const NO_HIGH: &str = "memory cannot be limited softly: use cgroup v2 ('systemd.unified_cgroup_hierarchy=1' on the \
                           kernel's command line), or a kernel with CONFIG_MEMCG_V1 and without real-time patches";

/// Said when a container uses more memory than it is to have.
fn in_use(used: u64, wanted: u64) -> Failure {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Failure::Unsupported(format!(
        "it uses {} MiB of memory, more than the {} MiB it is to have: stop something inside, or restart it",
        mib(used),
        mib(wanted)
    ))
}

fn read_number(file: &Path) -> u64 {
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The number after `key` in a file of `key value` lines.
fn read_field(file: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    field(&text, key)
}

fn field(text: &str, key: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok()).unwrap_or(0)
}

/// Counters of processor time in a `cpu.stat`, the same in both versions.
fn cpu_counters(file: &Path) -> Option<Counters> {
    let text = fs::read_to_string(file).ok()?;
    let (periods, throttled) = (field(&text, "nr_periods"), field(&text, "nr_throttled"));
    Some(Counters { periods, throttled, ..Counters::default() })
}

/// The share of the last minute in which some process waited, in hundredths of a percent; none where the kernel does not
/// tell.
fn last_minute(file: &Path) -> Option<u32> {
    hundredths(stats::stall_field(&fs::read_to_string(file).ok()?, "some", "avg60=")?)
}

fn hundredths(percent: &str) -> Option<u32> {
    let (whole, part) = percent.split_once('.')?;
    Some(whole.parse::<u32>().ok()? * 100 + part.parse::<u32>().ok()?)
}

fn open_to_join(file: PathBuf) -> Result<(OwnedFd, PathBuf), Failure> {
    let fd = fs::OpenOptions::new().write(true).open(&file).step(|| format!("open {}", file.display()))?;
    Ok((fd.into(), file))
}

/// What to tell the user when a controller is missing.
#[must_use]
pub fn missing(controller: &str) -> String {
    match controller {
        "memory" => "the kernel's memory controller is off, so the memory limit cannot be enforced: add \
                     'cgroup_enable=memory swapaccount=1' to the kernel's command line and restart the board"
            .to_owned(),
        other => format!(
            "the kernel has no '{other}' controller, so its limit cannot be enforced: use a kernel with \
             CONFIG_CGROUP_{} and without 'cgroup_disable={other}'",
            other.to_uppercase()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), 3);
        assert_eq!(field(text, "oom"), 0);
    }

    #[test]
    fn the_unified_path_is_found_among_the_others() {
        assert_eq!(
            unified_path("4:memory:/a\n0::/roost/instances/x/init.scope\n"),
            Some("roost/instances/x/init.scope")
        );
        assert_eq!(unified_path("4:memory:/a\n"), None);
    }

    #[test]
    fn pressure_is_read_in_hundredths_of_a_percent() {
        let text = "some avg10=0.00 avg60=12.34 avg300=1.00 total=7\nfull avg10=0.00 avg60=0.50 avg300=0.00 total=1\n";
        assert_eq!(stats::stall_field(text, "some", "avg60=").and_then(hundredths), Some(1234));
        assert_eq!(stats::stall_field("", "some", "avg60="), None);
    }

    #[test]
    fn a_missing_memory_controller_names_the_kernel_argument() {
        assert!(missing("memory").contains("cgroup_enable=memory"));
    }
}
