//! The cgroup that the whole node lives in, read only: its limits and what it uses, version 1 or 2.

use std::fs;
use std::path::PathBuf;

use roost_types::node::CgroupMode;

use crate::facts::cgroup_mode;

/// Where the node's own cgroup is.
#[derive(Clone, Debug)]
pub struct Cgroup {
    root: PathBuf,
    mode: CgroupMode,
    parent: Option<String>,
}

impl Cgroup {
    /// The cgroup `parent` below each hierarchy's root; the whole machine without one.
    #[must_use]
    pub fn new(parent: Option<String>) -> Self {
        Self { root: PathBuf::from("/sys/fs/cgroup"), mode: cgroup_mode(), parent }
    }

    #[cfg(test)]
    fn at(root: &std::path::Path, mode: CgroupMode, parent: &str) -> Self {
        Self { root: root.to_owned(), mode, parent: Some(parent.to_owned()) }
    }

    /// Which version carries the limits.
    #[must_use]
    pub const fn mode(&self) -> CgroupMode {
        self.mode
    }

    fn read(&self, v1_controller: &str, v1_file: &str, v2_file: &str) -> Option<String> {
        let parent = self.parent.as_deref()?;
        let path = match self.mode {
            CgroupMode::V1 => self.root.join(v1_controller).join(parent).join(v1_file),
            CgroupMode::V2 => self.root.join(parent).join(v2_file),
        };
        fs::read_to_string(path).ok()
    }

    /// Its memory limit in bytes; none when it has none.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        self.read("memory", "memory.limit_in_bytes", "memory.max")?.trim().parse().ok()
    }

    /// What it uses of its memory in bytes, without file pages that can be dropped at once.
    #[must_use]
    pub fn memory_used(&self) -> Option<u64> {
        let used: u64 = self.read("memory", "memory.usage_in_bytes", "memory.current")?.trim().parse().ok()?;
        let stat = self.read("memory", "memory.stat", "memory.stat")?;
        let key = match self.mode {
            CgroupMode::V1 => "total_inactive_file",
            CgroupMode::V2 => "inactive_file",
        };
        Some(used.saturating_sub(field(&stat, key).unwrap_or(0)))
    }

    /// Processor time used since it exists, in microseconds. A unified hierarchy beside those of version 1 counts it for
    /// containers, which have no group of `cpuacct` then.
    #[must_use]
    pub fn cpu_usec(&self) -> Option<u64> {
        match self.read("unified", "cpu.stat", "cpu.stat") {
            Some(text) => field(&text, "usage_usec"),
            None => {
                let text = self.read("cpuacct", "cpuacct.usage", "cpu.stat")?;
                text.trim().parse::<u64>().ok().map(|ns| ns / 1000)
            }
        }
    }
}

/// The value of a `key value` line.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::Cgroup;
    use crate::testing::Scratch;
    use roost_types::node::CgroupMode;
    use std::fs;

    #[test]
    fn reads_both_versions() {
        let scratch = Scratch::new("cgroup");
        let write = |path: &str, text: &str| {
            let path = scratch.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("memory/n1/memory.limit_in_bytes", "1073741824\n");
        write("memory/n1/memory.usage_in_bytes", "3000\n");
        write("memory/n1/memory.stat", "inactive_file 1\ntotal_inactive_file 1000\n");
        write("cpuacct/n1/cpuacct.usage", "5000000\n");
        write("n2/memory.max", "max\n");
        write("n2/memory.current", "3000\n");
        write("n2/memory.stat", "anon 5\ninactive_file 500\n");
        write("n2/cpu.stat", "usage_usec 42\nuser_usec 1\n");
        let v1 = Cgroup::at(scratch.path(), CgroupMode::V1, "n1");
        assert_eq!((v1.memory_limit(), v1.memory_used(), v1.cpu_usec()), (Some(1 << 30), Some(2000), Some(5000)));
        write("unified/n1/cpu.stat", "usage_usec 6000\n");
        assert_eq!(v1.cpu_usec(), Some(6000), "what counts containers too comes first");
        let v2 = Cgroup::at(scratch.path(), CgroupMode::V2, "n2");
        assert_eq!((v2.memory_limit(), v2.memory_used(), v2.cpu_usec()), (None, Some(2500), Some(42)));
    }
}
