//! The filters as the kernel would run them, and the table against libseccomp's and this machine's numbers.

use std::process::Command;

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
            JUMP => at += op.value as usize,
            RETURN => return op.value,
            code => panic!("unexpected instruction {code:#x}"),
        }
    }
}

const MACHINES: [&[Convention]; 3] =
    [&[Convention::X86_64], &[Convention::Aarch64, Convention::Arm], &[Convention::Arm]];

/// Arguments for which a condition holds, and for which it does not.
fn arguments(condition: Condition) -> ([u32; 6], [u32; 6]) {
    let (index, holds, fails) = match condition {
        Condition::In(index, values) => (index, values[0], u32::MAX),
        Condition::NotIn(index, values) => (index, 0x1234, values[0]),
        Condition::HasAny(index, bits) => (index, bits & bits.wrapping_neg(), 0),
    };
    let with = |value| {
        let mut all = [0; 6];
        all[usize::from(index)] = value;
        all
    };
    (with(holds), with(fails))
}

#[test]
fn every_call_gets_its_verdict_on_every_machine() {
    for profile in [Profile::App, Profile::System] {
        for machine in MACHINES {
            let program = emit(machine, profile);
            for &convention in machine {
                for name in table::names() {
                    let Some(number) = table::number(name, convention) else { continue };
                    let answer = |arguments| run(&program, convention.audit_arch(), number, arguments);
                    let case = format!("{profile:?} {convention:?} {name}");
                    match policy::verdict(profile, name) {
                        Verdict::Allow => assert_eq!(answer([u32::MAX; 6]), ALLOW, "{case}"),
                        Verdict::Refuse(errno) => assert_eq!(answer([0; 6]), ERRNO | errno as u32, "{case}"),
                        Verdict::RefuseIf(condition, errno) => {
                            let (holds, fails) = arguments(condition);
                            assert_eq!(answer(holds), ERRNO | errno as u32, "{case}");
                            assert_eq!(answer(fails), ALLOW, "{case}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_call_of_the_future_does_not_exist_for_an_app() {
    for (profile, expected) in [(Profile::App, ERRNO | libc::ENOSYS as u32), (Profile::System, ALLOW)] {
        for machine in MACHINES {
            let program = emit(machine, profile);
            assert_eq!(run(&program, machine[0].audit_arch(), 999, [0; 6]), expected, "{profile:?}");
        }
    }
}

#[test]
fn a_foreign_calling_convention_is_killed() {
    let program = emit(&[Convention::X86_64], Profile::App);
    assert_eq!(run(&program, Convention::Arm.audit_arch(), 0, [0; 6]), KILL_PROCESS);
    assert_eq!(run(&program, Convention::X86_64.audit_arch(), 0, [0; 6]), ALLOW);
}

#[test]
fn x32_calls_are_unknown() {
    let program = emit(&[Convention::X86_64], Profile::System);
    let answer = run(&program, Convention::X86_64.audit_arch(), X32_BIT, [0; 6]);
    assert_eq!(answer, ERRNO | libc::ENOSYS as u32);
}

#[test]
fn the_tiny_init_may_do_nothing_but_its_work() {
    let program = compile_init();
    let native = table::native()[0];
    let answer = |name: &str| run(&program, native.audit_arch(), table::number(name, native).expect(name), [0; 6]);
    assert_eq!(answer("wait4"), ALLOW);
    assert_eq!(answer("openat"), ERRNO | libc::EPERM as u32);
}

#[test]
fn a_filter_fits_the_kernels_limit() {
    for profile in [Profile::App, Profile::System] {
        for machine in MACHINES {
            let length = emit(machine, profile).instructions().len();
            assert!(length < 2000, "{profile:?}: {length} instructions, and the kernel takes 4,096");
        }
    }
}

#[test]
fn the_table_agrees_with_the_numbers_of_this_machine() {
    let native = table::native()[0];
    for (name, number) in [
        ("mount", libc::SYS_mount),
        ("clone", libc::SYS_clone),
        ("bpf", libc::SYS_bpf),
        ("openat", libc::SYS_openat),
        ("keyctl", libc::SYS_keyctl),
        ("statx", libc::SYS_statx),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("close_range", libc::SYS_close_range),
    ] {
        assert_eq!(table::number(name, native), Some(number as u32), "{name}");
    }
}

#[test]
fn the_table_agrees_with_libseccomps() {
    for (convention, arch) in
        [(Convention::X86_64, "x86_64"), (Convention::Aarch64, "aarch64"), (Convention::Arm, "arm")]
    {
        for name in table::names() {
            let Some(number) = table::number(name, convention) else { continue };
            let asked = Command::new("scmp_sys_resolver").args(["-a", arch, name]).output();
            let asked = asked.expect("the package 'seccomp' is installed");
            let theirs = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
            // A call that is newer than the library.
            if theirs != "-1" {
                assert_eq!(theirs, number.to_string(), "{arch} {name}");
            }
        }
    }
}
