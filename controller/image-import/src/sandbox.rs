//! Giving up everything but the files that are open.
//!
//! Layers, from the outside in; each holds where another is missing on a kernel:
//! 1. resource limits: processor time, memory, file size, no further file;
//! 2. root becomes `nobody`, in a user, mount, network, IPC and host name namespace of its own, in an empty directory;
//! 3. Landlock: no path can be opened, made or removed, no port bound or reached;
//! 4. seccomp: reading, writing and memory are all that is left; any other call ends the process.
//!
//! Works on the calling thread only, so it must be the only one.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chdir, geteuid, pivot_root, setgroups, setresgid, setresuid};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use serde::{Deserialize, Serialize};

/// Debian's `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;
/// Seconds of processor time.
const CPU_SECONDS: u64 = 600;
/// Bytes of memory: an xz dictionary of 64 MiB, the tree of 200,000 entries, buffers.
const MEMORY: u64 = 512 << 20;
/// Open files: standard three, archive, scratch, output and a few that the program started with.
const OPEN_FILES: u64 = 32;

/// Why the process is not safe enough to go on.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A step that no kernel refuses.
    #[error("{step}")]
    Step {
        /// Which.
        step: &'static str,
        /// Why it failed.
        source: nix::Error,
    },
    /// Landlock.
    #[error("restrict with Landlock")]
    Landlock(#[from] landlock::RulesetError),
    /// seccomp.
    #[error("restrict with seccomp")]
    Seccomp(#[from] seccompiler::Error),
    /// Neither of the two that matter most.
    #[error("this kernel has neither Landlock nor a seccomp filter for this processor")]
    NothingHolds,
}

/// What holds the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Namespaces of its own and an empty root.
    pub namespaces: bool,
    /// Landlock denies all paths.
    pub landlock: bool,
    /// A seccomp filter is in force.
    pub seccomp: bool,
}

/// Gives everything up. `empty` is a directory that becomes the root; `file_bytes` is the largest file it may write.
///
/// # Errors
/// When a step fails that must not, or too little of it holds.
pub fn enter(empty: &Path, file_bytes: u64) -> Result<Held, SandboxError> {
    limit(file_bytes)?;
    let namespaces = leave(empty)?;
    prctl::set_dumpable(false).map_err(step("become undumpable"))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(step("ask to end with the parent"))?;
    prctl::set_no_new_privs().map_err(step("renounce new privileges"))?;
    let landlock = deny_paths()?;
    let seccomp = match filter(processor())? {
        Some(program) => seccompiler::apply_filter(&program).map(|()| true)?,
        None => false,
    };
    if landlock || seccomp { Ok(Held { namespaces, landlock, seccomp }) } else { Err(SandboxError::NothingHolds) }
}

fn step(step: &'static str) -> impl FnOnce(nix::Error) -> SandboxError {
    move |source| SandboxError::Step { step, source }
}

fn limit(file_bytes: u64) -> Result<(), SandboxError> {
    for (resource, value, what) in [
        (Resource::RLIMIT_CPU, CPU_SECONDS, "limit processor time"),
        (Resource::RLIMIT_DATA, MEMORY, "limit memory"),
        (Resource::RLIMIT_FSIZE, file_bytes, "limit the size of files"),
        (Resource::RLIMIT_NOFILE, OPEN_FILES, "limit open files"),
        (Resource::RLIMIT_CORE, 0, "limit core dumps"),
    ] {
        setrlimit(resource, value, value).map_err(step(what))?;
    }
    Ok(())
}

/// Leaves the machine's namespaces, file system and identity. A user who is not root can do so only where the kernel lets
/// anyone make a user namespace; root always can, and must.
fn leave(empty: &Path) -> Result<bool, SandboxError> {
    let spaces =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if geteuid().is_root() {
        unshare(spaces).map_err(step("leave the namespaces"))?;
        enter_root(empty)?;
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setgroups(&[]).map_err(step("leave all groups"))?;
        setresgid(gid, gid, gid).map_err(step("become nogroup"))?;
        setresuid(uid, uid, uid).map_err(step("become nobody"))?;
        // One more wall where the kernel allows it; what matters is gone already.
        let _ = unshare(CloneFlags::CLONE_NEWUSER);
        return Ok(true);
    }
    match unshare(CloneFlags::CLONE_NEWUSER | spaces) {
        Ok(()) => enter_root(empty).map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Makes the empty directory the only thing there is. (A mere chroot would keep the kernel from giving the process a user
/// namespace.)
fn enter_root(empty: &Path) -> Result<(), SandboxError> {
    let nothing = None::<&str>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, private, nothing).map_err(step("keep mounts to itself"))?;
    mount(Some(empty), empty, nothing, MsFlags::MS_BIND, nothing).map_err(step("mount the empty directory"))?;
    chdir(empty).map_err(step("enter the empty directory"))?;
    pivot_root(".", ".").map_err(step("make the empty directory the root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(step("let go of the old root"))?;
    chdir("/").map_err(step("enter the empty root"))
}

fn deny_paths() -> Result<bool, SandboxError> {
    let abi = ABI::V6;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => true,
        RulesetStatus::NotEnforced => false,
    })
}

/// The processor, where seccomp filters can be made for it: not 32-bit ARM, which then relies on the other layers.
fn processor() -> Option<TargetArch> {
    std::env::consts::ARCH.try_into().ok()
}

/// What is left: working on open files, memory, the clock, ending.
fn filter(arch: Option<TargetArch>) -> Result<Option<BpfProgram>, SandboxError> {
    let Some(arch) = arch else { return Ok(None) };
    let free = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_writev,
        libc::SYS_lseek,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_close,
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = free.into_iter().map(|call| (call, Vec::new())).collect();
    // Memory, but never code; and a look at whether a file is open, as debug builds take before they close it.
    let not_code = SeccompCmpOp::MaskedEq(u64::from(libc::PROT_EXEC.unsigned_abs()));
    for (call, argument, comparison, value) in [
        (libc::SYS_mmap, 2, not_code.clone(), 0),
        (libc::SYS_mprotect, 2, not_code, 0),
        (libc::SYS_fcntl, 1, SeccompCmpOp::Eq, u64::from(libc::F_GETFD.unsigned_abs())),
    ] {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, comparison, value);
        let rule = SeccompRule::new(vec![condition.map_err(seccompiler::Error::from)?]);
        rules.insert(call, vec![rule.map_err(seccompiler::Error::from)?]);
    }
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(seccompiler::Error::from)?;
    Ok(Some(program))
}
