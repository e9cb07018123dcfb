//! The writable layer of an allocation: as a tar archive out of one node and into another, as a snapshot beside itself.
//!
//! Every file is opened and made by descriptor, below the layer's directory and through no symbolic link. Numeric
//! owners, modes, times, hard links, overlay whiteouts (character devices 0/0) and opaque directories survive. Sockets,
//! device nodes and file capabilities do not: they stay behind when a layer goes to another node, and are kept in a
//! snapshot. An archive and a snapshot have the owners that the container sees, whichever form the layer has
//! ([`crate::owners`]).

mod copy;
mod give;
pub mod snapshots;

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

pub use copy::{Shell, copy, flush, shell};
pub use give::give;
use roost_types::MemoryBytes;
use rustix::fs::{CWD, Mode, OFlags};

use crate::trees::{Pack, Rules, TreeError, unpack};

/// Why a layer cannot be moved.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A file of the layer.
    #[error("{step} '{path}' of the layer")]
    File {
        /// What was being done.
        step: &'static str,
        /// Path in the layer.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Its archive.
    #[error("the archive of the layer")]
    Archive(#[from] TreeError),
    /// Bigger than it may be.
    #[error("the layer has more than {0}")]
    TooBig(String),
    /// The node's disk has no room for a copy.
    #[error("the node has {free} free, and the copy needs {needed}: delete a snapshot or an instance there")]
    NoRoom {
        /// Bytes that the copy takes, and what must stay free.
        needed: MemoryBytes,
        /// Bytes that are free.
        free: MemoryBytes,
    },
    /// The allocation has no layer.
    #[error("there are no files yet: it was never started on this node")]
    NoFiles,
    /// The snapshot is not on this node.
    #[error("the node does not have this snapshot")]
    NoSnapshot,
}

fn at<E: Into<io::Error>>(step: &'static str, path: &[u8]) -> impl FnOnce(E) -> LayerError {
    let path = String::from_utf8_lossy(path).into_owned();
    move |source| LayerError::File { step, path, source: source.into() }
}

fn open(dir: &Path, flags: OFlags) -> Result<OwnedFd, LayerError> {
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, dir, flags, Mode::empty()).map_err(at("open", dir.as_os_str().as_encoded_bytes()))
}

/// Writes the layer in `dir` to `out`.
///
/// # Errors
/// The file that cannot be read, or that the archive cannot be written on.
pub fn export<W: Write>(dir: &Path, out: W) -> Result<W, LayerError> {
    let root = open(dir, OFlags::RDONLY | OFlags::NOFOLLOW)?;
    let mut pack = Pack::new(out, Rules::LAYER);
    pack.tree(root, b".")?;
    Ok(pack.finish()?)
}

/// Fills `dir`, which must be there and empty, from `archive`; at most `max_bytes` of file contents. Returns how many
/// bytes of them there were.
///
/// # Errors
/// The entry that cannot be made, or what is wrong with the archive.
pub fn import<R: Read>(dir: &Path, archive: R, max_bytes: u64) -> Result<u64, LayerError> {
    Ok(unpack(open(dir, OFlags::PATH)?, archive, max_bytes, Rules::LAYER)?)
}

#[cfg(test)]
mod tests;
