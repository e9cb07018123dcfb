//! System call filters, from a table of names to classic BPF, without a C library.
//!
//! A filter first looks at the calling convention: one that this machine does not have natively (or as its 32-bit
//! sibling) is killed, since numbers mean something else there. Then it finds the number's verdict in the [`policy`] by
//! halving: neighbours with the same verdict are one range, and eight comparisons find one of some hundred ranges. The
//! kernel caches "always allowed" per number, so that the calls that matter cost nothing at all.

pub mod policy;
mod table;

use policy::{Condition, Verdict};
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
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
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
    emit(table::native(), profile)
}

/// The filter of the tiny init: it may only do what it is made of.
#[must_use]
pub fn compile_init() -> Program {
    let native = table::native()[0];
    let allowed = ["execveat", "exit_group", "kill", "prctl", "rt_sigtimedwait", "wait4"];
    let mut program = vec![step(LOAD, ARCHITECTURE), branch(JUMP_EQUAL, native.audit_arch(), 1, 0)];
    program.push(step(RETURN, KILL_PROCESS));
    program.push(step(LOAD, NUMBER));
    for number in allowed.iter().filter_map(|name| table::number(name, native)) {
        program.push(branch(JUMP_EQUAL, number, 0, 1));
        program.push(step(RETURN, ALLOW));
    }
    program.push(step(RETURN, ERRNO | libc::EPERM as u32));
    Program(program)
}

fn emit(conventions: &[Convention], profile: Profile) -> Program {
    let mut program = vec![step(LOAD, ARCHITECTURE)];
    for &convention in conventions {
        let block = block(convention, profile);
        // A comparison jumps 255 instructions at most, and a block is longer: so it jumps over a jump.
        program.push(branch(JUMP_EQUAL, convention.audit_arch(), 1, 0));
        program.push(step(JUMP, length(&block)));
        program.extend(block);
    }
    program.push(step(RETURN, KILL_PROCESS));
    Program(program)
}

/// Everything for one calling convention; always returns.
fn block(convention: Convention, profile: Profile) -> Vec<Instruction> {
    let mut block = vec![step(LOAD, NUMBER)];
    if convention == Convention::X86_64 {
        block.push(branch(JUMP_AT_LEAST, X32_BIT, 0, 1));
        block.push(step(RETURN, ERRNO | libc::ENOSYS as u32));
    }
    block.extend(search(&ranges(convention, profile)));
    block
}

/// The verdicts in order of numbers: each holds from its number to the next one's.
fn ranges(convention: Convention, profile: Profile) -> Vec<(u32, Verdict)> {
    let mut numbered: Vec<(u32, Verdict)> = table::names()
        .filter_map(|name| Some((table::number(name, convention)?, policy::verdict(profile, name))))
        .collect();
    numbered.sort_unstable_by_key(|(number, _)| *number);
    let unknown = policy::verdict_on_unknown(profile);
    let mut ranges: Vec<(u32, Verdict)> = vec![(0, unknown)];
    let mut push = |from: u32, verdict: Verdict| match ranges.last_mut() {
        Some((start, last)) if *start == from => *last = verdict,
        Some((_, last)) if *last == verdict => {}
        _ => ranges.push((from, verdict)),
    };
    for (at, (number, verdict)) in numbered.iter().enumerate() {
        push(*number, *verdict);
        if numbered.get(at + 1).is_none_or(|(next, _)| *next != number + 1) {
            push(number + 1, unknown);
        }
    }
    ranges.dedup_by_key(|(_, verdict)| *verdict);
    ranges
}

/// Finds the range of the loaded number by halving.
fn search(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    let [(_, verdict)] = ranges else {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let (from, low, high) = (high[0].0, search(low), search(high));
        let mut both = match u8::try_from(low.len()) {
            Ok(over) => vec![branch(JUMP_AT_LEAST, from, over, 0)],
            Err(_) => vec![branch(JUMP_AT_LEAST, from, 0, 1), step(JUMP, length(&low))],
        };
        both.extend(low);
        both.extend(high);
        return both;
    };
    leaf(*verdict)
}

/// Returns the verdict.
fn leaf(verdict: Verdict) -> Vec<Instruction> {
    let refuse = |errno: i32| step(RETURN, ERRNO | errno as u32);
    let allow = step(RETURN, ALLOW);
    match verdict {
        Verdict::Allow => vec![allow],
        Verdict::Refuse(errno) => vec![refuse(errno)],
        Verdict::RefuseIf(Condition::In(index, values), errno) => one_of(index, values, refuse(errno), allow),
        Verdict::RefuseIf(Condition::NotIn(index, values), errno) => one_of(index, values, allow, refuse(errno)),
        Verdict::RefuseIf(Condition::HasAny(index, bits), errno) => {
            vec![step(LOAD, argument(index)), branch(JUMP_ANY_BIT, bits, 0, 1), refuse(errno), allow]
        }
    }
}

fn one_of(index: u8, values: &[u32], hit: Instruction, miss: Instruction) -> Vec<Instruction> {
    let mut all = vec![step(LOAD, argument(index))];
    for &value in values {
        all.extend([branch(JUMP_EQUAL, value, 0, 1), hit]);
    }
    all.push(miss);
    all
}

fn length(block: &[Instruction]) -> u32 {
    u32::try_from(block.len()).expect("a block is a few hundred instructions")
}

const fn step(code: u16, value: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, value }
}

const fn branch(code: u16, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, value }
}

#[cfg(test)]
mod tests;
