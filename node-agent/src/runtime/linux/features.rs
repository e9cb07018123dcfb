//! What this board's kernel can do for containers, looked for and never assumed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use roost_types::node::{CgroupMode, Feature};

use super::cgroup::{self, Cgroups, Optional, disk::Disk};
use super::facilities::{Facilities, Facility, at_least};
use super::netlink::Netlink;
use super::quota;
use super::wire::Context;

/// Which cgroup hierarchies carry the limits.
#[must_use]
pub fn cgroup_mode() -> CgroupMode {
    Cgroups::detect(Path::new("roost")).map_or(CgroupMode::V2, |found| found.mode())
}

/// Every feature that Roost uses, with advice where one is missing: what it costs and what to do. Containers will lie in
/// `state`.
#[must_use]
pub fn probe(state: &Path, masked: &BTreeSet<Facility>) -> Vec<Feature> {
    let facilities = Facilities::detect(masked);
    let has = |facility: Facility, advice: &str| {
        let advice =
            if masked.contains(&facility) { format!("masked by --without; {advice}") } else { advice.to_owned() };
        feature(facility.name(), facilities.has(facility), &advice)
    };
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let groups = Cgroups::detect(Path::new("roost")).ok().map(|groups| groups.on_disk(Disk::below(state)));
    let controller = |name: &str| match &groups {
        Some(Cgroups::V1(found)) => found.has(name),
        Some(Cgroups::V2(found)) => found.has(name),
        None => false,
    };
    let optional = |name: &str, limit: Optional| {
        let lack = groups.as_ref().map_or_else(|| Some(cgroup::missing("memory")), |groups| groups.lacks(limit));
        feature(name, lack.is_none(), &lack.unwrap_or_default())
    };
    let module = |name: &str| has_filesystem(&filesystems, name) || has_module(release.trim(), name);
    vec![
        feature("cgroup", groups.is_some(), "mount a cgroup hierarchy below /sys/fs/cgroup"),
        feature("memory_limit", controller("memory"), &cgroup::missing("memory")),
        feature("pids_limit", controller("pids"), &cgroup::missing("pids")),
        feature("cpu_limit", controller("cpu"), &cgroup::missing("cpu")),
        feature("cpu_weight", controller("cpu"), &cgroup::missing("cpu")),
        optional("memory_high", Optional::MemoryHigh),
        optional("swap_limit", Optional::Swap),
        optional("io_limit", Optional::Io),
        optional("io_weight", Optional::IoShare),
        feature(
            "device_policy",
            groups.as_ref().is_some_and(Cgroups::limits_devices),
            "use a kernel with CONFIG_CGROUP_DEVICE (cgroups v1) or CONFIG_CGROUP_BPF (v2): without, the user namespace \
             and nodev mounts keep devices out alone",
        ),
        feature(
            "disk_limit",
            quota::is_supported(state),
            "use kernel 5.14 or newer and put the agent's state on ext4 made with 'tune2fs -O project,quota' and mounted \
             with 'prjquota', or on xfs mounted with 'prjquota': without, disk limits are not enforced",
        ),
        feature("user_namespaces", Path::new("/proc/self/ns/user").exists(), "use a kernel with CONFIG_USER_NS"),
        feature("overlayfs", module("overlay"), "use a kernel with CONFIG_OVERLAY_FS"),
        feature("erofs", module("erofs"), "use a kernel with CONFIG_EROFS_FS, or images in squashfs"),
        feature("squashfs", module("squashfs"), "use a kernel with CONFIG_SQUASHFS, or images in erofs"),
        feature("loop", Path::new("/dev/loop-control").exists(), "load the module 'loop'"),
        has(
            Facility::IdmappedMounts,
            "use kernel 5.19 or newer: without, each image has a shell on the disk for every instance (or project that \
             shares its ids): an inode per file, some MiB and a few seconds at its first start",
        ),
        has(
            Facility::IdmappedSquashfs,
            "use kernel 6.2 or newer, or images in erofs: without, squashfs images have shells as without idmapped_mounts",
        ),
        has(
            Facility::UserOverlay,
            "use kernel 5.11 or newer: without, containers may fill what the file system keeps free for the board's root",
        ),
        has(Facility::MountSetattr, "use kernel 5.12 or newer: without, there are no idmapped_mounts either"),
        feature(
            "seccomp",
            fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").is_ok_and(|text| text.contains("errno")),
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
        feature(
            "pressure",
            Path::new("/proc/pressure/memory").exists(),
            "use a kernel with CONFIG_PSI and, where it is off by default, 'psi=1' on its command line",
        ),
        feature(
            "exit_codes_without_keeper",
            at_least(release.trim(), (6, 15)),
            "exit codes of containers that end while their keeper is being replaced are shown as -1; kernel 6.15 keeps them",
        ),
        // Not the kernel's doing: an agent of an earlier release would run everything as root.
        feature("run_as", true, ""),
        feature("ksm", Path::new("/sys/kernel/mm/ksm/run").exists(), "use a kernel with CONFIG_KSM to share memory"),
    ]
}

/// Whether instances can be put on the LAN of this interface, if one is named.
#[must_use]
pub fn lan_feature(interface: Option<&str>) -> Feature {
    let advice = match interface {
        None => Some("start the agent with --lan-interface to put instances on the board's LAN".to_owned()),
        Some(name) if Netlink::open().and_then(|netlink| netlink.index_of(name).step(|| "find it")).is_err() => {
            Some(format!("there is no interface {name}: name another with --lan-interface"))
        }
        Some(_) => None,
    };
    feature("lan", advice.is_none(), &advice.unwrap_or_default())
}

fn feature(name: &str, supported: bool, advice: &str) -> Feature {
    let advice = if supported { String::new() } else { advice.to_owned() };
    Feature { name: name.to_owned(), supported, advice }
}

fn has_filesystem(filesystems: &str, name: &str) -> bool {
    filesystems.lines().any(|line| line.split_whitespace().last() == Some(name))
}

/// Whether the running kernel could load a file system: its mount loads the module by itself.
fn has_module(release: &str, name: &str) -> bool {
    let list = fs::read_to_string(format!("/lib/modules/{release}/modules.dep")).unwrap_or_default();
    list.lines().any(|line| line.split(':').next().is_some_and(|path| path.contains(&format!("/{name}.ko"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_feature_says_what_to_do_and_a_present_one_nothing() {
        assert!(feature("x", true, "do").advice.is_empty());
        assert_eq!(feature("x", false, "do").advice, "do");
    }
}
