//! A container's control groups. Roost makes them where it likes; a suite looks for them at `cgroupsPath`, so they are
//! shown there too.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags};

const ROOT: &str = "/sys/fs/cgroup";

/// The hierarchies' mount points.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    // Links lead to controllers that share a hierarchy.
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// The groups of a container: hierarchy and directory.
fn groups(parent: &Path, allocation: &str) -> Vec<(PathBuf, PathBuf)> {
    let group = |hierarchy: PathBuf| {
        let directory = hierarchy.join(parent).join("instances").join(allocation);
        directory.is_dir().then_some((hierarchy, directory))
    };
    hierarchies().into_iter().filter_map(group).collect()
}

/// Shows a container's groups at the path that its config asks for.
///
/// # Errors
/// A directory cannot be made or mounted onto.
pub fn show(parent: &Path, allocation: &str, path: &Path) -> Result<()> {
    for (hierarchy, group) in groups(parent, allocation) {
        let place = hierarchy.join(path);
        fs::create_dir_all(&place).with_context(|| format!("make {}", place.display()))?;
        nix::mount::mount(Some(&group), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("show {} at {}", group.display(), place.display()))?;
    }
    Ok(())
}

/// Ends that and removes the directories made for it, as far as they are empty.
pub fn hide(path: &Path) {
    for hierarchy in hierarchies() {
        let place = hierarchy.join(path);
        if nix::mount::umount2(&place, MntFlags::MNT_DETACH).is_err() {
            continue;
        }
        for above in place.ancestors().take_while(|above| *above != hierarchy) {
            if fs::remove_dir(above).is_err() {
                break;
            }
        }
    }
}

/// Every process of a container.
pub fn processes(parent: &Path, allocation: &str) -> Vec<u32> {
    let mut all: Vec<u32> = groups(parent, allocation).iter().flat_map(|(_, group)| processes_below(group)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn processes_below(group: &Path) -> Vec<u32> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let below = below.flat_map(|entry| processes_below(&entry.path()));
    own.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).chain(below).collect()
}

/// Removes a node's groups, which must have become empty.
pub fn remove_parent(parent: &Path) {
    for hierarchy in hierarchies() {
        let directory = hierarchy.join(parent);
        for path in [directory.join("instances"), directory] {
            // The kernel lets go of a group a moment after its last process.
            let _ = (0..100).find(|_| match fs::remove_dir(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(10));
                    false
                }
                _ => true,
            });
        }
    }
}
