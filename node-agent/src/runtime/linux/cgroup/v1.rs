//! Version 1 hierarchies, one per controller, and the hybrid layout that adds a unified one without controllers.

mod limits;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use roost_allocation::Counters;
use roost_types::size::Resources;

use super::{Entry, Usage, cpu_counters, devices, disk, last_minute, missing, open_to_join, read_field, read_number};
use crate::runtime::linux::wire::{Context, Failure};

/// Controllers that a container needs.
const NEEDED: [&str; 4] = ["memory", "pids", "cpu", "devices"];
/// Controllers that are used where they are there.
const USED: [&str; 3] = ["cpuacct", "freezer", BLKIO];
/// The controller of traffic with disks.
const BLKIO: &str = "blkio";

/// Where each controller is mounted, and the parent below it.
///
/// Each group of a container costs its share of a start and of an end, so there is none that is not needed: processor
/// time is counted by the unified hierarchy where there is one, the list of devices is the same for all containers, which
/// join the group above theirs, and only those whose traffic with the disk is limited have a group for that.
#[derive(Clone, Debug)]
pub struct Hierarchies {
    controllers: BTreeMap<String, PathBuf>,
    unified: Option<PathBuf>,
    /// Where containers have no group of their own, but those of an earlier agent have.
    shared: Vec<PathBuf>,
    /// Where containers have a group once their traffic with the disk is limited.
    blkio: Option<PathBuf>,
    parent: PathBuf,
    /// The disk that holds the layers.
    pub(super) disk: Option<disk::Disk>,
}

impl Hierarchies {
    /// Reads them from the text of `/proc/self/mountinfo`.
    #[must_use]
    pub fn from_mounts(mounts: &str, parent: &Path) -> Self {
        let (controllers, shared) = (BTreeMap::new(), Vec::new());
        let parent = parent.to_owned();
        let mut found = Self { controllers, unified: None, shared, blkio: None, parent, disk: None };
        for line in mounts.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(point) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut fields = right.split(' ');
            match fields.next() {
                Some("cgroup") => {
                    for option in fields.nth(1).unwrap_or_default().split(',') {
                        if (NEEDED.contains(&option) || USED.contains(&option))
                            && !found.controllers.contains_key(option)
                        {
                            found.controllers.insert(option.to_owned(), point.clone());
                        }
                    }
                }
                // As with the controllers, the first: later ones are somebody's view of a part of it.
                Some("cgroup2") => {
                    found.unified.get_or_insert(point);
                }
                _ => {}
            }
        }
        found.blkio = found.controllers.remove(BLKIO);
        if found.unified.is_some() {
            // What the unified hierarchy can do by itself needs no group in another.
            found.controllers.remove("freezer");
            found.shared.extend(found.controllers.remove("cpuacct"));
        }
        found.shared.extend(found.controllers.get("devices").cloned());
        let own: Vec<PathBuf> = found.own_points().cloned().collect();
        found.shared.retain(|point| !own.contains(point));
        found
    }

    /// The container's group in the unified hierarchy.
    #[must_use]
    pub fn unified_group(&self, id: &str) -> Option<PathBuf> {
        self.unified.as_ref().map(|point| self.below(point, id))
    }

    /// The container's group of the freezer, which is used where there is no unified hierarchy.
    #[must_use]
    pub fn freezer_group(&self, id: &str) -> Option<PathBuf> {
        self.controllers.get("freezer").map(|point| self.below(point, id))
    }

    /// Whether there is any version 1 controller.
    #[must_use]
    pub fn has_controllers(&self) -> bool {
        !self.controllers.is_empty()
    }

    /// Whether a controller is mounted.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.contains_key(controller)
    }

    /// Every group of a container, without duplicates where controllers share a hierarchy.
    #[must_use]
    pub fn groups(&self, id: &str) -> Vec<PathBuf> {
        let mut points: Vec<&PathBuf> = self.own_points().collect();
        points.sort();
        points.dedup();
        points.into_iter().map(|point| self.below(point, id)).collect()
    }

    /// Groups that a container has when an earlier agent made it, or when its traffic with the disk is limited.
    pub(super) fn further_groups(&self, id: &str) -> impl Iterator<Item = PathBuf> {
        self.shared.iter().chain(&self.blkio).map(move |point| self.below(point, id))
    }

    /// The group that limits its traffic with the disk, which may not be there.
    pub(super) fn disk_group(&self, id: &str) -> Option<PathBuf> {
        self.blkio.as_ref().map(|point| self.below(point, id))
    }

    /// Hierarchies in which each container has a group of its own.
    fn own_points(&self) -> impl Iterator<Item = &PathBuf> {
        let of_controllers = self.controllers.iter().filter(|(name, _)| *name != "devices").map(|(_, point)| point);
        of_controllers.chain(&self.unified)
    }

    fn below(&self, point: &Path, id: &str) -> PathBuf {
        point.join(&self.parent).join("instances").join(id)
    }

    /// A file of the container's group in a controller's hierarchy; an empty path where there is none.
    pub(super) fn file(&self, controller: &str, id: &str, name: &str) -> PathBuf {
        self.controllers.get(controller).map_or_else(PathBuf::new, |point| self.below(point, id).join(name))
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
        let devices_limited = self.limit_devices_of_all()?;
        for group in self.groups(id) {
            make_group(&group).step(|| format!("make {}", group.display()))?;
        }
        if !devices_limited {
            let own = self.file("devices", id, "");
            make_group(&own).step(|| format!("make {}", own.display()))?;
            if !restrict_devices(&own)? {
                return Err(Failure::Unsupported(format!("{} takes no device list", own.display())));
            }
        }
        self.limit(id, limits)?;
        if let (Some(owner), Some(point)) = (owner, &self.unified) {
            super::v2::delegate(&self.below(point, id), owner)?;
        }
        self.entry(id, None)
    }

    /// The list of devices stands on the group above all containers, which they join. `false` when it cannot be put
    /// there, because containers of an agent that did not do so are running.
    fn limit_devices_of_all(&self) -> Result<bool, Failure> {
        let above = self.file("devices", "", "");
        make_group(&above).step(|| format!("make {}", above.display()))?;
        Ok(lists_devices(&above)? || restrict_devices(&above)?)
    }

    /// See [`super::Cgroups::entry`]. A process that writes itself into `tasks` does not wait for the grace period that
    /// moving another one costs (8 ms and more); the unified hierarchy has no such file, so it is born there.
    ///
    /// # Errors
    /// As there.
    pub fn entry(&self, id: &str, deeper: Option<&str>) -> Result<Entry, Failure> {
        let unified = self.unified.as_ref().map(|point| self.below(point, id));
        let mut join = Vec::new();
        for group in self.groups(id).into_iter().filter(|group| Some(group) != unified.as_ref()) {
            join.push(open_to_join(group.join("tasks"))?);
        }
        let own = self.file("devices", id, "tasks");
        join.push(match open_to_join(own) {
            Err(Failure::Step { errno: libc::ENOENT, .. }) => open_to_join(self.file("devices", "", "tasks"))?,
            found => found?,
        });
        if let Some(group) = self.disk_group(id) {
            match open_to_join(group.join("tasks")) {
                // Its traffic is not limited.
                Err(Failure::Step { errno: libc::ENOENT, .. }) => {}
                found => join.push(found?),
            }
        }
        let open = |group: PathBuf| fs::File::open(&group).step(|| format!("open {}", group.display()));
        let deeper = self.unified.as_ref().zip(deeper).map(|(point, path)| point.join(path));
        let born_in = deeper.or(unified).map(open).transpose()?.map(Into::into);
        Ok(Entry { join, born_in })
    }

    /// See [`super::Cgroups::usage`].
    #[must_use]
    pub fn usage(&self, id: &str) -> Usage {
        Usage {
            cpu_usec: match self.unified_group(id) {
                Some(group) => read_field(&group.join("cpu.stat"), "usage_usec"),
                None => read_number(&self.file("cpuacct", id, "cpuacct.usage")) / 1000,
            },
            memory_bytes: read_number(&self.file("memory", id, "memory.usage_in_bytes")),
            pids: u32::try_from(read_number(&self.file("pids", id, "pids.current"))).unwrap_or(u32::MAX),
        }
    }

    /// See [`super::Cgroups::counters`].
    #[must_use]
    pub fn counters(&self, id: &str) -> Option<Counters> {
        let cpu = cpu_counters(&self.file("cpu", id, "cpu.stat"))?;
        // Pressure is told by the unified hierarchy alone.
        let pressure = |of: &str| last_minute(&self.unified_group(id)?.join(of));
        let (memory_pressure, io_pressure) = (pressure("memory.pressure"), pressure("io.pressure"));
        Some(Counters { oom_kills: self.oom_kills(id), memory_pressure, io_pressure, ..cpu })
    }

    /// See [`super::Cgroups::oom_kills`].
    #[must_use]
    pub fn oom_kills(&self, id: &str) -> u64 {
        read_field(&self.file("memory", id, "memory.oom_control"), "oom_kill")
    }
}

/// Makes a group; the one above it too, for the first container.
fn make_group(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(group),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Whether a group allows listed devices only.
fn lists_devices(group: &Path) -> Result<bool, Failure> {
    let list = group.join("devices.list");
    let mut first = [0];
    let got = fs::File::open(&list).and_then(|mut file| file.read(&mut first));
    got.step(|| format!("read {}", list.display())).map(|got| first[..got] != *b"a")
}

/// Lets a group use the listed devices only; `false` when groups below it keep it from being changed.
fn restrict_devices(group: &Path) -> Result<bool, Failure> {
    let deny = group.join("devices.deny");
    match fs::write(&deny, "a") {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(false),
        other => other.step(|| format!("write a to {}", deny.display()))?,
    }
    let allow = group.join("devices.allow");
    for device in devices::allow_lines() {
        fs::write(&allow, &device).step(|| format!("write {device} to {}", allow.display()))?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn controllers_that_share_a_hierarchy_share_a_group() {
        let found = Hierarchies::from_mounts(HYBRID, Path::new("roost"));
        assert!(found.has("cpu") && found.has("memory") && !found.has("pids"));
        let groups = found.groups("x");
        assert_eq!(
            groups,
            [
                PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/roost/instances/x"),
                PathBuf::from("/sys/fs/cgroup/memory/roost/instances/x"),
                PathBuf::from("/sys/fs/cgroup/unified/roost/instances/x"),
            ]
        );
    }

    #[test]
    fn what_is_shared_or_counted_by_the_unified_hierarchy_has_no_group_of_its_own() {
        let apart = "\
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 30 0:28 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
33 30 0:29 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
";
        let unified = "34 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let below = |point: &str| PathBuf::from(format!("/sys/fs/cgroup/{point}/roost/instances/x"));
        let found = Hierarchies::from_mounts(&format!("{apart}{unified}"), Path::new("roost"));
        assert_eq!(found.groups("x"), ["cpu", "unified"].map(below));
        assert_eq!(found.further_groups("x").collect::<Vec<_>>(), ["cpuacct", "devices"].map(below));
        assert_eq!(found.file("devices", "", "tasks"), Path::new("/sys/fs/cgroup/devices/roost/instances/tasks"));
        let old = Hierarchies::from_mounts(apart, Path::new("roost"));
        assert_eq!(old.groups("x"), ["cpu", "cpuacct"].map(below));
        let hybrid = Hierarchies::from_mounts(HYBRID, Path::new("roost"));
        assert_eq!(hybrid.further_groups("x").count(), 0, "a hierarchy that is used is no earlier one");
    }

    #[test]
    fn what_shows_a_part_of_a_hierarchy_elsewhere_changes_nothing() {
        let views = "36 30 0:28 /x /run/x/memory rw - cgroup cgroup rw,memory\n37 30 0:30 /x /run/x/all rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::from_mounts(&format!("{HYBRID}{views}"), Path::new("roost"));
        let alone = Hierarchies::from_mounts(HYBRID, Path::new("roost"));
        assert_eq!(found.groups("x"), alone.groups("x"));
    }

    #[test]
    fn the_freezer_is_used_only_without_a_unified_hierarchy() {
        let freezer = "35 30 0:31 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n";
        let hybrid = Hierarchies::from_mounts(&format!("{HYBRID}{freezer}"), Path::new("roost"));
        assert!(hybrid.freezer_group("x").is_none() && hybrid.unified_group("x").is_some());
        let old: String =
            HYBRID.lines().filter(|line| !line.contains("cgroup2")).map(|line| format!("{line}\n")).collect();
        let old = Hierarchies::from_mounts(&format!("{old}{freezer}"), Path::new("roost"));
        assert_eq!(old.freezer_group("x"), Some(PathBuf::from("/sys/fs/cgroup/freezer/roost/instances/x")));
    }

    #[test]
    fn a_unified_hierarchy_alone_has_no_version_1_controllers() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        assert!(!Hierarchies::from_mounts(mounts, Path::new("roost")).has_controllers());
    }
}
