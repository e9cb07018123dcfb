//! One layer onto the tree: which members become what, what is dropped and counted, what is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::error::{Fault, ImportError, printable};
use crate::members::{Member, MemberKind, Members};
use crate::region::Region;
use crate::tree::{Body, Meta, Tree};

/// Begins the names that take something away.
const WHITEOUT: &[u8] = b".wh.";
/// Empties a directory of what earlier layers have in it.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Bytes of a link's text, as Linux has it.
const MAX_TARGET: usize = 4095;
/// Bytes of all attributes of one inode, so that they fit into one block with it.
const MAX_XATTRS: usize = 3072;
/// Bytes of an attribute besides its name and value, padding included.
const XATTR_OVERHEAD: usize = 8;

/// What an image had that no container may bring along.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// Character and block devices.
    pub devices: u64,
    /// Named pipes.
    pub fifos: u64,
    /// File capabilities.
    pub file_capabilities: u64,
    /// Other attributes outside the `user` name space.
    pub xattrs: u64,
}

/// What whiteouts mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whiteouts {
    /// They take away from earlier layers.
    Apply,
    /// There are no earlier layers: a name of that kind is refused.
    Refuse,
}

/// Applies one plain tar archive to the tree.
///
/// # Errors
/// What is wrong with its first bad member, or with the archive.
pub fn apply(
    tree: &mut Tree,
    archive: Region,
    whiteouts: Whiteouts,
    budget: &mut Budget,
    dropped: &mut Dropped,
) -> Result<(), ImportError> {
    tree.begin_layer();
    for member in Members::new(archive) {
        let member = member?;
        let attributes: usize = member.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        budget.entry(member.path.len() + member.target.len() + attributes)?;
        let path = member.path.clone();
        place(tree, member, whiteouts, budget, dropped).map_err(|fault| ImportError::entry(&path, fault))?;
    }
    Ok(())
}

fn place(
    tree: &mut Tree,
    member: Member,
    whiteouts: Whiteouts,
    budget: &Budget,
    dropped: &mut Dropped,
) -> Result<(), Fault> {
    let path = budget.limits().components(&member.path)?;
    if path.iter().any(|part| part.starts_with(WHITEOUT)) {
        return take_away(tree, &path, &member, whiteouts);
    }
    match member.kind {
        MemberKind::Device => dropped.devices += 1,
        MemberKind::Fifo => dropped.fifos += 1,
        MemberKind::HardLink => {
            let target = budget.limits().components(&member.target).map_err(|_| Fault::LinkTarget)?;
            tree.put_link(&path, &target)?;
        }
        MemberKind::File => tree.put(&path, meta(&member, dropped)?, Body::File(member.data.clone()))?,
        MemberKind::Directory => tree.put(&path, meta(&member, dropped)?, Body::Directory(BTreeMap::new()))?,
        MemberKind::Symlink => {
            let target = &member.target;
            if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) {
                return Err(Fault::SymlinkTarget);
            }
            tree.put(&path, meta(&member, dropped)?, Body::Symlink(target.clone()))?;
        }
    }
    Ok(())
}

fn take_away(tree: &mut Tree, path: &[&[u8]], member: &Member, whiteouts: Whiteouts) -> Result<(), Fault> {
    let (Some((name, way)), Whiteouts::Apply, MemberKind::File) = (path.split_last(), whiteouts, member.kind) else {
        return Err(Fault::Whiteout);
    };
    if way.iter().any(|part| part.starts_with(WHITEOUT)) || !member.data.is_empty() {
        return Err(Fault::Whiteout);
    }
    if *name == OPAQUE {
        return tree.opaque(way);
    }
    match name.strip_prefix(WHITEOUT) {
        None | Some(b"" | b"." | b"..") => Err(Fault::Whiteout),
        Some(hidden) if hidden.starts_with(WHITEOUT) => Err(Fault::Whiteout),
        Some(hidden) => tree.whiteout(way, hidden),
    }
}

fn meta(member: &Member, dropped: &mut Dropped) -> Result<Meta, Fault> {
    let mut xattrs = BTreeMap::new();
    let mut bytes = 0;
    for (name, value) in &member.xattrs {
        if let Some(short) = name.strip_prefix(b"user.") {
            bytes += XATTR_OVERHEAD + short.len() + value.len();
            if short.starts_with(b"overlay.") {
                return Err(Fault::Xattr(printable(name)));
            }
            if short.is_empty() || short.len() > 255 || short.contains(&0) || bytes > MAX_XATTRS {
                return Err(Fault::XattrSize);
            }
            xattrs.insert(short.to_vec(), value.clone());
        } else if name.starts_with(b"trusted.") {
            return Err(Fault::Xattr(printable(name)));
        } else if name == b"security.capability" {
            dropped.file_capabilities += 1;
        } else {
            dropped.xattrs += 1;
        }
    }
    Ok(Meta { mode: member.mode, uid: member.uid, gid: member.gid, mtime: member.mtime, xattrs })
}
