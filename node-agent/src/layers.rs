//! The writable layer of an allocation as a tar archive, out of one node and into another.
//!
//! The tar crate only reads and writes headers: every file is opened and made here, by descriptor, below the layer's
//! directory and through no symbolic link. Numeric owners, modes, times, hard links, overlay whiteouts (character
//! devices 0/0) and opaque directories survive. Sockets, device nodes and file capabilities do not.

mod export;
mod import;

pub use export::export;
pub use import::import;

use std::io;

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
}

fn at<E: Into<io::Error>>(step: &'static str, path: &[u8]) -> impl FnOnce(E) -> LayerError {
    let path = String::from_utf8_lossy(path).into_owned();
    move |source| LayerError::File { step, path, source: source.into() }
}

#[cfg(test)]
mod tests;
