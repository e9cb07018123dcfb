//! What a container sees besides its root: `/proc`, `/sys`, `/dev`, and what of them is hidden or read-only.
//!
//! Runs in the container's namespaces before anything of the container does. Nothing is looked up by a path that the
//! image could bend: every target is opened below the root's descriptor, symbolic links refused, and mounted onto by
//! that descriptor.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2, symlinkat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, move_mount, open_tree,
};

use super::first_boot;
use super::plan::{DEVICES, MASKED, Plan, Profile, READ_ONLY};
use super::sys::{self, MountChange};
use super::wire::{Context, Failure};

const INERT: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV).union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// Furnishes the root. The host's `/proc` and `/sys` must still be visible: the kernel gives a user namespace new ones
/// only then.
///
/// # Errors
/// The step that failed.
pub fn furnish(root: BorrowedFd<'_>, plan: &Plan) -> Result<(), Failure> {
    attach_new(root, "proc", "proc", &[], INERT)?;
    attach_new(root, "sys", "sysfs", &[], INERT.union(MountAttrFlags::MOUNT_ATTR_RDONLY))?;
    furnish_dev(root)?;
    match plan.profile {
        Profile::App => {}
        Profile::System => attach_new(root, "sys/fs/cgroup", "cgroup2", &[], INERT)?,
    }
    // Lets ping work without CAP_NET_RAW; a kernel without it only lacks that.
    if let Ok(file) = open(root, "proc/sys/net/ipv4/ping_group_range", OFlags::WRONLY) {
        let _ = File::from(file).write_all(b"0 65535");
    }
    for path in MASKED {
        mask(root, path)?;
    }
    for path in READ_ONLY {
        make_read_only(root, path, plan.profile)?;
    }
    for file in &plan.files {
        write_etc(root, file.name, &file.content).step(|| format!("write /etc/{}", file.name))?;
    }
    plan.first_boot.as_ref().map_or(Ok(()), |planned| first_boot::write(root, planned))
}

fn furnish_dev(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
    attach_new(root, "dev", "tmpfs", &[("mode", "755"), ("size", "64k")], attributes)?;
    for name in DEVICES {
        let source = format!("/dev/{name}");
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let device = open_tree(CWD, &source, flags).step(|| format!("copy the mount of {source}"))?;
        let is_device =
            fstat(&device).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice);
        if !is_device {
            return Err(Failure::Unsupported(format!("{source} of this board is not a character device")));
        }
        let change = MountChange { set: u64::from(attributes.bits()), userns: None };
        sys::mount_setattr(device.as_fd(), change).step(|| format!("restrict {source}"))?;
        let path = format!("dev/{name}");
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        openat2(root, &path, flags, Mode::from_raw_mode(0o666), ResolveFlags::IN_ROOT)
            .step(|| format!("make {path}"))?;
        attach(device.as_fd(), root, &path)?;
    }
    for (target, link) in [
        ("pts/ptmx", "dev/ptmx"),
        ("/proc/self/fd", "dev/fd"),
        ("/proc/self/fd/0", "dev/stdin"),
        ("/proc/self/fd/1", "dev/stdout"),
        ("/proc/self/fd/2", "dev/stderr"),
    ] {
        symlinkat(target, root, link).step(|| format!("link {link}"))?;
    }
    let terminals = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5"), ("max", "64")];
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
    attach_new(root, "dev/pts", "devpts", &terminals[1..], attributes)?;
    attach_new(root, "dev/mqueue", "mqueue", &[], INERT)?;
    attach_new(root, "dev/shm", "tmpfs", &[("mode", "1777")], INERT)
}

/// Hides a file behind the container's own `/dev/null`, a directory behind an empty one.
fn mask(root: BorrowedFd<'_>, path: &str) -> Result<(), Failure> {
    let Some(target) = open_existing(root, path)? else { return Ok(()) };
    let is_directory = fstat(&target).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    let cover = if is_directory {
        let attributes = INERT.union(MountAttrFlags::MOUNT_ATTR_RDONLY);
        new_mount("tmpfs", &[("mode", "555"), ("size", "0")], attributes)?
    } else {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(root, "dev/null", flags).step(|| "copy the mount of dev/null")?
    };
    attach_onto(cover.as_fd(), target.as_fd(), path)
}

fn make_read_only(root: BorrowedFd<'_>, path: &str, profile: Profile) -> Result<(), Failure> {
    let Some(target) = open_existing(root, path)? else { return Ok(()) };
    // The sysctls of a network namespace belong to its owner: an init configures them.
    let kept = (path == "proc/sys" && profile == Profile::System).then(|| copy(root, "proc/sys/net")).transpose()?;
    let cover = copy(root, path)?;
    let change = MountChange { set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()), userns: None };
    sys::mount_setattr(cover.as_fd(), change).step(|| format!("make {path} read-only"))?;
    attach_onto(cover.as_fd(), target.as_fd(), path)?;
    kept.map_or(Ok(()), |net| attach(net.as_fd(), root, "proc/sys/net"))
}

fn copy(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Failure> {
    open_tree(root, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .step(|| format!("copy the mount of {path}"))
}

fn new_mount(kind: &str, settings: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd, Failure> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).step(|| format!("open the file system {kind}"))?;
    for (key, value) in settings {
        fsconfig_set_string(context.as_fd(), *key, *value).step(|| format!("set {key} of {kind} to {value}"))?;
    }
    fsconfig_create(context.as_fd()).step(|| format!("make the file system {kind}"))?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).step(|| format!("make a mount of {kind}"))
}

/// Mounts a new file system on a directory that is made where the image lacks it.
fn attach_new(
    root: BorrowedFd<'_>,
    path: &str,
    kind: &str,
    settings: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<(), Failure> {
    match mkdirat(root, path, Mode::from_raw_mode(0o755)) {
        // A parent that is a read-only file system of the kernel's own has the directory already.
        Ok(()) | Err(Errno::EXIST | Errno::ROFS | Errno::PERM) => {}
        Err(error) => return Err(Failure::step(format!("make the directory {path}"), &error.into())),
    }
    let mount = new_mount(kind, settings, attributes)?;
    attach(mount.as_fd(), root, path)
}

fn attach(mount: BorrowedFd<'_>, root: BorrowedFd<'_>, path: &str) -> Result<(), Failure> {
    let target = open(root, path, OFlags::PATH).step(|| format!("open {path} of the container"))?;
    attach_onto(mount, target.as_fd(), path)
}

fn attach_onto(mount: BorrowedFd<'_>, target: BorrowedFd<'_>, path: &str) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags).step(|| format!("mount onto {path} of the container"))
}

fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    Ok(openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

fn open_existing(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Failure> {
    match open(root, path, OFlags::PATH) {
        Ok(target) => Ok(Some(target)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::step(format!("open {path} of the container"), &error)),
    }
}

/// Writes a file below `/etc`, following the image's own links inside the root only.
fn write_etc(root: BorrowedFd<'_>, name: &str, content: &str) -> io::Result<()> {
    match mkdirat(root, "etc", Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
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
