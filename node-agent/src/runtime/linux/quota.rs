//! How much disk a container's writable layer may take: a project quota of the file system below it, under a number that no
//! other container of the node has: that of its first host id, unless it shares its ids.
//!
//! Needs ext4, xfs or f2fs mounted with `prjquota`; where there is none the limit is not in force, the node's features
//! say so, and instances that asked for a limit are not placed there. The board's own root is not bound by a quota, so a
//! full layer cannot keep the keeper from writing its state.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use super::sys;
use super::wire::{Context, Failure};

/// What of an instance's directory counts.
const COUNTED: [&str; 2] = ["upper", "work"];

/// Limits what an instance's layer takes; `false` where the file system has no project quotas.
///
/// # Errors
/// The step that failed.
pub fn limit(instance: &Path, project: u32, bytes: u64) -> Result<bool, Failure> {
    let directory = File::open(instance).step(|| format!("open {}", instance.display()))?;
    match sys::quota_set(directory.as_fd(), project, bytes) {
        Ok(()) => {}
        Err(error) if is_missing(&error) => return Ok(false),
        Err(error) => return Err(Failure::step(format!("limit the disk of {}", instance.display()), &error)),
    }
    for name in COUNTED {
        let path = instance.join(name);
        let top = openat(CWD, &path, DIRECTORY, Mode::empty()).step(|| format!("open {}", path.display()))?;
        count(&top, project).step(|| format!("count {}", path.display()))?;
    }
    Ok(true)
}

/// Whether the file system of a directory has project quotas in force.
#[must_use]
pub fn is_supported(directory: &Path) -> bool {
    File::open(directory).is_ok_and(|directory| sys::quota_of(directory.as_fd(), 0).is_ok())
}

/// No such file system, no such quota in force, or a kernel before 5.14.
fn is_missing(error: &io::Error) -> bool {
    [libc::ENOTTY, libc::EOPNOTSUPP, libc::ESRCH, libc::ENOSYS, libc::EINVAL, libc::ENOTBLK]
        .contains(&error.raw_os_error().unwrap_or(0))
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Makes a tree count for a project. What is made in it later does by itself; a tree that was brought from elsewhere is
/// walked once, by descriptors, since a container may have written it. A directory comes after what is in it: one that
/// counts has been walked to its end.
fn count(directory: &OwnedFd, project: u32) -> io::Result<()> {
    if sys::project_of(directory.as_fd())? == project {
        return Ok(());
    }
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if [c".", c".."].contains(&entry.file_name()) {
            continue;
        }
        match entry.file_type() {
            FileType::Directory => count(&openat(directory, entry.file_name(), DIRECTORY, Mode::empty())?, project)?,
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                match openat(directory, entry.file_name(), flags, Mode::empty()) {
                    Ok(file) => sys::project_set_file(file.as_fd(), project)?,
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            // They take no room worth counting, and cannot be opened without side effects.
            _ => {}
        }
    }
    sys::project_set_directory(directory.as_fd(), project)
}
