//! A container's root: its writable layer over the shared image, so that nothing is unpacked.
//!
//! Three ways to make the owners of both the container's, by what the kernel has:
//!
//! | kernel | image | layer is stored | overlay is mounted by |
//! |---|---|---|---|
//! | maps ids | id-mapped | as the container sees it | the container's first process |
//! | does not (before 5.19) | under a shell ([`super::shells`]) | in the form of its range | the container's first process |
//! | before 5.11 | under a shell | in the form of its range | the keeper |
//!
//! The keeper prepares the layers, which takes the board's root; mounted by the container's first process, overlayfs acts
//! with the rights of the container's root and no more. A layer's directory must be closed to everybody but the board's root
//! (and, on the way to a layer of its own range, the container's).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use rustix::thread::CapabilitySet;

use super::caps;
use super::plan::Profile;
use super::sys::{self, MountChange};
use super::wire::{Context, Failure};

/// The layers of a root, attached nowhere.
pub struct Layers {
    /// The image.
    pub lower: OwnedFd,
    /// The directory that holds `upper` and `work`.
    pub writable: OwnedFd,
}

/// A root as the keeper hands it to the container's first process.
pub enum Root {
    /// To be mounted by it.
    Layers(Layers),
    /// Mounted.
    Whole(OwnedFd),
}

/// Maps the ids of a container's layers. `image` is a private copy of the image's mount, `directory` holds `upper` and
/// `work`.
///
/// # Errors
/// The step that failed.
pub fn map_layers(image: OwnedFd, directory: &Path, userns: BorrowedFd<'_>) -> Result<Layers, Failure> {
    let mapped = MountChange { set: 0, userns: Some(userns) };
    sys::mount_setattr(image.as_fd(), mapped).step(|| "map the ids of the image")?;
    let writable = copy_of(directory)?;
    sys::mount_setattr(writable.as_fd(), mapped).step(|| format!("map the ids of {}", directory.display()))?;
    Ok(Layers { lower: image, writable })
}

/// The layers of a container whose files have its own ids already: the image, mounted at `image`, under its `shell`.
///
/// # Errors
/// The step that failed.
pub fn shelled_layers(image: &Path, shell: &Path, directory: &Path) -> Result<Layers, Failure> {
    let (above, below) = (place(shell)?, place(image)?);
    let lower = format!("{}:{}", by_descriptor(&above), by_descriptor(&below));
    // Only a shell's own marks are followed: what an overlay of a container's says, this one never sees.
    let settings = [("lowerdir", lower.as_str()), ("metacopy", "on"), ("redirect_dir", "on")];
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let lower = mount(&settings, &["ro"], attributes)?;
    Ok(Layers { lower, writable: copy_of(directory)? })
}

/// Mounts the overlay for a container whose own root cannot. To be called by the keeper; `directory` holds `upper` and
/// `work`.
///
/// # Errors
/// The step that failed.
pub fn assemble_for(lower: OwnedFd, directory: &Path, stage: &Stage, profile: Profile) -> Result<OwnedFd, Failure> {
    let point = stage.0.join("lower");
    move_mount(lower.as_fd(), "", CWD, &point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step(|| format!("attach the image to {}", point.display()))?;
    let mounted = place(&point).and_then(|image| {
        let directory = place(directory)?;
        let (image, layer) = (by_descriptor(&image), by_descriptor(&directory));
        let [upper, work] = ["upper", "work"].map(|name| format!("{layer}/{name}"));
        let settings = [("lowerdir", image.as_str()), ("upperdir", &upper), ("workdir", &work)];
        // Overlayfs acts with the rights that its mounter has now: without this one it is bound by quotas.
        caps::without(CapabilitySet::SYS_RESOURCE, || mount(&settings, &[], attributes_of(profile)))
    });
    // The overlay holds its own copy.
    unmount(&point, UnmountFlags::DETACH).step(|| format!("let go of {}", point.display()))?;
    mounted
}

fn copy_of(directory: &Path) -> Result<OwnedFd, Failure> {
    open_tree(CWD, directory, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .step(|| format!("copy the mount of {}", directory.display()))
}

fn place(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).step(|| format!("open {}", path.display()))
}

/// A path without anything that overlayfs would take apart.
fn by_descriptor(place: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", place.as_raw_fd())
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

/// Attaches a root that the keeper has mounted to the stage, which is the current directory.
///
/// # Errors
/// The step that failed.
pub fn take_over(root: OwnedFd) -> Result<OwnedFd, Failure> {
    attach(root.as_fd(), "root")?;
    Ok(root)
}

/// Mounts the overlay on the stage, which is the current directory, and returns it, attached. To be called as the container's root.
///
/// # Errors
/// The step that failed.
pub fn assemble(layers: &Layers, profile: Profile) -> Result<OwnedFd, Failure> {
    attach(layers.lower.as_fd(), "lower")?;
    attach(layers.writable.as_fd(), "writable")?;
    let settings = [("lowerdir", "lower"), ("upperdir", "writable/upper"), ("workdir", "writable/work")];
    // The container's root may not write `trusted` attributes.
    take_over(mount(&settings, &["userxattr"], attributes_of(profile))?)
}

fn mount(settings: &[(&str, &str)], flags: &[&str], attributes: MountAttrFlags) -> Result<OwnedFd, Failure> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).step(|| "open the file system overlay")?;
    for (key, value) in [("source", "roost")].iter().chain(settings) {
        fsconfig_set_string(context.as_fd(), *key, *value).step(|| format!("set {key} of the overlay to {value}"))?;
    }
    for flag in flags {
        fsconfig_set_flag(context.as_fd(), *flag).step(|| format!("set {flag} of the overlay"))?;
    }
    fsconfig_create(context.as_fd()).step(|| "mount the overlay")?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).step(|| "make a mount of the overlay")
}

fn attributes_of(profile: Profile) -> MountAttrFlags {
    match profile {
        Profile::App => MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID,
        Profile::System => MountAttrFlags::MOUNT_ATTR_NODEV,
    }
}

fn attach(mount: BorrowedFd<'_>, name: &str) -> Result<(), Failure> {
    move_mount(mount, "", CWD, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step(|| format!("attach {name}"))
}
