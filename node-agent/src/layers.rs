//! The writable layer of an allocation as a tar archive, out of one node and into another.
//!
//! Numeric owners, modes, times, hard links, overlay whiteouts (character devices 0/0) and opaque directories survive.
//! Sockets, device nodes and file capabilities do not.

use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use crate::trees::{Pack, Rules, TreeError, unpack};

fn open(dir: &Path, flags: OFlags) -> Result<std::os::fd::OwnedFd, TreeError> {
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, dir, flags, Mode::empty()).map_err(|error| TreeError::File {
        step: "open",
        path: dir.to_string_lossy().into_owned(),
        source: error.into(),
    })
}

/// Writes the layer in `dir` to `out`.
///
/// # Errors
/// The file that cannot be read, or that the archive cannot be written on.
pub fn export<W: Write>(dir: &Path, out: W) -> Result<W, TreeError> {
    let root = open(dir, OFlags::RDONLY | OFlags::NOFOLLOW)?;
    let mut pack = Pack::new(out, Rules::LAYER);
    pack.tree(root, b".")?;
    pack.finish()
}

/// Fills `dir`, which must be there and empty, from `archive`; at most `max_bytes` of file contents.
///
/// # Errors
/// The entry that cannot be made, or what is wrong with the archive.
pub fn import<R: Read>(dir: &Path, archive: R, max_bytes: u64) -> Result<(), TreeError> {
    unpack(open(dir, OFlags::PATH)?, archive, max_bytes, Rules::LAYER)
}

#[cfg(test)]
mod tests;
