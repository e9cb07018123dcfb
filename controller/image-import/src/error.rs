//! Why an archive is not taken.

use std::io;

use serde::{Deserialize, Serialize};

/// What is wrong with one entry.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// It has no name.
    #[error("has an empty name")]
    EmptyName,
    /// Its name begins with a slash.
    #[error("has an absolute name")]
    Absolute,
    /// Its name climbs.
    #[error("has '..' in its name")]
    DotDot,
    /// Its name holds what no name may hold.
    #[error("has a NUL byte or a line break in its name")]
    NameBytes,
    /// A component is too long.
    #[error("has a component of more than {0} bytes in its name")]
    NameTooLong(usize),
    /// The path is too long.
    #[error("has a path of more than {0} bytes")]
    PathTooLong(usize),
    /// Too many directories.
    #[error("lies more than {0} directories deep")]
    TooDeep(usize),
    /// The same name came before in this archive or layer.
    #[error("is there twice")]
    Duplicate,
    /// A directory on its way is a symbolic link of the same archive or layer.
    #[error("lies below a symbolic link of the same layer")]
    ThroughSymlink,
    /// Links that lead to links without end.
    #[error("lies below symbolic links that lead in a circle")]
    LinkLoop,
    /// Something on its way is a file.
    #[error("lies below something that is not a directory")]
    NotADirectory,
    /// The target of a hard link.
    #[error("is a hard link to something that is not a file of this image")]
    LinkTarget,
    /// A hard link, a directory or a symbolic link with contents.
    #[error("carries data although it is not a file")]
    UnexpectedData,
    /// A symbolic link's text.
    #[error("is a symbolic link with an empty, too long or NUL-holding target")]
    SymlinkTarget,
    /// A whiteout.
    #[error("is not a whiteout this format knows")]
    Whiteout,
    /// A kind that means nothing here.
    #[error("is of a kind ('{0}') that a root file system cannot have")]
    Kind(char),
    /// Attributes that steer the host's overlay or trust.
    #[error("has the extended attribute '{0}', which no image may set")]
    Xattr(String),
    /// Attributes beyond what can be stored.
    #[error("has too many or too large extended attributes")]
    XattrSize,
    /// Two headers that disagree.
    #[error("has an extension header that contradicts its own header: {0}")]
    Contradiction(&'static str),
    /// Sparse.
    #[error("is stored sparse: pack without --sparse")]
    Sparse,
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// One entry breaks a rule.
    #[error("entry '{path}' {fault}")]
    Entry {
        /// Its name, made printable and cut.
        path: String,
        /// The rule.
        fault: Fault,
    },
    /// The archive as a whole.
    #[error("{0}")]
    Archive(String),
    /// No or several images for what was asked.
    #[error("{0}")]
    Platform(String),
    /// A cap.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What grew too large.
        what: &'static str,
        /// How large it may be.
        limit: u64,
    },
    /// A file.
    #[error("{step}: {source}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl ImportError {
    pub(crate) fn entry(path: &[u8], fault: Fault) -> Self {
        Self::Entry { path: printable(path), fault }
    }

    pub(crate) fn archive(text: impl Into<String>) -> Self {
        Self::Archive(text.into())
    }

    pub(crate) fn io(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }

    /// Whose fault it is, for whoever answers the user.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Entry { .. } | Self::Archive(_) => Blame::Archive,
            Self::Platform(_) => Blame::Platform,
            Self::Limit { .. } => Blame::Limit,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Blame::Disk,
                _ => Blame::Host,
            },
        }
    }
}

/// Whose fault a failed import is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The archive is wrong or hostile.
    Archive,
    /// It has no image for the architecture that was asked for.
    Platform,
    /// It is too large.
    Limit,
    /// The disk is full.
    Disk,
    /// Something else failed on this machine.
    Host,
}

/// Bytes as text that fits into a message.
pub(crate) fn printable(bytes: &[u8]) -> String {
    const KEPT: usize = 120;
    let text: String = String::from_utf8_lossy(bytes).escape_debug().take(KEPT).collect();
    if bytes.len() > KEPT { format!("{text}…") } else { text }
}
