//! What a root file system is, seen from its files: its init and the instruction set of its programs.

use roost_types::Arch;
use serde::{Deserialize, Serialize};

use crate::tree::{Body, Tree};

/// Where an init is looked for, in order.
const INITS: [&str; 4] = ["/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd"];
/// Programs that every usable root file system has one of.
const PROGRAMS: [&str; 9] = [
    "/bin/sh",
    "/bin/busybox",
    "/bin/bash",
    "/bin/dash",
    "/usr/bin/sh",
    "/usr/bin/env",
    "/sbin/init",
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
];

/// Which program an init is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitKind {
    /// systemd.
    Systemd,
    /// BusyBox.
    Busybox,
    /// OpenRC, whose init is BusyBox's or its own.
    Openrc,
    /// System V's, or another.
    Other,
}

/// The image's own init: its path and what it is.
#[must_use]
pub fn init(tree: &Tree) -> Option<(&'static str, InitKind)> {
    let is_file = |path: &str| tree.lookup(path).filter(|node| matches!(tree.node(*node).body, Body::File(_)));
    let path = INITS.into_iter().find(|path| is_file(path).is_some())?;
    let node = is_file(path)?;
    let same = |other: &str| is_file(other) == Some(node);
    let kind = if same("/lib/systemd/systemd") || same("/usr/lib/systemd/systemd") {
        InitKind::Systemd
    } else if is_file("/sbin/openrc").or_else(|| is_file("/usr/sbin/openrc")).is_some() {
        InitKind::Openrc
    } else if same("/bin/busybox") || same("/usr/bin/busybox") {
        InitKind::Busybox
    } else {
        InitKind::Other
    };
    Some((path, kind))
}

/// The instruction set of the first known program that is an ELF file for one of ours.
#[must_use]
pub fn arch(tree: &Tree) -> Option<Arch> {
    PROGRAMS.into_iter().filter_map(|path| tree.lookup(path)).find_map(|node| match &tree.node(node).body {
        Body::File(region) => {
            let mut header = [0; 40];
            region.read_at(&mut header, 0).ok()?;
            elf_arch(&header)
        }
        Body::Directory(_) | Body::Symlink(_) => None,
    })
}

/// From the first 40 bytes of a little-endian ELF file.
fn elf_arch(header: &[u8; 40]) -> Option<Arch> {
    const HARD_FLOAT: u32 = 0x400;
    let (class, order) = (header[4], header[5]);
    if !header.starts_with(b"\x7FELF") || order != 1 {
        return None;
    }
    let machine = u16::from_le_bytes([header[18], header[19]]);
    let flags = u32::from_le_bytes([header[36], header[37], header[38], header[39]]);
    match (machine, class) {
        (62, 2) => Some(Arch::Amd64),
        (183, 2) => Some(Arch::Arm64),
        (40, 1) if flags & HARD_FLOAT != 0 => Some(Arch::Armhf),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_tell_their_instruction_set() {
        let header = |machine: u8, class: u8, flags: u32| {
            let mut header = [0; 40];
            header[..6].copy_from_slice(&[0x7F, b'E', b'L', b'F', class, 1]);
            header[18] = machine;
            header[36..].copy_from_slice(&flags.to_le_bytes());
            header
        };
        assert_eq!(elf_arch(&header(62, 2, 0)), Some(Arch::Amd64));
        assert_eq!(elf_arch(&header(183, 2, 0)), Some(Arch::Arm64));
        assert_eq!(elf_arch(&header(40, 1, 0x0500_0400)), Some(Arch::Armhf));
        // Soft floats: Debian's armel.
        assert_eq!(elf_arch(&header(40, 1, 0x0500_0200)), None);
        // x32 and RISC-V.
        assert_eq!(elf_arch(&header(62, 1, 0)), None);
        assert_eq!(elf_arch(&header(243, 2, 0)), None);
        assert_eq!(elf_arch(&[0; 40]), None);
    }
}
