//! What is asked of files, done below a root that is an open directory.
//!
//! Runs in a process that has entered the container (its root, its users, its limits): what is written belongs to the
//! container's ids and counts against its memory. No path is ever joined and opened by name: every look-up is `openat2`
//! with `RESOLVE_IN_ROOT` from the root's descriptor, so that neither `..` nor a link that is swapped meanwhile leads out
//! of it. It owns no policy about who may ask.

mod change;
mod read;
pub(crate) mod way;

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use roost_types::Code;
use roost_types::file::{FileFailure, FileRequest};
use rustix::io::Errno;

use crate::trees::{Rules, TreeError, unpack};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The path itself cannot be used.
    #[error("{0}")]
    Path(String),
    /// It is another kind of thing than what was asked needs.
    #[error("{0}")]
    Kind(String),
    /// The kernel refused a step.
    #[error("{step} {path}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// To what.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
    /// There is no room for what is announced.
    #[error("{path}: {bytes} bytes do not fit, there is room for {room}")]
    NoRoom {
        /// What was to be written.
        path: String,
        /// Announced.
        bytes: u64,
        /// There.
        room: u64,
    },
    /// Less came than was announced.
    #[error("{path}: the content ended {missing} bytes early; nothing was replaced")]
    CutOff {
        /// What was to be written.
        path: String,
        /// How much did not come.
        missing: u64,
    },
    /// An archive.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Nobody takes the answer.
    #[error("the answer cannot be written: {0}")]
    Output(io::Error),
}

impl FileError {
    fn step(step: &'static str, path: &str, error: impl Into<io::Error>) -> Self {
        Self::Step { step, path: path.to_owned(), source: error.into() }
    }

    /// What the user is told.
    #[must_use]
    pub fn failure(&self) -> FileFailure {
        let code = match self {
            Self::Path(_) => Code::InvalidQuery,
            Self::Kind(_) => Code::Conflict,
            Self::Step { source, .. } => code_of(source),
            Self::NoRoom { .. } => Code::DiskFull,
            Self::CutOff { .. } => Code::InvalidField,
            Self::Tree(TreeError::File { source, .. }) => code_of(source),
            Self::Tree(TreeError::TooBig(_)) => Code::BodyTooLarge,
            Self::Tree(TreeError::Archive(_) | TreeError::Incomplete | TreeError::BadName(_)) => Code::MalformedArchive,
            Self::Output(_) => Code::Internal,
        };
        let detail = match self {
            Self::Step { path, .. } if code == Code::NotFound => format!("there is no '{path}' in the instance"),
            Self::Path(_)
            | Self::Kind(_)
            | Self::Step { .. }
            | Self::NoRoom { .. }
            | Self::CutOff { .. }
            | Self::Tree(_)
            | Self::Output(_) => crate::errors::chain(self),
        };
        FileFailure { code, detail }
    }
}

fn code_of(error: &io::Error) -> Code {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => Code::NotFound,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Code::Forbidden,
        Some(Errno::NOSPC | Errno::DQUOT) => Code::DiskFull,
        Some(Errno::NAMETOOLONG | Errno::INVAL) => Code::InvalidQuery,
        Some(Errno::FBIG) => Code::BodyTooLarge,
        Some(
            Errno::NOTDIR | Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY | Errno::LOOP | Errno::BUSY | Errno::TXTBSY,
        ) => Code::Conflict,
        Some(_) | None => Code::Internal,
    }
}

/// Does what is asked below `root`.
///
/// # Errors
/// Why it could not be done. What was there before is as it was, except for `Unpack`, which may have come part of its
/// way, and a recursive `Delete`.
pub fn serve(
    root: BorrowedFd<'_>,
    request: &FileRequest,
    input: impl Read,
    output: impl Write,
) -> Result<(), FileError> {
    let path = roost_types::file::check_path(request.path()).map_err(FileError::Path)?;
    match request {
        FileRequest::Read { .. } => read::read(root, path, output),
        FileRequest::Pack { follow, .. } => read::pack(root, path, *follow, output),
        FileRequest::Write { attributes, parents, bytes, .. } => {
            change::write(root, path, *attributes, *parents, *bytes, input)
        }
        FileRequest::MakeDirectory { attributes, parents, .. } => {
            change::make_directory(root, path, *attributes, *parents)
        }
        FileRequest::Unpack { max_bytes, .. } => {
            // Opened to see that it is there; links on the way from it are followed from the root.
            drop(way::open_directory(root, path)?);
            let rules = Rules { base: path.trim_start_matches('/').into(), ..Rules::INSIDE };
            let root = root.try_clone_to_owned().map_err(|error| FileError::step("open", "/", error))?;
            unpack(root, input, *max_bytes, rules)?;
            Ok(())
        }
        FileRequest::Delete { recursive, .. } => change::delete(root, path, *recursive),
    }
}

#[cfg(test)]
mod tests;
