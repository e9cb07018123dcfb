//! Which system calls each profile refuses.
//!
//! Both profiles are deny lists. `system` refuses what reaches beyond a container or has been the door of kernel
//! exploits; `app` refuses all of that and everything only an init or an administrator does (mounts, name spaces,
//! host names, the clock).

use super::super::plan::Profile;

/// When a rule applies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Always.
    Always,
    /// The argument's low 32 bits equal the value.
    ArgumentIs(u8, u32),
    /// The argument has one of these bits.
    ArgumentHasAny(u8, u32),
}

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Name of the system call.
    pub call: &'static str,
    /// When.
    pub when: Condition,
    /// What the caller is told.
    pub errno: i32,
}

const fn refuse(call: &'static str) -> Rule {
    Rule { call, when: Condition::Always, errno: libc::EPERM }
}

const fn refuse_if(call: &'static str, when: Condition, errno: i32) -> Rule {
    Rule { call, when, errno }
}

/// Flags of `clone` and `unshare` that make a user namespace.
const NEW_USER: u32 = libc::CLONE_NEWUSER as u32;
/// Flags that make any namespace.
const NEW_ANY: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// The refusals of a profile.
#[must_use]
pub const fn rules(profile: Profile) -> &'static [Rule] {
    match profile {
        Profile::App => APP,
        Profile::System => SYSTEM,
    }
}

/// Refused in both profiles.
const COMMON: [Rule; 29] = [
    refuse_if("socket", Condition::ArgumentIs(0, libc::AF_ALG as u32), libc::EAFNOSUPPORT),
    refuse_if("socket", Condition::ArgumentIs(0, libc::AF_VSOCK as u32), libc::EAFNOSUPPORT),
    // Its flags lie in memory that a filter cannot read; libc falls back to `clone`.
    refuse_if("clone3", Condition::Always, libc::ENOSYS),
    refuse("io_uring_setup"),
    refuse("io_uring_enter"),
    refuse("io_uring_register"),
    refuse("bpf"),
    refuse("perf_event_open"),
    refuse("userfaultfd"),
    refuse("keyctl"),
    refuse("add_key"),
    refuse("request_key"),
    refuse("open_by_handle_at"),
    refuse("kexec_load"),
    refuse("kexec_file_load"),
    refuse("init_module"),
    refuse("finit_module"),
    refuse("delete_module"),
    refuse("swapon"),
    refuse("swapoff"),
    refuse("acct"),
    refuse("lookup_dcookie"),
    refuse("iopl"),
    refuse("ioperm"),
    refuse("syslog"),
    refuse("settimeofday"),
    refuse("clock_settime"),
    refuse("clock_settime64"),
    refuse("kcmp"),
];

const SYSTEM: &[Rule] = &join::<31>(&[
    refuse_if("clone", Condition::ArgumentHasAny(0, NEW_USER), libc::EPERM),
    refuse_if("unshare", Condition::ArgumentHasAny(0, NEW_USER), libc::EPERM),
]);

const APP: &[Rule] = &join::<58>(&[
    refuse_if("clone", Condition::ArgumentHasAny(0, NEW_ANY), libc::EPERM),
    refuse_if("unshare", Condition::ArgumentHasAny(0, NEW_ANY), libc::EPERM),
    refuse("setns"),
    refuse("mount"),
    refuse("umount2"),
    refuse("pivot_root"),
    refuse("open_tree"),
    refuse("open_tree_attr"),
    refuse("move_mount"),
    refuse("fsopen"),
    refuse("fsconfig"),
    refuse("fsmount"),
    refuse("fspick"),
    refuse("mount_setattr"),
    refuse("name_to_handle_at"),
    refuse("quotactl"),
    refuse("quotactl_fd"),
    refuse("fanotify_init"),
    refuse("reboot"),
    refuse("sethostname"),
    refuse("setdomainname"),
    refuse("vhangup"),
    refuse("adjtimex"),
    refuse("clock_adjtime"),
    refuse("clock_adjtime64"),
    refuse("mbind"),
    refuse("migrate_pages"),
    refuse("move_pages"),
    refuse("set_mempolicy"),
]);

/// [`COMMON`] followed by what a profile adds.
const fn join<const N: usize>(own: &[Rule]) -> [Rule; N] {
    let mut all = [refuse("bpf"); N];
    let mut at = 0;
    while at < COMMON.len() {
        all[at] = COMMON[at];
        at += 1;
    }
    let mut from = 0;
    while from < own.len() {
        all[at] = own[from];
        at += 1;
        from += 1;
    }
    assert!(at == N, "the length of a profile is the sum of its parts");
    all
}
