//! A container's root: its writable layer over the shared image, both seen through the container's id mapping, so that
//! nothing is unpacked and nothing is chowned.
//!
//! The keeper maps the ids, which takes the board's root; the container's first process mounts the overlay, so that
//! overlayfs acts with the rights of the container's root and no more. Files in the writable layer are stored with the
//! ids that the container sees (its root is 0): the layer can move to a board with another id range as it is, and its
//! directory must be closed to everybody but the board's root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
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

/// Where a container's first process attaches its layers, each in its own mount namespace: one directory for all, made
/// by the keeper.
#[derive(Clone, Debug)]
pub struct Stage(PathBuf);

impl Stage {
    /// Makes the directories.
    ///
    /// # Errors
    /// The step that failed.
    pub fn make(path: PathBuf) -> Result<Self, Failure> {
        for name in ["lower", "writable", "root"] {
            let directory = path.join(name);
            std::fs::create_dir_all(&directory).step(|| format!("make {}", directory.display()))?;
        }
        Ok(Self(path))
    }

    /// Goes there. To be called with the board's ids, which may enter the way there.
    ///
    /// # Errors
    /// The step that failed.
    pub fn enter(&self) -> Result<(), Failure> {
        rustix::process::chdir(&self.0).step(|| format!("go to {}", self.0.display()))
    }
}

/// Mounts the overlay on the stage, which is the current directory, and returns it, attached. To be called as the container's root.
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
    move_mount(mount, "", CWD, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step(|| format!("attach {name}"))
}
