//! Root file system files, each mounted once in the keeper's mount namespace whatever the number of its containers.
//!
//! The loop device is freed by the kernel with the last user of the mount, so a keeper that is killed leaks nothing. A
//! container's overlay keeps its image in use by itself: the table here may forget an image at any time. An image that no
//! container uses stays mounted for [`IDLE_MS`], so that the next start finds its pages in the cache.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use roost_types::AllocationId;
use roost_types::image::{ImageDigest, RootfsFormat};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};

use super::sys;
use super::wire::{Context, Failure};

/// How long an image stays mounted without a container, in milliseconds.
pub const IDLE_MS: i64 = 60_000;
/// How often to try when other processes take the free loop device first.
const LOOP_ATTEMPTS: u32 = 64;

struct Mounted {
    point: PathBuf,
    users: Vec<AllocationId>,
    /// When it is to be unmounted (Unix milliseconds), while nobody uses it.
    unmount_at: Option<i64>,
}

/// The images that are mounted.
pub struct ImageMounts {
    directory: PathBuf,
    mounted: HashMap<ImageDigest, Mounted>,
}

impl ImageMounts {
    /// Mounts below `directory`, in the caller's mount namespace.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, mounted: HashMap::new() }
    }

    /// A private copy of the image's mount, not attached anywhere. Mounts the file when no container uses it yet, and for
    /// a while when it has no `user`.
    ///
    /// # Errors
    /// The step that failed.
    pub fn open(
        &mut self,
        digest: &ImageDigest,
        format: RootfsFormat,
        file: &Path,
        user: Option<AllocationId>,
    ) -> Result<OwnedFd, Failure> {
        if !self.mounted.contains_key(digest) {
            let point = self.directory.join(digest.hex());
            fs::create_dir_all(&point).step(|| format!("make {}", point.display()))?;
            mount_file(file, format, &point)?;
            self.mounted.insert(digest.clone(), Mounted { point, users: Vec::new(), unmount_at: None });
        }
        let mounted = self.mounted.get_mut(digest).expect("inserted above");
        if let Some(user) = user.filter(|user| !mounted.users.contains(user)) {
            mounted.users.push(user);
        }
        mounted.unmount_at = mounted.users.is_empty().then(|| sys::unix_ms().saturating_add(IDLE_MS));
        open_tree(CWD, &mounted.point, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
            .step(|| format!("copy the mount {}", mounted.point.display()))
    }

    /// Where an image is mounted, if it is.
    #[must_use]
    pub fn point(&self, digest: &ImageDigest) -> Option<&Path> {
        self.mounted.get(digest).map(|mounted| mounted.point.as_path())
    }

    /// A container no longer runs: an image that only it used is unmounted in a while.
    pub fn release(&mut self, user: AllocationId, now_ms: i64) {
        for mounted in self.mounted.values_mut() {
            mounted.users.retain(|other| *other != user);
            if mounted.users.is_empty() && mounted.unmount_at.is_none() {
                mounted.unmount_at = Some(now_ms.saturating_add(IDLE_MS));
            }
        }
    }

    /// When the next image is to be unmounted (Unix milliseconds).
    #[must_use]
    pub fn next_unmount(&self) -> Option<i64> {
        self.mounted.values().filter_map(|mounted| mounted.unmount_at).min()
    }

    /// Unmounts the images whose time has come.
    pub fn unmount_idle(&mut self, now_ms: i64) {
        self.mounted.retain(|_, mounted| {
            if mounted.unmount_at.is_none_or(|at| at > now_ms) {
                return true;
            }
            // Detached: overlays that still end hold their own copy, and the kernel frees it with them.
            let _ = unmount(&mounted.point, UnmountFlags::DETACH);
            let _ = fs::remove_dir(&mounted.point);
            false
        });
    }
}

fn mount_file(file: &Path, format: RootfsFormat, point: &Path) -> Result<(), Failure> {
    // Held until the mount has its own reference: AUTOCLEAR frees the device with its last user.
    let (device, _held) = attach_loop(file)?;
    let name = format.as_str();
    let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC).step(|| format!("open the file system {name}"))?;
    let source = device.display().to_string();
    fsconfig_set_string(context.as_fd(), "source", source).step(|| format!("set the source of {name}"))?;
    fsconfig_set_flag(context.as_fd(), "ro").step(|| format!("make {name} read-only"))?;
    fsconfig_create(context.as_fd()).step(|| format!("mount {} as {name}", file.display()))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .step(|| format!("make a mount of {}", file.display()))?;
    move_mount(mount.as_fd(), "", CWD, point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step(|| format!("attach {} to {}", file.display(), point.display()))
}

fn attach_loop(path: &Path) -> Result<(PathBuf, File), Failure> {
    let file = File::open(path).step(|| format!("open the image {}", path.display()))?;
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control");
    let control = control.step(|| "open /dev/loop-control")?;
    let mut attempts = 0;
    loop {
        let number = sys::loop_get_free(control.as_fd()).step(|| "find a free loop device")?;
        let device = PathBuf::from(format!("/dev/loop{number}"));
        let handle = File::open(&device).step(|| format!("open {}", device.display()))?;
        match sys::loop_configure(handle.as_fd(), file.as_fd(), &path.to_string_lossy()) {
            Ok(()) => return Ok((device, handle)),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && attempts < LOOP_ATTEMPTS => attempts += 1,
            Err(error) => {
                return Err(Failure::step(format!("back {} by {}", device.display(), path.display()), &error));
            }
        }
    }
}
