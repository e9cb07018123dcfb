//! Which devices a container may use, as version 1 takes it (lines of text) and as version 2 does (a small program that
//! the kernel asks for each device that is opened or made).
//!
//! The user namespace keeps a container from making device nodes, and nothing it can mount shows any; this is the second
//! fence. On version 2 it stands on the group above all containers, once.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use crate::runtime::linux::dev;
use crate::runtime::linux::sys::{self, BpfInstruction};
use crate::runtime::linux::wire::{Context, Failure};

/// Beside the devices of [`dev`]: console, terminal multiplexer, and every terminal, which has no one minor number.
const TERMINALS: [(u32, Option<u32>); 3] = [(5, Some(1)), (5, Some(2)), (136, None)];

/// Major and minor numbers of the character devices a container may use; no minor number means all of them.
fn allowed() -> impl Iterator<Item = (u32, Option<u32>)> {
    dev::DEVICES.iter().map(|(_, major, minor)| (*major, Some(*minor))).chain(TERMINALS)
}

/// The lines for `devices.allow` of version 1.
pub fn allow_lines() -> impl Iterator<Item = String> {
    allowed().map(|(major, minor)| match minor {
        Some(minor) => format!("c {major}:{minor} rwm"),
        None => format!("c {major}:* rwm"),
    })
}

/// Restricts everything below a group of the unified hierarchy to the list; may be repeated. `false` where the kernel
/// takes no such program.
///
/// # Errors
/// What the kernel says.
pub fn restrict(group: &Path) -> Result<bool, Failure> {
    let directory = fs::File::open(group).step(|| format!("open {}", group.display()))?;
    match sys::bpf_device_programs(directory.as_fd()) {
        Ok(0) => {}
        Ok(_) => return Ok(true),
        // It has no CONFIG_CGROUP_BPF.
        Err(_) => return Ok(false),
    }
    let name = || format!("restrict the devices of {}", group.display());
    let program = sys::bpf_load_device_program(&program()).step(name)?;
    sys::bpf_attach_device_program(directory.as_fd(), program.as_fd()).step(name)?;
    Ok(true)
}

/// Whether the kernel takes such a program.
#[must_use]
pub fn are_asked_for(group: &Path) -> bool {
    fs::File::open(group).is_ok_and(|directory| sys::bpf_device_programs(directory.as_fd()).is_ok())
}

/// The context holds the kind (low half of the first word), the major and the minor number.
fn program() -> Vec<BpfInstruction> {
    const KIND: u8 = 2;
    const MAJOR: u8 = 3;
    const MINOR: u8 = 4;
    const CHARACTER: i32 = 2;
    let mut all = vec![
        BpfInstruction::load_word(KIND, 1, 0),
        BpfInstruction::and(KIND, 0xffff),
        BpfInstruction::load_word(MAJOR, 1, 4),
        BpfInstruction::load_word(MINOR, 1, 8),
        BpfInstruction::skip_if_equal(KIND, CHARACTER, 2),
    ];
    all.extend(BpfInstruction::answer(0));
    for (major, minor) in allowed() {
        let allow = BpfInstruction::answer(1);
        match minor {
            Some(minor) => {
                all.push(BpfInstruction::skip_unless_equal(MAJOR, major.cast_signed(), 3));
                all.push(BpfInstruction::skip_unless_equal(MINOR, minor.cast_signed(), 2));
            }
            None => all.push(BpfInstruction::skip_unless_equal(MAJOR, major.cast_signed(), 2)),
        }
        all.extend(allow);
    }
    all.extend(BpfInstruction::answer(0));
    all
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn version_1_is_told_in_its_own_words() {
        let lines: Vec<String> = allow_lines().collect();
        assert_eq!(lines[0], "c 1:3 rwm");
        assert_eq!(lines[8], "c 136:* rwm");
    }

    /// Needs root and a unified hierarchy, as the hybrid layout has one too.
    #[test]
    fn even_the_boards_root_cannot_open_other_devices_inside() {
        let unified = Path::new("/sys/fs/cgroup/unified");
        let point = if unified.exists() { unified } else { Path::new("/sys/fs/cgroup") };
        let group = point.join(format!("roost-devices-test-{}", std::process::id()));
        fs::create_dir(&group).expect("a group");
        assert!(restrict(&group).expect("a device list"));
        assert!(restrict(&group).expect("a device list again"));
        let open = |device: &str| {
            let script = format!("echo 0 > {}/cgroup.procs && exec 3< {device}", group.display());
            Command::new("sh").args(["-c", &script]).output().expect("sh").status.success()
        };
        let (null, control) = (open("/dev/null"), open("/dev/loop-control"));
        fs::remove_dir(&group).expect("the group is empty");
        assert!(null, "/dev/null can be opened");
        assert!(!control, "/dev/loop-control cannot");
    }
}
