//! The writable layer of an allocation: as a tar archive out of one node and into another, as a snapshot beside itself.
//!
//! The tar crate only reads and writes headers: every file is opened and made here, by descriptor, below the layer's
//! directory and through no symbolic link. Numeric owners, modes, times, hard links, overlay whiteouts (character
//! devices 0/0) and opaque directories survive. Sockets, device nodes and file capabilities do not: they stay behind when a
//! layer goes to another node, and are kept in a snapshot.

mod copy;
mod export;
mod import;
pub mod snapshots;

pub use copy::copy;
pub use export::export;
pub use import::import;

use std::io;

use roost_types::MemoryBytes;

/// The most entries of a layer.
const MAX_ENTRIES: u64 = 1_000_000;
/// The deepest path of a layer.
const MAX_DEPTH: usize = 256;
/// Extended attributes that travel: opaque directories, as either way of mounting an overlay marks them.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
/// Prefix of extended attributes in a pax header.
const PAX_XATTR: &str = "SCHILY.xattr.";

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
    /// The archive cannot be read or written on.
    #[error("the archive broke off")]
    Archive(#[source] io::Error),
    /// The archive has no end mark: its sender failed.
    #[error("the archive is not complete")]
    Incomplete,
    /// A name that would leave the layer.
    #[error("the archive has an entry '{0}' that is not below its root")]
    BadName(String),
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

#[cfg(test)]
mod tests;
