//! Files of an instance: what can be asked of them and what is said of them.
//!
//! Paths are those inside the instance, absolute, at most [`MAX_PATH`] bytes. Whatever a path leads through (links, `..`)
//! is resolved inside the instance's root and cannot leave it. Ids are those inside, 0 to 65,535.

use serde::{Deserialize, Serialize};

use crate::{Code, Timestamp};

/// The longest path: what the kernel takes.
pub const MAX_PATH: usize = 4096;
/// The most entries of a directory in one list; more come as an archive.
pub const MAX_LISTED: usize = 10_000;
/// The longest line that tells of a file: room for every character of a path escaped, and the numbers.
pub const MAX_INFO_LINE: usize = 64 * 1024;

/// What an entry of a directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe.
    Special,
}

impl FileKind {
    /// As text, as on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Special => "special",
        }
    }
}

/// What is known of a file without its content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileInfo {
    /// Last part of its path; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, set-id bits and sticky bit, as four octal digits.
    pub mode: String,
    /// Owner inside the instance.
    pub uid: u32,
    /// Group inside the instance.
    pub gid: u32,
    /// Bytes of content.
    pub size_bytes: u64,
    /// When its content last changed.
    pub modified_at: Timestamp,
    /// Where a symbolic link points.
    #[serde(default)]
    pub target: Option<String>,
}

/// Mode and owner of something that is made. What is absent stays as it was in what is replaced, else is the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FileAttributes {
    /// Permission bits; 0644 for a file and 0755 for a directory.
    pub mode: Option<u32>,
    /// Owner inside the instance; 0.
    pub uid: Option<u32>,
    /// Group inside the instance; 0.
    pub gid: Option<u32>,
}

/// What to do with a file. Answers come on the stream's channels: standard output begins with a [`FileInfo`] as a line of
/// JSON where something is read, then has the content; standard error has a [`FileFailure`] when it could not be done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum FileRequest {
    /// The content of a file, or the entries of a directory as a JSON list of [`FileInfo`]. Follows links.
    Read {
        /// Which.
        path: String,
    },
    /// A file or directory and all below it as a tar archive whose names begin with the path's last part.
    Pack {
        /// Which.
        path: String,
        /// Follow the path's last part when it is a symbolic link.
        follow: bool,
    },
    /// Make a file of what comes on standard input, or replace one in a single step.
    Write {
        /// Which.
        path: String,
        /// Mode and owner.
        attributes: FileAttributes,
        /// Make the directories above it where they lack.
        parents: bool,
        /// How many bytes come.
        bytes: u64,
    },
    /// Make a directory.
    MakeDirectory {
        /// Which.
        path: String,
        /// Mode and owner.
        attributes: FileAttributes,
        /// Make the directories above it where they lack; one that is there already is no error.
        parents: bool,
    },
    /// Unpack the tar archive that comes on standard input into a directory that is there.
    Unpack {
        /// Which.
        path: String,
        /// The most bytes of content it may have.
        max_bytes: u64,
    },
    /// Remove a file or directory.
    Delete {
        /// Which.
        path: String,
        /// With everything below it.
        recursive: bool,
    },
}

impl FileRequest {
    /// The path it is about.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Read { path }
            | Self::Pack { path, .. }
            | Self::Write { path, .. }
            | Self::MakeDirectory { path, .. }
            | Self::Unpack { path, .. }
            | Self::Delete { path, .. } => path,
        }
    }
}

/// Why something could not be done with a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileFailure {
    /// Kind of the error.
    pub code: Code,
    /// A sentence with the path and the reason.
    pub detail: String,
}

/// Checks a path and takes it: absolute, not too long, without NUL.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn check_path(path: &str) -> Result<&str, String> {
    if !path.starts_with('/') {
        return Err(format!("'{path}' is not a path from the instance's root: begin it with /"));
    }
    if path.len() > MAX_PATH {
        return Err(format!("the path has {} bytes; at most {MAX_PATH} are possible", path.len()));
    }
    if path.contains('\0') {
        return Err("the path has a NUL character".to_owned());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::check_path;

    #[test]
    fn a_path_is_absolute_and_bounded() {
        assert_eq!(check_path("/etc/../etc"), Ok("/etc/../etc"));
        assert!(check_path("etc").unwrap_err().contains("begin it with /"));
        assert!(check_path("").is_err() && check_path("/a\0b").is_err());
        assert!(check_path(&format!("/{}", "a".repeat(4096))).unwrap_err().contains("4097"));
    }
}
