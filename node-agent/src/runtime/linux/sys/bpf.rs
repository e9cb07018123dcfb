//! Programs that decide which devices a group of processes may use.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::check;

/// One instruction of extended BPF, laid out as the kernel's `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BpfInstruction {
    code: u8,
    /// Destination in the low half, source in the high one.
    registers: u8,
    offset: i16,
    value: i32,
}

impl BpfInstruction {
    /// `to = *(u32 *)(from + offset)`
    #[must_use]
    pub const fn load_word(to: u8, from: u8, offset: i16) -> Self {
        Self { code: 0x61, registers: (from << 4) | to, offset, value: 0 }
    }

    /// `register &= value`
    #[must_use]
    pub const fn and(register: u8, value: i32) -> Self {
        Self { code: 0x57, registers: register, offset: 0, value }
    }

    /// Goes over the next `count` instructions when the register holds the value.
    #[must_use]
    pub const fn skip_if_equal(register: u8, value: i32, count: i16) -> Self {
        Self { code: 0x15, registers: register, offset: count, value }
    }

    /// Goes over the next `count` instructions unless the register holds the value.
    #[must_use]
    pub const fn skip_unless_equal(register: u8, value: i32, count: i16) -> Self {
        Self { code: 0x55, registers: register, offset: count, value }
    }

    /// Ends the program with an answer.
    #[must_use]
    pub const fn answer(value: i32) -> [Self; 2] {
        let set = Self { code: 0xb7, registers: 0, offset: 0, value };
        [set, Self { code: 0x95, registers: 0, offset: 0, value: 0 }]
    }
}

/// `BPF_PROG_TYPE_CGROUP_DEVICE`.
const BPF_PROGRAM_OF_DEVICES: u32 = 15;
/// `BPF_CGROUP_DEVICE`.
const BPF_DEVICES_OF_GROUP: u32 = 6;

/// Hands a program that decides about devices to the kernel.
///
/// # Errors
/// What the verifier says.
pub fn bpf_load_device_program(program: &[BpfInstruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log: [u64; 2],
        version_and_flags: u64,
    }
    let load = Load {
        kind: BPF_PROGRAM_OF_DEVICES,
        count: u32::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        instructions: program.as_ptr() as u64,
        license: c"".as_ptr() as u64,
        log: [0; 2],
        version_and_flags: 0,
    };
    // SAFETY: BPF_PROG_LOAD reads `load` and what it points to, all of which outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, 5, &raw const load, size_of::<Load>()) };
    check(fd)?;
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Lets a program decide about the devices of a group of the unified hierarchy and of all below it.
///
/// # Errors
/// What the kernel says.
pub fn bpf_attach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attach = [group.as_raw_fd() as u32, program.as_raw_fd() as u32, BPF_DEVICES_OF_GROUP, 0];
    // SAFETY: BPF_PROG_ATTACH reads four numbers that outlive the call.
    check(unsafe { libc::syscall(libc::SYS_bpf, 8, &raw const attach, size_of_val(&attach)) })
}

/// How many programs decide about the devices of a group itself.
///
/// # Errors
/// `EINVAL` where the kernel has no such programs.
pub fn bpf_device_programs(group: BorrowedFd<'_>) -> io::Result<u32> {
    #[repr(C)]
    struct Query {
        group: u32,
        kind: u32,
        flags: [u32; 2],
        ids: u64,
        count: u32,
        unused: u32,
    }
    let mut query = Query {
        group: group.as_raw_fd() as u32,
        kind: BPF_DEVICES_OF_GROUP,
        flags: [0; 2],
        ids: 0,
        count: 0,
        unused: 0,
    };
    // SAFETY: BPF_PROG_QUERY reads and writes `query`, which outlives the call; without ids it only counts.
    check(unsafe { libc::syscall(libc::SYS_bpf, 16, &raw mut query, size_of::<Query>()) })?;
    Ok(query.count)
}
