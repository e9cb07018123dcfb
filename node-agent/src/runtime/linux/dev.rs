//! A container's `/dev`: a small file system of its own with the few devices it may use and nothing of the image's.
//!
//! The keeper makes it with the board's rights, because device nodes cannot be made in a user namespace, and gives
//! everything in it to the container's root. What the container mounts there itself (terminals, shared memory, message
//! queues) is only given a place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, chownat, makedev, mkdirat, mknodat, symlinkat};
use rustix::mount::MountAttrFlags;

use super::mounts;
use super::wire::{Context, Failure};

/// Memory devices and the process's own terminal: name and minor number; the major is 1, of `tty` 5.
pub const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
/// Places for what the container mounts.
const DIRECTORIES: [&str; 3] = ["pts", "mqueue", "shm"];
/// Names that programs expect, and where they lead.
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes the `/dev` of a container whose root is the host's user `owner`; attached nowhere yet.
///
/// # Errors
/// The step that failed.
pub fn make(owner: u32) -> Result<OwnedFd, Failure> {
    let id = owner.to_string();
    let settings = [("mode", "755"), ("size", "64k"), ("uid", &id), ("gid", &id)];
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
    let dev = mounts::new_mount("tmpfs", &settings, attributes)?;
    fill(dev.as_fd(), owner)?;
    Ok(dev)
}

fn fill(dev: BorrowedFd<'_>, owner: u32) -> Result<(), Failure> {
    for (name, major, minor) in DEVICES {
        let mode = Mode::from_raw_mode(0o666);
        mknodat(dev, name, FileType::CharacterDevice, mode, makedev(major, minor))
            .step(|| format!("make the device {name}"))?;
        // The keeper's umask took bits of the mode away.
        rustix::fs::chmodat(dev, name, mode, AtFlags::empty()).step(|| format!("open the device {name} to all"))?;
        give(dev, name, owner)?;
    }
    for name in DIRECTORIES {
        mkdirat(dev, name, Mode::from_raw_mode(0o755)).step(|| format!("make /dev/{name}"))?;
        give(dev, name, owner)?;
    }
    for (name, target) in LINKS {
        symlinkat(target, dev, name).step(|| format!("link /dev/{name}"))?;
        give(dev, name, owner)?;
    }
    Ok(())
}

fn give(dev: BorrowedFd<'_>, name: &str, owner: u32) -> Result<(), Failure> {
    let (user, group) = (Uid::from_raw(owner), Gid::from_raw(owner));
    chownat(dev, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
        .step(|| format!("give /dev/{name} to {owner}"))
}
