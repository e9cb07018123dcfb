//! Which system calls each profile may make.
//!
//! `app` is an allow list: what a program needs that runs in a container of its own, as Docker's default has it, and
//! nothing of what an init or an administrator does (mounts, name spaces, host names, the clock). A call that is newer
//! than the list does not exist for it. `system` is a deny list, because an init needs most of the kernel: it refuses
//! what reaches beyond a container or has been the door of kernel exploits. What it refuses, `app` refuses too.

use super::super::plan::Profile;

/// When a call that is allowed otherwise is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// The argument's low 32 bits are one of these values.
    In(u8, &'static [u32]),
    /// The argument's low 32 bits are none of these values.
    NotIn(u8, &'static [u32]),
    /// The argument has one of these bits.
    HasAny(u8, u32),
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is made.
    Allow,
    /// The caller gets this error.
    Refuse(i32),
    /// The caller gets this error when the condition holds.
    RefuseIf(Condition, i32),
}

/// The verdict of a profile on a call that the table knows.
#[must_use]
pub fn verdict(profile: Profile, call: &str) -> Verdict {
    if let Some((_, verdict)) = SPECIAL.iter().find(|(name, _)| *name == call) {
        return *verdict;
    }
    match profile {
        Profile::App if call == "clone" => Verdict::RefuseIf(Condition::HasAny(0, NEW_ANY), libc::EPERM),
        Profile::App if call == "personality" => {
            Verdict::RefuseIf(Condition::NotIn(0, HARMLESS_PERSONALITIES), libc::EPERM)
        }
        Profile::App if APP.contains(&call) => Verdict::Allow,
        Profile::App => Verdict::Refuse(libc::EPERM),
        Profile::System if call == "clone" || call == "unshare" => {
            Verdict::RefuseIf(Condition::HasAny(0, libc::CLONE_NEWUSER as u32), libc::EPERM)
        }
        Profile::System if SYSTEM_REFUSED.contains(&call) => Verdict::Refuse(libc::EPERM),
        Profile::System => Verdict::Allow,
    }
}

/// The verdict of a profile on numbers that the table does not know: for `app` such a call does not exist, so that
/// programs fall back to older ones.
#[must_use]
pub const fn verdict_on_unknown(profile: Profile) -> Verdict {
    match profile {
        Profile::App => Verdict::Refuse(libc::ENOSYS),
        Profile::System => Verdict::Allow,
    }
}

/// Flags that make any namespace.
const NEW_ANY: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// Linux, Linux of 32 bits, both with the machine's own name of 2.6, and the question what it is: none weakens address
/// randomisation.
const HARMLESS_PERSONALITIES: &[u32] = &[0, 8, 0x2_0000, 0x2_0008, u32::MAX];

/// The same for both profiles, with errors that let programs fall back.
const SPECIAL: [(&str, Verdict); 2] = [
    ("socket", Verdict::RefuseIf(Condition::In(0, &[libc::AF_ALG as u32, libc::AF_VSOCK as u32]), libc::EAFNOSUPPORT)),
    // Its flags lie in memory that a filter cannot read; libc falls back to `clone`.
    ("clone3", Verdict::Refuse(libc::ENOSYS)),
];

/// What an init in a container has no use for.
const SYSTEM_REFUSED: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "clock_settime",
    "clock_settime64",
    "delete_module",
    "finit_module",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "open_by_handle_at",
    "perf_event_open",
    "request_key",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "userfaultfd",
];

/// What an `app` may call.
#[rustfmt::skip]
const APP: &[&str] = &[
    // Processes and threads.
    "arch_prctl", "breakpoint", "cacheflush", "capget", "capset", "clone", "execve", "execveat", "exit", "exit_group",
    "fork", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrlimit", "getrusage", "getsid",
    "get_robust_list", "get_thread_area", "gettid", "membarrier", "modify_ldt", "nice", "personality", "pidfd_open",
    "pidfd_send_signal", "prctl", "prlimit64", "process_mrelease", "process_vm_readv", "process_vm_writev", "ptrace",
    "restart_syscall", "rseq", "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
    "sched_getparam", "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "set_robust_list",
    "set_thread_area", "set_tid_address", "set_tls", "setpgid", "setpriority", "setrlimit", "setsid", "ugetrlimit",
    "vfork", "wait4", "waitid",
    // Users and groups.
    "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32", "getresgid",
    "getresgid32", "getresuid", "getresuid32", "getuid", "getuid32", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32",
    "setgid", "setgid32", "setgroups", "setgroups32", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid",
    "setresuid32", "setreuid", "setreuid32", "setuid", "setuid32",
    // Signals.
    "alarm", "kill", "pause", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
    "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sigaction", "sigaltstack",
    "signalfd", "signalfd4", "sigpending", "sigprocmask", "sigreturn", "sigsuspend", "tgkill", "tkill",
    // Memory.
    "brk", "cachestat", "madvise", "map_shadow_stack", "memfd_create", "memfd_secret", "mincore", "mlock", "mlock2",
    "mlockall", "mmap", "mmap2", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "remap_file_pages",
    // Files and directories.
    "_llseek", "access", "arm_fadvise64_64", "arm_sync_file_range", "chdir", "chmod", "chown", "chown32", "chroot",
    "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3", "faccessat", "faccessat2", "fadvise64",
    "fallocate", "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat",
    "fcntl", "fcntl64", "fdatasync", "flock", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync",
    "ftruncate", "ftruncate64", "futimesat", "getcwd", "getdents", "getdents64", "inotify_add_watch", "inotify_init",
    "inotify_init1", "inotify_rm_watch", "ioctl", "ioprio_get", "ioprio_set", "landlock_add_rule",
    "landlock_create_ruleset", "landlock_restrict_self", "lchown", "lchown32", "link", "linkat", "listmount", "lseek",
    "lstat", "lstat64", "mkdir", "mkdirat", "mknod", "mknodat", "name_to_handle_at", "newfstatat", "open", "openat",
    "openat2", "pipe", "pipe2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
    "readlink", "readlinkat", "readv", "rename", "renameat", "renameat2", "rmdir", "sendfile", "sendfile64", "splice",
    "stat", "stat64", "statfs", "statfs64", "statmount", "statx", "symlink", "symlinkat", "sync", "sync_file_range",
    "syncfs", "tee", "truncate", "truncate64", "umask", "unlink", "unlinkat", "utime", "utimensat", "utimensat_time64",
    "utimes", "vmsplice", "write", "writev",
    // Extended attributes.
    "fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "getxattr", "getxattrat", "lgetxattr", "listxattr",
    "listxattrat", "llistxattr", "lremovexattr", "lsetxattr", "removexattr", "removexattrat", "setxattr", "setxattrat",
    // Waiting for files, and asynchronous input and output.
    "_newselect", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2",
    "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "io_cancel", "io_destroy", "io_getevents", "io_pgetevents",
    "io_pgetevents_time64", "io_setup", "io_submit", "poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64",
    "select",
    // Sockets.
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recv", "recvfrom",
    "recvmmsg", "recvmmsg_time64", "recvmsg", "send", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
    "socket", "socketpair",
    // Messages, semaphores and shared memory.
    "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake", "mq_getsetattr", "mq_notify",
    "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink",
    "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "shmat",
    "shmctl", "shmdt", "shmget",
    // Time.
    "adjtimex", "clock_adjtime", "clock_adjtime64", "clock_getres", "clock_getres_time64", "clock_gettime",
    "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "getitimer", "gettimeofday", "nanosleep",
    "setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64",
    "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime",
    "timerfd_settime64", "times",
    // The system.
    "getcpu", "getrandom", "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "seccomp", "sysinfo", "uname",
];

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn every_name_is_one_the_table_knows() {
        let known: Vec<&str> = table::names().collect();
        let unknown = APP.iter().chain(SYSTEM_REFUSED).filter(|name| !known.contains(name));
        assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&&str>::new());
    }

    #[test]
    fn what_a_system_may_not_an_app_may_not() {
        for name in SYSTEM_REFUSED {
            assert!(matches!(verdict(Profile::App, name), Verdict::Refuse(_)), "{name}");
        }
    }
}
