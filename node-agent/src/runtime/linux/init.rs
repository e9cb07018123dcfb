//! The first process of an `app` container is a tiny program of its own (`init/init.c`), a few hundred bytes of code
//! without a library. It reaps whatever is orphaned, passes signals on to the command, and ends with its status.
//!
//! It runs from a sealed file in memory that nobody inside may read: the container can neither overwrite it by
//! `/proc/1/exe`, nor trace it, nor see its memory.

use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::seccomp::Program;
use super::sys;
use super::wire::{Context, Failure};

/// The program.
const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/roost-init"));
/// What `ps` shows of it.
const NAME: &str = "roost-init";

/// Puts the program into a sealed file in memory, once for all containers.
///
/// # Errors
/// The step that failed.
pub fn load() -> Result<OwnedFd, Failure> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create(NAME, flags).step(|| "make a file in memory")?;
    let mut file = fs::File::from(memory);
    file.write_all(INIT).step(|| "write the init program")?;
    file.set_permissions(fs::Permissions::from_mode(0o111)).step(|| "make the init program executable")?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals).step(|| "seal the init program")?;
    // A handle that cannot write: the kernel executes nothing that is open for writing.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let handle = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path);
    handle.map(Into::into).step(|| format!("open {path}"))
}

/// Becomes the init of the running command `command`. All signals must be blocked. Returns only when that failed.
pub fn become_init(command: i32, init: &OwnedFd, program: &Program) -> Failure {
    if let Err(failure) = give_up_privileges(program) {
        return failure;
    }
    let arguments = [NAME, &command.to_string()].map(|text| CString::new(text).expect("no NUL byte in a number"));
    Failure::step("execute the init program", &sys::execute_handle(init, &arguments, &[]))
}

/// Passing signals on needs `KILL`, for commands that change their user; nothing else is needed.
fn give_up_privileges(program: &Program) -> Result<(), Failure> {
    sys::close_on_exec_from(0).step(|| "close inherited files")?;
    let kill = CapabilitySet::KILL;
    let sets = CapabilitySets { effective: kill, permitted: kill, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).step(|| "set the capabilities of the init program")?;
    rustix::thread::set_no_new_privs(true).step(|| "set no_new_privs")?;
    sys::seccomp_install(program).step(|| "install the system call filter")
}
