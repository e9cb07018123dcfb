//! System call filters, from a table of names to classic BPF, without a C library.
//!
//! A filter first looks at the calling convention: one that this machine does not have natively (or as its 32-bit
//! sibling) is killed, since numbers mean something else there. Then the number is compared with each denied call of
//! the [`policy`]; what is not named is allowed. The kernel caches "always allowed" per number, so that the linear scan
//! costs the calls that matter nothing.

pub mod policy;
mod table;

use policy::{Condition, Rule};
use table::Convention;

use super::plan::Profile;

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

/// A filter ready to be installed.
#[derive(Clone, Debug)]
pub struct Program(Vec<Instruction>);

impl Program {
    /// The instructions in order.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }
}

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const ALLOW: u32 = 0x7fff_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// Low half of an argument; every machine we run on is little-endian.
const fn argument(index: u8) -> u32 {
    16 + 8 * index as u32
}
/// Calls of the x32 convention carry this bit; they are refused as unknown.
const X32_BIT: u32 = 0x4000_0000;

/// The filter of a profile on this machine.
#[must_use]
pub fn compile(profile: Profile) -> Program {
    emit(table::native(), policy::rules(profile))
}

fn emit(conventions: &[Convention], rules: &[Rule]) -> Program {
    let mut program = vec![step(LOAD, ARCHITECTURE)];
    for &convention in conventions {
        let block = block(convention, rules);
        // A jump of BPF reaches 255 instructions; a block is longer. So: equal → next but one; else a chain of returns
        // is avoided by an unconditional jump.
        program.push(branch(JUMP_EQUAL, convention.audit_arch(), 1, 0));
        program.push(step(0x05, u32::try_from(block.len()).expect("a block is a few hundred instructions")));
        program.extend(block);
    }
    program.push(step(RETURN, KILL_PROCESS));
    Program(program)
}

/// Everything for one calling convention; always returns.
fn block(convention: Convention, rules: &[Rule]) -> Vec<Instruction> {
    let mut block = vec![step(LOAD, NUMBER)];
    if convention == Convention::X86_64 {
        block.push(branch(JUMP_AT_LEAST, X32_BIT, 0, 1));
        block.push(step(RETURN, ERRNO | libc::ENOSYS as u32));
    }
    for rule in rules {
        let Some(number) = table::number(rule.call, convention) else { continue };
        let refuse = step(RETURN, ERRNO | rule.errno as u32);
        match rule.when {
            Condition::Always => {
                block.push(branch(JUMP_EQUAL, number, 0, 1));
                block.push(refuse);
            }
            Condition::ArgumentIs(index, value) => {
                block.push(branch(JUMP_EQUAL, number, 0, 4));
                block.push(step(LOAD, argument(index)));
                block.push(branch(JUMP_EQUAL, value, 0, 1));
                block.push(refuse);
                block.push(step(LOAD, NUMBER));
            }
            Condition::ArgumentHasAny(index, bits) => {
                block.push(branch(JUMP_EQUAL, number, 0, 4));
                block.push(step(LOAD, argument(index)));
                block.push(branch(JUMP_ANY_BIT, bits, 0, 1));
                block.push(refuse);
                block.push(step(LOAD, NUMBER));
            }
        }
    }
    block.push(step(RETURN, ALLOW));
    block
}

const fn step(code: u16, value: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, value }
}

const fn branch(code: u16, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as the kernel would.
    fn run(program: &Program, arch: u32, number: u32, arguments: [u32; 6]) -> u32 {
        let mut at = 0;
        let mut accumulator = 0;
        loop {
            let op = program.0[at];
            at += 1;
            let jump = |hit: bool| usize::from(if hit { op.if_true } else { op.if_false });
            match op.code {
                LOAD => {
                    accumulator = match op.value {
                        NUMBER => number,
                        ARCHITECTURE => arch,
                        offset => arguments[(offset as usize - 16) / 8],
                    }
                }
                JUMP_EQUAL => at += jump(accumulator == op.value),
                JUMP_AT_LEAST => at += jump(accumulator >= op.value),
                JUMP_ANY_BIT => at += jump(accumulator & op.value != 0),
                0x05 => at += op.value as usize,
                RETURN => return op.value,
                code => panic!("unexpected instruction {code:#x}"),
            }
        }
    }

    const BOTH: &[Convention] = &[Convention::Aarch64, Convention::Arm];

    #[test]
    fn a_foreign_calling_convention_is_killed() {
        let program = emit(&[Convention::X86_64], policy::rules(Profile::App));
        assert_eq!(run(&program, Convention::Arm.audit_arch(), 0, [0; 6]), KILL_PROCESS);
        assert_eq!(run(&program, Convention::X86_64.audit_arch(), 0, [0; 6]), ALLOW);
    }

    #[test]
    fn x32_calls_are_unknown() {
        let program = emit(&[Convention::X86_64], policy::rules(Profile::App));
        let answer = run(&program, Convention::X86_64.audit_arch(), X32_BIT, [0; 6]);
        assert_eq!(answer, ERRNO | libc::ENOSYS as u32);
    }

    #[test]
    fn every_rule_bites_on_every_convention_that_has_the_call() {
        for profile in [Profile::App, Profile::System] {
            for conventions in [&[Convention::X86_64][..], BOTH] {
                let program = emit(conventions, policy::rules(profile));
                for &convention in conventions {
                    for rule in policy::rules(profile) {
                        let Some(number) = table::number(rule.call, convention) else { continue };
                        let mut arguments = [0; 6];
                        match rule.when {
                            Condition::Always => {}
                            Condition::ArgumentIs(index, value) | Condition::ArgumentHasAny(index, value) => {
                                arguments[usize::from(index)] = value;
                            }
                        }
                        let answer = run(&program, convention.audit_arch(), number, arguments);
                        assert_eq!(answer, ERRNO | rule.errno as u32, "{profile:?} {convention:?} {}", rule.call);
                    }
                }
            }
        }
    }

    #[test]
    fn ordinary_sockets_and_forks_pass() {
        let arch = Convention::X86_64.audit_arch();
        let program = emit(&[Convention::X86_64], policy::rules(Profile::App));
        assert_eq!(run(&program, arch, 41, [libc::AF_INET as u32, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(&program, arch, 56, [libc::SIGCHLD as u32, 0, 0, 0, 0, 0]), ALLOW);
    }

    #[test]
    fn the_table_agrees_with_the_numbers_of_this_machine() {
        let native = table::native()[0];
        for (name, number) in [
            ("mount", libc::SYS_mount),
            ("clone", libc::SYS_clone),
            ("bpf", libc::SYS_bpf),
            ("keyctl", libc::SYS_keyctl),
            ("add_key", libc::SYS_add_key),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ("kexec_load", libc::SYS_kexec_load),
            ("init_module", libc::SYS_init_module),
            ("finit_module", libc::SYS_finit_module),
            ("delete_module", libc::SYS_delete_module),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("perf_event_open", libc::SYS_perf_event_open),
            ("userfaultfd", libc::SYS_userfaultfd),
            ("socket", libc::SYS_socket),
            ("unshare", libc::SYS_unshare),
            ("setns", libc::SYS_setns),
            ("pivot_root", libc::SYS_pivot_root),
            ("reboot", libc::SYS_reboot),
            ("swapon", libc::SYS_swapon),
            ("swapoff", libc::SYS_swapoff),
            ("acct", libc::SYS_acct),
            ("quotactl", libc::SYS_quotactl),
            ("fanotify_init", libc::SYS_fanotify_init),
            ("settimeofday", libc::SYS_settimeofday),
            ("clock_settime", libc::SYS_clock_settime),
            ("clock_adjtime", libc::SYS_clock_adjtime),
            ("adjtimex", libc::SYS_adjtimex),
            ("kcmp", libc::SYS_kcmp),
            ("move_pages", libc::SYS_move_pages),
            ("mbind", libc::SYS_mbind),
            ("set_mempolicy", libc::SYS_set_mempolicy),
            ("migrate_pages", libc::SYS_migrate_pages),
            ("syslog", libc::SYS_syslog),
            ("lookup_dcookie", libc::SYS_lookup_dcookie),
            ("name_to_handle_at", libc::SYS_name_to_handle_at),
            ("umount2", libc::SYS_umount2),
            ("sethostname", libc::SYS_sethostname),
            ("setdomainname", libc::SYS_setdomainname),
            ("vhangup", libc::SYS_vhangup),
            ("request_key", libc::SYS_request_key),
        ] {
            assert_eq!(table::number(name, native), Some(number as u32), "{name}");
        }
    }
}
