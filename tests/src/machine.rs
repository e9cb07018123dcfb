//! Processes, namespaces and limits as the kernel shows them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use roost_types::{AllocationId, Instance};

/// Every kind of namespace that a container has of its own.
pub const NAMESPACES: [&str; 7] = ["user", "pid", "mnt", "uts", "ipc", "net", "cgroup"];

/// A process, told apart from a later one with the same pid.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// When it started, in the kernel's ticks.
    pub started: u64,
}

impl Process {
    /// The process with this pid, if it is there and not a zombie.
    #[must_use]
    pub fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may have spaces and brackets; the fields after it are fixed: state is the first, start the 20th.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if fields.first() == Some(&"Z") {
            return None;
        }
        Some(Self { pid, started: fields.get(19)?.parse().ok()? })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::find(self.pid).as_ref() == Some(self)
    }

    /// A file of it below `/proc`, empty when it is gone.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        let bytes = fs::read(format!("/proc/{}/{name}", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its command line with spaces between the words.
    #[must_use]
    pub fn command_line(&self) -> String {
        self.file("cmdline").replace('\0', " ")
    }

    /// Its parent.
    #[must_use]
    pub fn parent(&self) -> Option<i32> {
        self.file("stat").rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    }

    /// Identity of one of its namespaces.
    ///
    /// # Errors
    /// It is gone.
    pub fn namespace(&self, kind: &str) -> Result<PathBuf> {
        let path = format!("/proc/{}/ns/{kind}", self.pid);
        fs::read_link(&path).with_context(|| format!("read {path}"))
    }
}

/// Every process of the machine.
#[must_use]
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Process::find).collect()
}

/// The processes that some cgroup hierarchy has in a group whose path contains `part`.
#[must_use]
pub fn in_cgroup(part: &str) -> Vec<Process> {
    processes().into_iter().filter(|process| process.file("cgroup").contains(part)).collect()
}

/// About how many network namespaces the kernel holds, for whatever reason: those that nothing shows, too. None where it
/// does not tell.
#[must_use]
pub fn network_namespaces() -> Option<u64> {
    let text = fs::read_to_string("/proc/slabinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("net_namespace "))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The processes of an instance's container; those that exec started too.
///
/// # Errors
/// The instance has no allocation.
pub fn container(instance: &Instance) -> Result<BTreeSet<Process>> {
    let allocation = instance.allocation.with_context(|| format!("{} has no allocation", instance.name))?;
    Ok(of_allocation(allocation))
}

/// The processes of an allocation's container.
#[must_use]
pub fn of_allocation(allocation: AllocationId) -> BTreeSet<Process> {
    in_cgroup(&format!("/{allocation}")).into_iter().collect()
}

/// The first value found among these files of an allocation's cgroups, in whatever hierarchy has one.
///
/// # Errors
/// No hierarchy has one.
pub fn cgroup_value(allocation: AllocationId, files: &[&str]) -> Result<String> {
    let mut groups = Vec::new();
    find_dirs(Path::new("/sys/fs/cgroup"), &allocation.to_string(), 8, &mut groups);
    let found = groups.iter().flat_map(|group| files.iter().map(move |file| group.join(file)));
    found
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        .next()
        .with_context(|| format!("no cgroup of allocation {allocation} has {}", files.join(" or ")))
}

/// Directories named `name` below `dir`.
fn find_dirs(dir: &Path, name: &str, depth: u32, found: &mut Vec<PathBuf>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        // Links between hierarchies would be walked twice.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_str() == Some(name) {
                found.push(entry.path());
            }
            find_dirs(&entry.path(), name, depth, found);
        }
    }
}
