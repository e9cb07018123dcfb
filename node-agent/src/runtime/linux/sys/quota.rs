//! Quotas of projects: trees of files that are counted together.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct FileAttributes {
    flags: u32,
    sizes: [u32; 2],
    project: u32,
    rest: [u32; 3],
}

const FS_IOC_FSGETXATTR: u32 = 0x801C_581F;
const FS_IOC_FSSETXATTR: u32 = 0x401C_5820;
/// What is made in a directory belongs to its project.
const FS_XFLAG_PROJINHERIT: u32 = 0x200;

/// The project of quotas that a file or directory belongs to.
///
/// # Errors
/// What the file system says.
pub fn project_of(file: BorrowedFd<'_>) -> io::Result<u32> {
    attributes_of(file).map(|attributes| attributes.project)
}

/// Gives a directory to a project of quotas, and what will be made in it.
///
/// # Errors
/// What the file system says.
pub fn project_set_directory(directory: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    set(directory, project, FS_XFLAG_PROJINHERIT)
}

/// Gives a file to a project of quotas.
///
/// # Errors
/// What the file system says.
pub fn project_set_file(file: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    set(file, project, 0)
}

fn attributes_of(file: BorrowedFd<'_>) -> io::Result<FileAttributes> {
    let mut attributes = FileAttributes::default();
    // SAFETY: the request encodes the size of `attributes`, which outlives the call.
    check(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FSGETXATTR as _, &raw mut attributes) }.into())?;
    Ok(attributes)
}

/// ext4 refuses a file a flag of directories.
fn set(file: BorrowedFd<'_>, project: u32, flags: u32) -> io::Result<()> {
    let mut attributes = attributes_of(file)?;
    attributes.project = project;
    attributes.flags |= flags;
    // SAFETY: the request encodes the size of `attributes`, which outlives the call.
    check(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FSSETXATTR as _, &raw const attributes) }.into())
}

/// `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Quota {
    /// In blocks of 1 KiB.
    hard: u64,
    soft: u64,
    /// In bytes.
    used: u64,
    inodes: [u64; 3],
    times: [u64; 2],
    valid: u32,
    unused: u32,
}

/// `quotactl_fd`, the same number on every machine.
const SYS_QUOTACTL_FD: libc::c_long = 443;
const Q_GETQUOTA: u32 = 0x80_0007;
const Q_SETQUOTA: u32 = 0x80_0008;
const PROJECT_QUOTA: u32 = 2;
/// Only the limits of blocks are given.
const QIF_BLIMITS: u32 = 1;

/// Limits what the files of a project may take on the file system of `on`.
///
/// # Errors
/// `ESRCH` or `ENOTTY` and the like where it has no such quotas, `ENOSYS` before kernel 5.14.
pub fn quota_set(on: BorrowedFd<'_>, project: u32, bytes: u64) -> io::Result<()> {
    let blocks = bytes.div_ceil(1024);
    let quota = Quota { hard: blocks, soft: blocks, valid: QIF_BLIMITS, ..Quota::default() };
    // SAFETY: Q_SETQUOTA reads `quota`, which outlives the call.
    check(unsafe {
        libc::syscall(SYS_QUOTACTL_FD, on.as_raw_fd(), Q_SETQUOTA << 8 | PROJECT_QUOTA, project, &raw const quota)
    })
}

/// What the files of a project take on the file system of `on`, in bytes.
///
/// # Errors
/// As [`quota_set`].
pub fn quota_of(on: BorrowedFd<'_>, project: u32) -> io::Result<u64> {
    let mut quota = Quota::default();
    // SAFETY: Q_GETQUOTA writes `quota`, which outlives the call.
    check(unsafe {
        libc::syscall(SYS_QUOTACTL_FD, on.as_raw_fd(), Q_GETQUOTA << 8 | PROJECT_QUOTA, project, &raw mut quota)
    })?;
    Ok(quota.used)
}
