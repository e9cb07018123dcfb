//! Numbers of the system calls that a policy names, for the three calling conventions Roost runs on.

/// A calling convention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Convention {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, EABI.
    Arm,
}

impl Convention {
    /// `AUDIT_ARCH_*`.
    pub const fn audit_arch(self) -> u32 {
        match self {
            Self::X86_64 => 0xC000_003E,
            Self::Aarch64 => 0xC000_00B7,
            Self::Arm => 0x4000_0028,
        }
    }
}

/// The conventions this machine can run programs of: its own, then its 32-bit sibling where we know its numbers.
pub const fn native() -> &'static [Convention] {
    if cfg!(target_arch = "x86_64") {
        &[Convention::X86_64]
    } else if cfg!(target_arch = "aarch64") {
        &[Convention::Aarch64, Convention::Arm]
    } else {
        &[Convention::Arm]
    }
}

/// The number of a call, where the convention has it.
pub fn number(name: &str, convention: Convention) -> Option<u32> {
    let row = TABLE.iter().find(|row| row.0 == name)?;
    let number = match convention {
        Convention::X86_64 => row.1,
        Convention::Aarch64 => row.2,
        Convention::Arm => row.3,
    };
    u32::try_from(number).ok()
}

/// The convention has no such call.
const NONE: i32 = -1;

/// Name, x86_64, aarch64, arm.
const TABLE: &[(&str, i32, i32, i32)] = &[
    ("acct", 163, 89, 51),
    ("add_key", 248, 217, 309),
    ("adjtimex", 159, 171, 124),
    ("bpf", 321, 280, 386),
    ("clock_adjtime", 305, 266, 372),
    ("clock_adjtime64", NONE, NONE, 405),
    ("clock_settime", 227, 112, 262),
    ("clock_settime64", NONE, NONE, 404),
    ("clone", 56, 220, 120),
    ("clone3", 435, 435, 435),
    ("delete_module", 176, 106, 129),
    ("fanotify_init", 300, 262, 367),
    ("finit_module", 313, 273, 379),
    ("fsconfig", 431, 431, 431),
    ("fsmount", 432, 432, 432),
    ("fsopen", 430, 430, 430),
    ("fspick", 433, 433, 433),
    ("init_module", 175, 105, 128),
    ("io_uring_enter", 426, 426, 426),
    ("io_uring_register", 427, 427, 427),
    ("io_uring_setup", 425, 425, 425),
    ("ioperm", 173, NONE, NONE),
    ("iopl", 172, NONE, NONE),
    ("kcmp", 312, 272, 378),
    ("kexec_file_load", 320, 294, 401),
    ("kexec_load", 246, 104, 347),
    ("keyctl", 250, 219, 311),
    ("lookup_dcookie", 212, 18, 249),
    ("mbind", 237, 235, 319),
    ("migrate_pages", 256, 238, 400),
    ("mount", 165, 40, 21),
    ("mount_setattr", 442, 442, 442),
    ("move_mount", 429, 429, 429),
    ("move_pages", 279, 239, 344),
    ("name_to_handle_at", 303, 264, 370),
    ("open_by_handle_at", 304, 265, 371),
    ("open_tree", 428, 428, 428),
    ("open_tree_attr", 467, 467, 467),
    ("perf_event_open", 298, 241, 364),
    ("pivot_root", 155, 41, 218),
    ("quotactl", 179, 60, 131),
    ("quotactl_fd", 443, 443, 443),
    ("reboot", 169, 142, 88),
    ("request_key", 249, 218, 310),
    ("set_mempolicy", 238, 237, 321),
    ("setdomainname", 171, 162, 121),
    ("sethostname", 170, 161, 74),
    ("setns", 308, 268, 375),
    ("settimeofday", 164, 170, 79),
    ("socket", 41, 198, 281),
    ("swapoff", 168, 225, 115),
    ("swapon", 167, 224, 87),
    ("syslog", 103, 116, 103),
    ("umount2", 166, 39, 52),
    ("unshare", 272, 97, 337),
    ("userfaultfd", 323, 282, 388),
    ("vhangup", 153, 58, 111),
];
