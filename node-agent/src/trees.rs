//! Trees of files as tar archives, packed and unpacked by descriptor.
//!
//! The tar crate only reads and writes headers: every file is opened and made here, below a directory that is open
//! already. [`Rules`] say what kind of tree it is: an allocation's writable layer, files inside a running container, or
//! files of the person at the command line.

mod pack;
mod pieces;
mod unpack;

pub use pack::Pack;
pub use pieces::Pieces;
pub use unpack::unpack;

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The most entries of a tree.
pub const MAX_ENTRIES: u64 = 1_000_000;
/// The deepest path of a tree.
pub const MAX_DEPTH: usize = 256;
/// Extended attributes that travel with a layer: opaque directories, as either way of mounting an overlay marks them. A
/// node knows the mark of its own way only, so a directory that arrives with one gets both.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
/// Prefix of extended attributes in a pax header.
const PAX_XATTR: &str = "SCHILY.xattr.";

/// What kind of tree it is.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Marks of an overlay's layer and pipes are part of it.
    pub layer: bool,
    /// Whose files they are.
    pub owner: Owner,
    /// Others change it meanwhile: what vanishes is left out, and what becomes shorter is filled with zeros, as with
    /// other archivers.
    pub live: bool,
    /// What is there already is replaced, directories are merged.
    pub merge: bool,
    /// How directories on the way are found.
    pub way: Way,
    /// Path below the root under which everything is unpacked; links on the way from there see the whole root.
    pub base: Vec<u8>,
    /// The first part of every name is replaced by this one.
    pub top: Option<Vec<u8>>,
}

/// Whose the files of an archive, or of what is unpacked, are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Those that they have.
    Kept,
    /// These.
    Given {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
    /// The calling process's; set-id bits are dropped.
    Mine,
}

/// How directories on the way to an entry are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Through no symbolic link.
    NoLinks,
    /// Symbolic links are followed inside the root.
    LinksInside,
}

impl Rules {
    /// An allocation's writable layer.
    pub const LAYER: Self = Self {
        layer: true,
        owner: Owner::Kept,
        live: false,
        merge: false,
        way: Way::NoLinks,
        base: Vec::new(),
        top: None,
    };
    /// Files inside a running container.
    pub const INSIDE: Self = Self {
        layer: false,
        owner: Owner::Kept,
        live: true,
        merge: true,
        way: Way::LinksInside,
        base: Vec::new(),
        top: None,
    };
    /// Files of a person, out of an archive that may mean harm.
    pub const LOCAL: Self = Self {
        layer: false,
        owner: Owner::Mine,
        live: true,
        merge: true,
        way: Way::NoLinks,
        base: Vec::new(),
        top: None,
    };
}

/// Why a tree cannot be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file of the tree.
    #[error("{step} '{path}'")]
    File {
        /// What was being done.
        step: &'static str,
        /// Path in the tree.
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
    /// A name that would leave the tree.
    #[error("the archive has an entry '{0}' that is not below its root")]
    BadName(String),
    /// Bigger than it may be.
    #[error("there is more than {0}")]
    TooBig(String),
}

/// Whether an overlay has marked a directory opaque.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    OPAQUE.iter().any(|name| rustix::fs::fgetxattr(dir, *name, &mut [0_u8; 8]).is_ok())
}

/// Marks a directory opaque for either way of mounting an overlay. Some file systems, and some callers, can have one of
/// the marks only.
pub(crate) fn mark_opaque(dir: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let marks = OPAQUE.map(|name| rustix::fs::fsetxattr(dir, name, b"y", XattrFlags::empty()));
    match marks {
        [Ok(()), Ok(()) | Err(Errno::NOTSUP | Errno::PERM)] | [Err(Errno::NOTSUP | Errno::PERM), Ok(())] => Ok(()),
        [Err(error), _] | [_, Err(error)] => Err(error),
    }
}

fn at<E: Into<io::Error>>(step: &'static str, path: &[u8]) -> impl FnOnce(E) -> TreeError {
    let path = String::from_utf8_lossy(path).into_owned();
    move |source| TreeError::File { step, path, source: source.into() }
}
