//! The boards' cgroups in every hierarchy of version 1 (hybrid too) or in the one of version 2.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::CliError;

/// Cgroup of the agent and keeper inside the board's: version 2 allows no processes beside child cgroups.
const LEAF: &str = "agent";

/// The mounted hierarchies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hierarchies {
    v1: Vec<(PathBuf, String)>,
    v2: Option<PathBuf>,
}

impl Hierarchies {
    /// Those of this machine.
    ///
    /// # Errors
    /// When nothing is mounted, or the list cannot be read.
    pub fn find() -> Result<Self, CliError> {
        let mounts =
            fs::read_to_string("/proc/self/mounts").map_err(|e| CliError::step("reading /proc/self/mounts", e))?;
        let found = Self::parse(&mounts);
        if found.v1.is_empty() && found.v2.is_none() {
            return Err(CliError::Failed("no cgroup hierarchy is mounted below /sys/fs/cgroup".into()));
        }
        Ok(found)
    }

    fn parse(mounts: &str) -> Self {
        let mut found = Self { v1: Vec::new(), v2: None };
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(place), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if !place.starts_with("/sys/fs/cgroup") {
                continue;
            }
            match kind {
                "cgroup" => found.v1.push((place.into(), options.to_owned())),
                "cgroup2" => found.v2 = Some(place.into()),
                _ => {}
            }
        }
        found
    }

    fn roots(&self) -> impl Iterator<Item = &Path> {
        self.v1.iter().map(|(root, _)| root.as_path()).chain(self.v2.as_deref())
    }

    /// The version 1 hierarchy of a controller.
    fn v1_of(&self, controller: &str) -> Option<&Path> {
        self.v1.iter().find(|(_, options)| options.split(',').any(|o| o == controller)).map(|(root, _)| root.as_path())
    }

    /// Makes a board's cgroup and limits it; every limit is read back.
    ///
    /// # Errors
    /// When it cannot be made or a limit is not in force.
    pub fn create(&self, path: &str, memory_bytes: u64, pids: u32) -> Result<(), CliError> {
        for root in self.roots() {
            let mut place = root.to_owned();
            for part in path.split('/').chain([LEAF]) {
                delegate(&place);
                place.push(part);
                make(&place)?;
            }
        }
        let (memory, processes) = match (self.v1_of("memory"), &self.v2) {
            (Some(root), _) => (root.join(path).join("memory.limit_in_bytes"), self.v1_of("pids")),
            (None, Some(root)) => (root.join(path).join("memory.max"), Some(root.as_path())),
            (None, None) => return Err(CliError::Failed("no cgroup hierarchy can limit memory".into())),
        };
        limit(&memory, memory_bytes)?;
        let processes = processes.ok_or_else(|| CliError::Failed("no cgroup hierarchy can limit processes".into()))?;
        limit(&processes.join(path).join("pids.max"), u64::from(pids))
    }

    /// Puts this process into a board's cgroup.
    ///
    /// # Errors
    /// When a hierarchy refuses.
    pub fn enter(&self, path: &str) -> Result<(), CliError> {
        for root in self.roots() {
            let file = root.join(path).join(LEAF).join("cgroup.procs");
            fs::write(&file, "0").map_err(|e| CliError::step(format!("entering {}", file.display()), e))?;
        }
        Ok(())
    }

    /// Processes in a cgroup and those below it.
    pub fn processes(&self, path: &str) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        for root in self.roots() {
            walk(&root.join(path), &mut |dir| {
                let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                found.extend(text.lines().filter_map(|pid| pid.parse::<u32>().ok()).filter(|pid| *pid != 0));
            });
        }
        found
    }

    /// Processes of the agent and keeper of a board.
    pub fn agent_processes(&self, path: &str) -> BTreeSet<u32> {
        self.processes(&format!("{path}/{LEAF}"))
    }

    /// Kills every process in a cgroup, again until none is left.
    ///
    /// # Errors
    /// When some do not go within 10 s.
    pub async fn kill(&self, path: &str) -> Result<(), CliError> {
        let own = std::process::id();
        for _ in 0..500 {
            let mut left = self.processes(path);
            left.remove(&own);
            if left.is_empty() {
                return Ok(());
            }
            for pid in left.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
                // One that is gone already is what is wanted.
                let _ = kill_process(pid, Signal::KILL);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(CliError::Failed(format!("processes {:?} in cgroup {path} do not end", self.processes(path))))
    }

    /// Removes a cgroup and everything below it.
    pub fn remove(&self, path: &str) {
        for root in self.roots() {
            walk(&root.join(path), &mut |dir| {
                // A cgroup that is still dying is removed by the next try, or by `--clean`.
                let _ = fs::remove_dir(dir);
            });
        }
    }

    /// Removes a cgroup when nothing is in it or below it.
    pub fn remove_if_empty(&self, path: &str) {
        for root in self.roots() {
            // One that another rack uses stays.
            let _ = fs::remove_dir(root.join(path));
        }
    }

    /// Processor time used by a cgroup and those below it, in microseconds. Containers are counted by a version 2
    /// hierarchy where there is one.
    pub fn cpu_usec(&self, path: &str) -> Option<u64> {
        let unified = self.v2.as_ref().and_then(|root| fs::read_to_string(root.join(path).join("cpu.stat")).ok());
        if let Some(text) = unified {
            return text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
        }
        let text = fs::read_to_string(self.v1_of("cpuacct")?.join(path).join("cpuacct.usage")).ok()?;
        text.trim().parse::<u64>().ok().map(|ns| ns / 1000)
    }
}

/// Visits a cgroup and those below it, the deepest first.
fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
    visit(dir);
}

/// Lets the children of a version 2 cgroup have limits. What cannot be delegated shows when limits are read back.
fn delegate(dir: &Path) {
    if dir.join("cgroup.controllers").exists() {
        for controller in ["cpu", "memory", "pids", "io", "cpuset"] {
            let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
}

/// Makes one level; a version 1 cpuset takes no process before it has processors and memory.
fn make(dir: &Path) -> Result<(), CliError> {
    let failed = |e| CliError::step(format!("making cgroup {}", dir.display()), e);
    match fs::create_dir(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    let parent = dir.parent().unwrap_or(dir);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if dir.join("cgroup.clone_children").exists() && dir.join(file).exists() {
            let of_parent = fs::read_to_string(parent.join(file)).map_err(failed)?;
            if fs::read_to_string(dir.join(file)).is_ok_and(|own| own.trim().is_empty()) {
                fs::write(dir.join(file), of_parent.trim()).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// Sets a limit and reads it back: a kernel without the controller would take it silently elsewhere.
fn limit(file: &Path, value: u64) -> Result<(), CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::step(format!("setting {} to {value}", file.display()), e);
    fs::write(file, value.to_string()).map_err(|e| failed(&e))?;
    let text = fs::read_to_string(file).map_err(|e| failed(&e))?;
    if text.trim() == value.to_string() { Ok(()) } else { Err(failed(&format!("it reads back as {}", text.trim()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_and_unified_machines_are_told_apart() {
        let hybrid = Hierarchies::parse(
            "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\ncgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
             cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ncgroup /elsewhere cgroup rw,pids 0 0\n",
        );
        assert_eq!(hybrid.v1_of("memory"), Some(Path::new("/sys/fs/cgroup/memory")));
        assert_eq!(hybrid.v1_of("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!((hybrid.v1_of("pids"), hybrid.roots().count()), (None, 3));
        let unified = Hierarchies::parse("cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\nproc /proc proc rw 0 0\n");
        assert_eq!((unified.v1_of("memory"), unified.v2.as_deref()), (None, Some(Path::new("/sys/fs/cgroup"))));
    }

    #[test]
    fn a_limit_that_does_not_read_back_is_an_error() {
        assert!(limit(Path::new("/dev/null"), 5).unwrap_err().to_string().contains("reads back"));
    }
}
