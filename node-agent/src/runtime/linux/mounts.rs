//! What a container sees besides its root: `/proc`, `/sys`, `/dev`, and what of them is hidden or read-only.
//!
//! Runs in the container's namespaces before anything of the container does. Nothing is looked up by a path that the
//! image could bend: the places of the image are opened below the root's descriptor, symbolic links refused, and
//! everything deeper is looked up in file systems of the kernel's that were made a moment ago.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, openat2, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount_remount, move_mount, open_tree,
};

use super::facilities::{Facilities, Facility};
use super::first_boot;
use super::plan::{Hidden, MASKED, Plan, Profile, READ_ONLY};
use super::sys::{self, MountChange};
use super::wire::{Context, Failure};

const INERT: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV).union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// Furnishes the root. The host's `/proc` and `/sys` must still be visible: the kernel gives a user namespace new ones
/// only then.
///
/// # Errors
/// The step that failed.
pub fn furnish(root: BorrowedFd<'_>, dev: BorrowedFd<'_>, plan: &Plan, facilities: &Facilities) -> Result<(), Failure> {
    let proc = attach_new(root, "proc", "proc", &[], INERT)?;
    let sys = attach_new(root, "sys", "sysfs", &[], INERT.union(MountAttrFlags::MOUNT_ATTR_RDONLY))?;
    furnish_dev(root, dev)?;
    match plan.profile {
        Profile::App => {}
        Profile::System => {
            attach_new(sys.as_fd(), "fs/cgroup", "cgroup2", &[], INERT)?;
        }
    }
    // Lets ping work without CAP_NET_RAW; a kernel without it only lacks that.
    if let Ok(file) = open(proc.as_fd(), "sys/net/ipv4/ping_group_range", OFlags::WRONLY) {
        let _ = File::from(file).write_all(b"0 65535");
    }
    mask_all(proc.as_fd(), sys.as_fd(), dev)?;
    for path in READ_ONLY {
        make_read_only(proc.as_fd(), path, plan.profile, facilities)?;
    }
    make_directory(root, "etc")?;
    for file in &plan.files {
        write_etc(root, file.name, &file.content).step(|| format!("write /etc/{}", file.name))?;
    }
    plan.first_boot.as_ref().map_or(Ok(()), |planned| first_boot::write(root, planned))
}

fn furnish_dev(root: BorrowedFd<'_>, dev: BorrowedFd<'_>) -> Result<(), Failure> {
    make_directory(root, "dev")?;
    attach(dev, root, "dev")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
    let terminals = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5"), ("max", "64")];
    let made = [
        ("pts", new_mount("devpts", &terminals, attributes)?),
        ("mqueue", new_mount("mqueue", &[], INERT)?),
        ("shm", new_mount("tmpfs", &[("mode", "1777")], INERT)?),
    ];
    for (place, mount) in made {
        attach_below(mount.as_fd(), dev, place).step(|| format!("mount onto dev/{place}"))?;
    }
    Ok(())
}

/// Hides files behind the container's own `/dev/null` and directories behind an empty one.
fn mask_all(proc: BorrowedFd<'_>, sys: BorrowedFd<'_>, dev: BorrowedFd<'_>) -> Result<(), Failure> {
    let mut covers = Covers { dev, file: None, directory: None, attached: None };
    for (base, path, hidden) in MASKED {
        let below = if base == "proc" { proc } else { sys };
        let cover = covers.take(hidden)?;
        match attach_below(cover.as_fd(), below, path) {
            Ok(()) => covers.used(hidden, cover),
            Err(error) if error.kind() == io::ErrorKind::NotFound => covers.put_back(hidden, cover),
            Err(error) => return Err(Failure::step(format!("hide {base}/{path}"), &error)),
        }
    }
    Ok(())
}

/// What hides things: mounts not attached anywhere yet, and where copies of them come from.
struct Covers<'a> {
    dev: BorrowedFd<'a>,
    file: Option<OwnedFd>,
    directory: Option<OwnedFd>,
    /// The empty directory once it hides something: only then it can be copied.
    attached: Option<OwnedFd>,
}

impl Covers<'_> {
    fn take(&mut self, hidden: Hidden) -> Result<OwnedFd, Failure> {
        match hidden {
            Hidden::File => self.file.take().map_or_else(|| copy(self.dev, "null"), Ok),
            Hidden::Directory => match (self.directory.take(), &self.attached) {
                (Some(unused), _) => Ok(unused),
                (None, Some(attached)) => copy(attached.as_fd(), ""),
                (None, None) => {
                    let attributes = INERT | MountAttrFlags::MOUNT_ATTR_RDONLY;
                    new_mount("tmpfs", &[("mode", "555"), ("size", "0")], attributes)
                }
            },
        }
    }

    fn put_back(&mut self, hidden: Hidden, unused: OwnedFd) {
        match hidden {
            Hidden::File => self.file = Some(unused),
            Hidden::Directory => self.directory = Some(unused),
        }
    }

    fn used(&mut self, hidden: Hidden, attached: OwnedFd) {
        if hidden == Hidden::Directory {
            self.attached.get_or_insert(attached);
        }
    }
}

fn make_read_only(proc: BorrowedFd<'_>, path: &str, profile: Profile, facilities: &Facilities) -> Result<(), Failure> {
    let cover = match open_tree(proc, path, CLONE) {
        Ok(cover) => cover,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(Failure::step(format!("copy the mount of proc/{path}"), &error.into())),
    };
    // The sysctls of a network namespace belong to its owner: an init configures them.
    let kept = (path == "sys" && profile == Profile::System).then(|| copy(proc, "sys/net")).transpose()?;
    attach_below(cover.as_fd(), proc, path).step(|| format!("mount onto proc/{path}"))?;
    set_read_only(cover.as_fd(), facilities).step(|| format!("make proc/{path} read-only"))?;
    match kept {
        Some(net) => attach_below(net.as_fd(), proc, "sys/net").step(|| "mount onto proc/sys/net"),
        None => Ok(()),
    }
}

/// Nothing of the container runs yet, so it does not matter that it can be written for a moment.
fn set_read_only(mount: BorrowedFd<'_>, facilities: &Facilities) -> io::Result<()> {
    if facilities.has(Facility::MountSetattr) {
        let change = MountChange { set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()), userns: None };
        return sys::mount_setattr(mount, change);
    }
    // Names all flags that it is to have; the host's /proc is still there, and leads to the mount itself.
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount_remount(format!("/proc/self/fd/{}", mount.as_raw_fd()), flags, "")?)
}

const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

/// A copy of a mount, or of a part of it. An empty path stands for `below` itself.
fn copy(below: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Failure> {
    open_tree(below, path, CLONE | OpenTreeFlags::AT_EMPTY_PATH).step(|| format!("copy the mount of {path}"))
}

/// Makes a file system of the kernel's own, attached nowhere yet.
///
/// # Errors
/// The step that failed.
pub fn new_mount(kind: &str, settings: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd, Failure> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).step(|| format!("open the file system {kind}"))?;
    for (key, value) in settings {
        fsconfig_set_string(context.as_fd(), *key, *value).step(|| format!("set {key} of {kind} to {value}"))?;
    }
    fsconfig_create(context.as_fd()).step(|| format!("make the file system {kind}"))?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).step(|| format!("make a mount of {kind}"))
}

/// Mounts a new file system on a directory of the root, which is made where the image lacks it.
fn attach_new(
    root: BorrowedFd<'_>,
    path: &str,
    kind: &str,
    settings: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    make_directory(root, path)?;
    let mount = new_mount(kind, settings, attributes)?;
    attach(mount.as_fd(), root, path)?;
    Ok(mount)
}

fn make_directory(root: BorrowedFd<'_>, path: &str) -> Result<(), Failure> {
    match mkdirat(root, path, Mode::from_raw_mode(0o755)) {
        // A parent that is a read-only file system of the kernel's own has the directory already.
        Ok(()) | Err(Errno::EXIST | Errno::ROFS | Errno::PERM) => Ok(()),
        Err(error) => Err(Failure::step(format!("make the directory {path}"), &error.into())),
    }
}

/// Mounts onto a place that the image has a say in.
fn attach(mount: BorrowedFd<'_>, root: BorrowedFd<'_>, path: &str) -> Result<(), Failure> {
    let target = open(root, path, OFlags::PATH).step(|| format!("open {path} of the container"))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags).step(|| format!("mount onto {path} of the container"))
}

/// Mounts onto a place of a file system that only we have written to.
fn attach_below(mount: BorrowedFd<'_>, below: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    Ok(move_mount(mount, "", below, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    Ok(openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Writes a file below `/etc`, following the image's own links inside the root only.
fn write_etc(root: BorrowedFd<'_>, name: &str, content: &str) -> io::Result<()> {
    write_file(root, &format!("etc/{name}"), content.as_bytes(), Mode::from_raw_mode(0o644)).map(drop)
}

/// Writes a file of the container, following its own links inside the root only; `mode` is that of a new one. A link that
/// leads nowhere, a FIFO or the like is replaced by a plain file.
///
/// # Errors
/// What opening or writing it says.
pub fn write_file(root: BorrowedFd<'_>, path: &str, content: &[u8], mode: Mode) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat2(root, path, flags, mode, ResolveFlags::IN_ROOT).or_else(|_| {
        unlinkat(root, path, AtFlags::empty())?;
        openat2(root, path, flags | OFlags::EXCL, mode, ResolveFlags::IN_ROOT)
    })?;
    let mut file = File::from(file);
    file.write_all(content)?;
    Ok(file)
}
