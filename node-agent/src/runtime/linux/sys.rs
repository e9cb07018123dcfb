//! The system calls that no library wraps safely, each as a function that cannot be misused from safe code.
//!
//! The only module of the agent that holds `unsafe`, with its parts below `sys/`. It owns no policy and keeps no state.
#![allow(unsafe_code)]

mod bpf;
mod descriptors;
mod loop_device;
mod quota;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use tokio::io::unix::AsyncFd;

pub use bpf::{BpfInstruction, bpf_attach_device_program, bpf_device_programs, bpf_load_device_program};
pub use descriptors::{close_all_from, close_on_exec_from};
pub use loop_device::{loop_configure, loop_get_free};
pub use quota::{project_of, project_set_directory, project_set_file, quota_of, quota_set};

use super::seccomp::Program;

/// `CLONE_INTO_CGROUP`, which does not fit libc's type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// On which side of [`clone3`] the caller finds itself.
#[derive(Debug)]
pub enum Cloned {
    /// In the new process.
    Child,
    /// In the calling process.
    Parent {
        /// The new process, as the caller's pid namespace numbers it.
        pid: i32,
        /// A handle on it that no other process can ever take over.
        pidfd: OwnedFd,
    },
}

/// Makes a copy of this process in new namespaces (`CLONE_NEW*` or `CLONE_PARENT` in `flags`), born inside `cgroup` (a
/// directory of the unified hierarchy) where given.
///
/// # Errors
/// What `clone3` says.
pub fn clone3(flags: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = libc::clone_args {
        flags: (flags as u64) | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: if flags & libc::CLONE_PARENT == 0 { libc::SIGCHLD as u64 } else { 0 },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and with a null stack this is fork: the child gets its own copy of everything. The keeper
    // has one thread only, so no lock is held in the copy. `args` and `pidfd` outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: CLONE_PIDFD stored a fresh descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid: pid as i32, pidfd })
        }
    }
}

/// Sends any signal, real-time ones included, through a process handle.
///
/// # Errors
/// `ESRCH` when the process is gone; what `pidfd_send_signal` says otherwise.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: plain integers and a null siginfo.
    check(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    })
}

/// `struct pidfd_info`, first version (64 bytes).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `_IOWR(0xFF, 11, struct pidfd_info)` for the 64-byte version.
const PIDFD_GET_INFO: u32 = 0xC040_FF0B;
/// Ask for the exit code.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// The wait status of a process that has been reaped by somebody else; none where the kernel (before 6.15) cannot tell.
#[must_use]
pub fn pidfd_exit_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request encodes the size of `info`, which outlives the call.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    (done == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}

/// What to change of a mount.
#[derive(Clone, Copy, Default, Debug)]
pub struct MountChange<'a> {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// The user namespace to map ids with.
    pub userns: Option<BorrowedFd<'a>>,
}

/// `mount_setattr` on the mount that `mount` stands for.
///
/// # Errors
/// `EINVAL` where the file system cannot be id-mapped.
pub fn mount_setattr(mount: BorrowedFd<'_>, change: MountChange<'_>) -> io::Result<()> {
    let mut attr = libc::mount_attr {
        attr_set: change.set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: change.userns.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    if change.userns.is_some() {
        attr.attr_set |= libc::MOUNT_ATTR_IDMAP;
    }
    // SAFETY: an empty path, and a struct of the size given that outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw mut attr,
            size_of::<libc::mount_attr>(),
        )
    })
}

/// Installs a filter for this process and all it will execute.
///
/// # Errors
/// `EACCES` without `no_new_privs` and without `CAP_SYS_ADMIN`; `EINVAL` where the kernel has no seccomp filters.
pub fn seccomp_install(program: &Program) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.instructions().len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        filter: program.instructions().as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: `Instruction` has the layout of `sock_filter`; the kernel copies the program during the call.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) })
}

/// Duplicates `fd` onto one of the standard descriptors 0, 1, 2.
///
/// # Errors
/// What `dup2` says.
pub fn dup_onto(fd: impl AsFd, standard: u8) -> io::Result<()> {
    assert!(standard <= 2, "only the standard descriptors");
    // SAFETY: the standard descriptors have no owner in safe Rust.
    check(unsafe { libc::dup2(fd.as_fd().as_raw_fd(), i32::from(standard)) }.into())
}

/// Gives memory that was freed back to the kernel, where the C library can.
pub fn return_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches the allocator's own bookkeeping only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Ends this process at once, without running destructors or flushing buffers that belong to the process it was forked
/// from.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// Blocks every signal in this thread: the init program waits for them.
pub fn block_all_signals() {
    // SAFETY: a zeroed set filled by sigfillset is valid.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Unblocks every signal and gives each its default action: what a program expects to be started with.
pub fn reset_signals() {
    // SAFETY: SIG_DFL needs no handler; an emptied set is valid.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Writing to a socket whose other end is gone is an error for the keeper, not its death.
pub fn ignore_broken_pipes() {
    // SAFETY: SIG_IGN needs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Sends a signal to a process, or with a negative number to a process group. Only for children that this process has
/// not yet reaped.
///
/// # Errors
/// What `kill` says.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::kill(pid, signal) }.into())
}

/// Reaps one ended child, or any (`pid` -1), without waiting: its pid and raw wait status.
#[must_use]
pub fn reap(pid: i32) -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` outlives the call. `__WALL` also finds children made with CLONE_PARENT, which send no SIGCHLD.
    let done = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG | libc::__WALL) };
    (done > 0).then_some((done, status))
}

/// `128 + signal` or the exit code of a raw wait status.
#[must_use]
pub fn exit_code(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

/// Replaces the program of this process; returns only when that failed.
#[must_use]
pub fn execve(path: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let (arguments, environment) = (null_terminated(arguments), null_terminated(environment));
    // SAFETY: all three are null-terminated and live through the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces the program of this process by the one behind a handle; returns only when that failed.
#[must_use]
pub fn execute_handle(program: &OwnedFd, arguments: &[CString], environment: &[CString]) -> io::Error {
    let (arguments, environment) = (null_terminated(arguments), null_terminated(environment));
    // SAFETY: all are null-terminated and live through the call; an empty path stands for the handle itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// The addresses of strings with a null behind them; valid for as long as the strings.
fn null_terminated(items: &[CString]) -> Vec<*const libc::c_char> {
    items.iter().map(|item| item.as_ptr()).chain([std::ptr::null()]).collect()
}

/// The device of `/dev/ptmx`, for checking that a terminal multiplexer is the real one.
pub const PTMX_DEVICE: u64 = libc::makedev(5, 2);

/// Whether `fd` lies on a devpts file system.
#[must_use]
pub fn is_devpts(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: a zeroed statfs is a valid out parameter.
    unsafe {
        let mut info: libc::statfs = std::mem::zeroed();
        libc::fstatfs(fd.as_raw_fd(), &raw mut info) == 0 && info.f_type as i64 == 0x1cd1
    }
}

/// Unlocks a terminal multiplexer's terminal and opens it without a path.
///
/// # Errors
/// What the device says.
pub fn terminal_peer(multiplexer: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: reads an int that outlives the call.
    check(unsafe { libc::ioctl(multiplexer.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }.into())?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes flags; what it returns is a fresh descriptor that nobody else owns.
    unsafe {
        let fd = libc::ioctl(multiplexer.as_raw_fd(), libc::TIOCGPTPEER, flags);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Makes a FIFO that everybody may write to (its directory decides who can reach it).
///
/// # Errors
/// What `mknod` says; one that is there already is not an error.
pub fn make_fifo(path: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: null-terminated paths that outlive the calls.
    let made = unsafe { libc::mkfifo(path.as_ptr(), 0o666) };
    if made != 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EEXIST) {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above; the umask may have taken bits away.
    check(unsafe { libc::chmod(path.as_ptr(), 0o666) }.into())
}

/// Lets tokio wait for a descriptor.
///
/// # Errors
/// What `epoll` says.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is one and the same open descriptor for as long as it lives.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn unix_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
