//! A layer whose files are given to another range of ids, in place.
//!
//! Needed when a layer comes from elsewhere (a move, a restore, a snapshot), which is always in the form that the container
//! sees, to a node whose kernel does not map ids; and back, when that node gets a newer kernel. Nothing may use the layer
//! meanwhile. The owner of its root says which form a layer has, and is set last: what a power cut leaves half done is
//! done again, and an id that has its form already stays as it is.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags, fstat};

use super::copy::{Attribute, attributes, check_depth, count, flush, look, names, open, open_root};
use super::{LayerError, at};
use crate::owners::{self, IDS};
use crate::trees::{is_opaque, mark_opaque};

/// On a file whose owner is being changed: its mode (two bytes) and its capability, which the change takes away. Nothing in
/// a container can see or set it.
const KEPT: &str = "trusted.roost.kept";
const CAPABILITY: &str = "security.capability";
/// Bits that a new owner takes away.
const SET_ID: u32 = 0o6000;

/// Gives a layer to the range that begins at `base`; returns whether it was another's. A layer that is not there is.
///
/// # Errors
/// The step that failed; what was done stays done.
pub fn give(layer: &Path, base: u32) -> Result<bool, LayerError> {
    if !layer.exists() {
        return Ok(false);
    }
    let root = open_root(layer)?;
    let stat = fstat(&root).map_err(at("look at", b"."))?;
    if stat.st_uid - stat.st_uid % IDS == base {
        return Ok(false);
    }
    let mut giving = Giving { base, entries: 0 };
    giving.below(root.as_fd(), b".", 0)?;
    // What overlayfs keeps in its work directory is of the old range.
    let work = layer.with_file_name("work");
    if work.exists() {
        let path = work.as_os_str().as_bytes();
        fs::remove_dir_all(&work).and_then(|()| fs::create_dir(&work)).map_err(at("empty", path))?;
    }
    flush(layer)?;
    giving.change(root.as_fd(), &stat, b".")?;
    flush(layer)?;
    Ok(true)
}

struct Giving {
    base: u32,
    entries: u64,
}

impl Giving {
    fn below(&mut self, dir: BorrowedFd<'_>, path: &[u8], depth: usize) -> Result<(), LayerError> {
        check_depth(depth)?;
        for name in names(dir, path)? {
            count(&mut self.entries)?;
            let below = [path, b"/", &name].concat();
            let stat = look(dir, &name, &below)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let inner = open(dir, &name, OFlags::DIRECTORY, &below)?;
                    self.below(inner.as_fd(), &below, depth + 1)?;
                    self.change(inner.as_fd(), &stat, &below)?;
                }
                FileType::RegularFile => {
                    let file = open(dir, &name, OFlags::empty(), &below)?;
                    self.change(file.as_fd(), &stat, &below)?;
                }
                FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Unknown => self.change_by_name(dir, &name, &stat, &below)?,
            }
        }
        Ok(())
    }

    fn change(&self, file: BorrowedFd<'_>, stat: &Stat, path: &[u8]) -> Result<(), LayerError> {
        let found = attributes(file, path)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let kept = if is_directory { None } else { keep(file, stat, &found, path)? };
        let (uid, gid) = self.owner(stat);
        rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(at("set the owner of", path))?;
        for (name, value) in &found {
            let given = owners::attribute(name, value, self.base);
            if given != *value && name != CAPABILITY.as_bytes() {
                set(file, OsStr::from_bytes(name), &given, path)?;
            }
        }
        if let Some((mode, capability)) = kept {
            rustix::fs::fchmod(file, mode).map_err(at("set the mode of", path))?;
            if !capability.is_empty() {
                let given = owners::attribute(CAPABILITY.as_bytes(), &capability, self.base);
                set(file, OsStr::new(CAPABILITY), &given, path)?;
            }
            rustix::fs::fremovexattr(file, KEPT).map_err(at("remove an attribute of", path))?;
        }
        if is_directory && is_opaque(file) {
            mark_opaque(file).map_err(at("mark opaque", path))?;
        }
        Ok(())
    }

    fn change_by_name(&self, dir: BorrowedFd<'_>, name: &[u8], stat: &Stat, path: &[u8]) -> Result<(), LayerError> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::chownat(dir, OsStr::from_bytes(name), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(at("set the owner of", path))
    }

    fn owner(&self, stat: &Stat) -> (Uid, Gid) {
        let [uid, gid] = [stat.st_uid, stat.st_gid].map(|stored| owners::id(stored, self.base));
        (Uid::from_raw(uid), Gid::from_raw(gid))
    }
}

/// Writes down what a new owner takes away, on the file itself, so that it comes back whenever the board dies.
fn keep(
    file: BorrowedFd<'_>,
    stat: &Stat,
    found: &[Attribute],
    path: &[u8],
) -> Result<Option<(Mode, Vec<u8>)>, LayerError> {
    let value =
        |name: &str| found.iter().find(|(found, _)| found == name.as_bytes()).map(|(_, value)| value.as_slice());
    if let Some([low, high, capability @ ..]) = value(KEPT) {
        let mode = Mode::from_raw_mode(u16::from_le_bytes([*low, *high]).into());
        return Ok(Some((mode, capability.to_vec())));
    }
    let capability = value(CAPABILITY).unwrap_or_default();
    if stat.st_mode & SET_ID == 0 && capability.is_empty() {
        return Ok(None);
    }
    let bits = u16::try_from(stat.st_mode & 0o7777).unwrap_or(0);
    set(file, OsStr::new(KEPT), &[&bits.to_le_bytes(), capability].concat(), path)?;
    Ok(Some((Mode::from_raw_mode(bits.into()), capability.to_vec())))
}

fn set(file: BorrowedFd<'_>, name: &OsStr, value: &[u8], path: &[u8]) -> Result<(), LayerError> {
    rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()).map_err(at("set an attribute of", path))
}
