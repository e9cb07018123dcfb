//! What a rack in a box has on the machine outside of its state directory, to show that nothing of it is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{machine, until};

/// What belongs to one rack.
#[derive(Clone, Debug)]
pub struct Traces {
    /// Number of the rack.
    id: String,
    state: PathBuf,
}

impl Traces {
    /// Those of the running rack with this state directory.
    #[must_use]
    pub fn of(state: &Path) -> Option<Self> {
        let racks = fs::read_dir("/run/roost-dev").ok()?.flatten();
        let mut mine = racks
            .filter(|rack| fs::read_to_string(rack.path().join("state")).is_ok_and(|owner| Path::new(&owner) == state));
        let id = mine.next()?.file_name().to_string_lossy().into_owned();
        Some(Self { id, state: state.to_owned() })
    }

    /// Beginning of the path of every cgroup of the rack.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("/roost-dev/{}/", self.id)
    }

    /// Name of a board's network namespace.
    #[must_use]
    pub fn netns(&self, board: &str) -> String {
        format!("roost-{}-{board}", self.id)
    }

    /// Everything that is there now, a line each.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let mut found = Vec::new();
        for process in machine::in_cgroup(&self.cgroup()) {
            found.push(format!("process {} {}", process.pid, process.command_line()));
        }
        let named = |dir: &str, is_ours: &dyn Fn(&str) -> bool, what: &str| -> Vec<String> {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.filter(|name| is_ours(name)).map(|name| format!("{what} {name}")).collect()
        };
        found.extend(named(
            "/run/netns",
            &|name| name.starts_with(&format!("roost-{}-", self.id)),
            "network namespace",
        ));
        let (bridge, cable) = (format!("rb{}", self.id), format!("rv{}n", self.id));
        found.extend(named("/sys/class/net", &|name| name == bridge || name.starts_with(&cable), "interface"));
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            found.extend(exists(&hierarchy.path().join("roost-dev").join(&self.id), "cgroup"));
        }
        found.extend(exists(&Path::new("/sys/fs/cgroup/roost-dev").join(&self.id), "cgroup"));
        found.extend(exists(&Path::new("/run/roost-dev").join(&self.id), "run directory"));
        let own = ["roost_dev_", "roost_in_"].map(|name| format!("{name}{}", self.id));
        found.extend(tables().into_iter().filter(|table| own.contains(table)).map(|table| format!("table {table}")));
        found.extend(forwarding_for_nobody());
        found.extend(self.mounts());
        found.extend(self.loop_devices());
        found
    }

    /// Whether this machine forwards for it.
    #[must_use]
    pub fn has_way_out(&self) -> bool {
        tables().contains(&format!("roost_dev_{}", self.id))
    }

    fn mounts(&self) -> Vec<String> {
        let run = format!("/run/roost-dev/{}/", self.id);
        let state = self.state.display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let ours = mounts.lines().filter(|line| line.contains(&run) || line.contains(&state));
        ours.map(|line| format!("mount {line}")).collect()
    }

    fn loop_devices(&self) -> Vec<String> {
        let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let backing = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
        backing
            .filter(|file| Path::new(file.trim()).starts_with(&self.state))
            .map(|file| format!("loop device on {}", file.trim()))
            .collect()
    }

    /// Shows that nothing is left. What the kernel takes away a moment later has a moment.
    ///
    /// # Errors
    /// Something stays.
    pub fn ensure_none(&self) -> Result<()> {
        let gone = until("nothing of the rack is left", || Ok(self.list().is_empty().then_some(())));
        let left = self.list();
        ensure!(gone.is_ok() || left.is_empty(), "left behind:\n    {}", left.join("\n    "));
        Ok(())
    }
}

/// The tables of IPv4 rules of this machine.
fn tables() -> Vec<String> {
    let output = Command::new("nft").args(["list", "tables", "ip"]).output().expect("nft is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.strip_prefix("table ip ")).map(str::to_owned).collect()
}

/// That this machine was made to forward, when there is no rack that it does it for.
fn forwarding_for_nobody() -> Option<String> {
    let needed = tables().iter().any(|table| table.starts_with("roost_dev_"));
    if needed { None } else { exists(Path::new("/run/roost-dev/forwarding"), "changed settings of forwarding,") }
}

fn exists(path: &Path, what: &str) -> Option<String> {
    path.exists().then(|| format!("{what} {}", path.display()))
}
