//! A container's root: its writable layer over the shared image, both seen through the container's id mapping, so that
//! nothing is unpacked and nothing is chowned.
//!
//! The keeper maps the ids, which takes the board's root; the container's first process mounts the overlay, so that
//! overlayfs acts with the rights of the container's root and no more. Files in the writable layer are stored with the
//! ids that the container sees (its root is 0): the layer can move to a board with another id range as it is, and its
//! directory must be closed to everybody but the board's root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, mkdir};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::plan::Profile;
use super::sys::{self, MountChange};
use super::wire::{Context, Failure};

/// The layers of a root, id-mapped and attached nowhere.
pub struct Layers {
    /// The image.
    pub lower: OwnedFd,
    /// The directory that holds `upper` and `work`.
    pub writable: OwnedFd,
}

/// Maps the ids of a container's layers. `image` is a private copy of the image's mount, `directory` holds `upper` and
/// `work`.
///
/// # Errors
/// The step that failed.
pub fn map_layers(image: OwnedFd, directory: &Path, userns: BorrowedFd<'_>) -> Result<Layers, Failure> {
    let mapped = MountChange { set: 0, userns: Some(userns) };
    sys::mount_setattr(image.as_fd(), mapped).step(|| "map the ids of the image")?;
    let writable = open_tree(CWD, directory, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .step(|| format!("copy the mount of {}", directory.display()))?;
    sys::mount_setattr(writable.as_fd(), mapped).step(|| format!("map the ids of {}", directory.display()))?;
    Ok(Layers { lower: image, writable })
}

/// Mounts a small file system of the container's own on `scratch` and goes there: somewhere to attach layers to that its
/// root may enter. To be called with the board's ids, which may enter the way there.
///
/// # Errors
/// The step that failed.
pub fn enter_scratch(scratch: &Path) -> Result<(), Failure> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).step(|| "open the file system tmpfs")?;
    for (key, value) in [("mode", "755"), ("uid", "0"), ("gid", "0"), ("size", "64k")] {
        fsconfig_set_string(context.as_fd(), key, value).step(|| format!("set {key} of the scratch tmpfs"))?;
    }
    fsconfig_create(context.as_fd()).step(|| "make the scratch tmpfs")?;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)
        .step(|| "make a mount of the scratch tmpfs")?;
    move_mount(mount.as_fd(), "", CWD, scratch, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step(|| format!("attach the scratch tmpfs to {}", scratch.display()))?;
    rustix::process::chdir(scratch).step(|| format!("go to {}", scratch.display()))
}

/// Mounts the overlay below the current directory and returns it, attached. To be called as the container's root.
///
/// # Errors
/// The step that failed.
pub fn assemble(layers: &Layers, profile: Profile) -> Result<OwnedFd, Failure> {
    attach(layers.lower.as_fd(), "lower")?;
    attach(layers.writable.as_fd(), "writable")?;
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).step(|| "open the file system overlay")?;
    let settings =
        [("source", "roost"), ("lowerdir", "lower"), ("upperdir", "writable/upper"), ("workdir", "writable/work")];
    for (key, value) in settings {
        fsconfig_set_string(context.as_fd(), key, value).step(|| format!("set {key} of the overlay to {value}"))?;
    }
    // The container's root may not write `trusted` attributes.
    fsconfig_set_flag(context.as_fd(), "userxattr").step(|| "set userxattr of the overlay")?;
    fsconfig_create(context.as_fd()).step(|| "mount the overlay")?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    if profile == Profile::App {
        attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID;
    }
    let root =
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).step(|| "make a mount of the overlay")?;
    attach(root.as_fd(), "root")?;
    Ok(root)
}

fn attach(mount: BorrowedFd<'_>, name: &str) -> Result<(), Failure> {
    mkdir(name, Mode::from_raw_mode(0o755)).step(|| format!("make the mount point {name}"))?;
    move_mount(mount, "", CWD, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step(|| format!("attach {name}"))
}
