//! The private id range of a container: 65,536 host ids that nobody else on the node uses.

use std::fs;
use std::os::fd::OwnedFd;

use super::wire::{Context, Failure};
use crate::owners::IDS;

/// Maps the ids of the user namespace that process `pid` was born in.
///
/// # Errors
/// The step that failed.
pub fn map(pid: i32, base: u32) -> Result<(), Failure> {
    for name in ["uid_map", "gid_map"] {
        let file = format!("/proc/{pid}/{name}");
        let line = format!("0 {base} {IDS}\n");
        fs::write(&file, &line).step(|| format!("write '{}' to {file}", line.trim_end()))?;
    }
    Ok(())
}

/// The user namespace of process `pid`.
///
/// # Errors
/// The step that failed.
pub fn open(pid: i32) -> Result<OwnedFd, Failure> {
    let path = format!("/proc/{pid}/ns/user");
    fs::File::open(&path).map(Into::into).step(|| format!("open {path}"))
}
