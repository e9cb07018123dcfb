//! Writing a tree as an EROFS file: uncompressed, small tails beside their inodes, the same tree gives the same bytes.
//!
//! ```text
//!  block 0        superblock (at byte 1024)
//!  block 1 …      inodes: 64 bytes each, attributes and a short tail behind; the root comes first
//!  block m …      whole blocks of directories and files, in order of path
//! ```
//!
//! First everything gets its place ([`plan`]), then it is written front to back. The format is the one of Linux 5.4 and
//! later; nothing here needs a feature that came after.

mod directory;
mod plan;

use std::fs::File;
use std::io::{BufWriter, Write};

use crc::{CRC_32_ISCSI, Crc};

use crate::error::ImportError;
use crate::tree::{Body, Meta, Tree};
use directory::DirectoryBlocks;
use plan::{INODE_BYTES, Place, Plan};

/// Size of a block.
const BLOCK: u64 = 4096;
/// Where the superblock begins in block 0.
const SUPER_AT: usize = 1024;
/// First four bytes of the superblock.
const MAGIC: u32 = 0xE0F5_E1E2;
/// The superblock carries a checksum.
const FEATURE_CHECKSUM: u32 = 1;
/// `user.` in an attribute's name.
const XATTR_USER: u8 = 1;
/// Data in whole blocks only.
const LAYOUT_PLAIN: u16 = 0;
/// The tail of the data stands behind the inode.
const LAYOUT_INLINE: u16 = 2;
/// An inode of 64 bytes.
const EXTENDED: u16 = 1;

/// Writes the tree and returns the size of the file in bytes. `identity` goes into the superblock as the file system's id:
/// trees that are the same give different files where it differs.
///
/// # Errors
/// When the result would be over `limit` bytes, contents cannot be read, or the file cannot be written.
pub fn write(
    tree: &Tree,
    identity: [u8; 16],
    file: &File,
    limit: u64,
    mut wrote: impl FnMut(u64, u64),
) -> Result<u64, ImportError> {
    let plan = Plan::of(tree);
    let size = plan.blocks() * BLOCK;
    if size > limit {
        return Err(ImportError::Limit { what: "the size of the root file in bytes", limit });
    }
    let mut out = Output { out: BufWriter::with_capacity(1 << 20, file), at: 0 };
    out.bytes(&superblock(&plan, identity))?;
    for place in plan.places() {
        out.zeros_to(place.offset)?;
        out.inode(tree, &plan, place)?;
    }
    out.zeros_to((1 + plan.meta_blocks()) * BLOCK)?;
    for place in plan.places() {
        wrote(out.at, size);
        out.blocks(tree, &plan, place)?;
    }
    out.out.flush().map_err(ImportError::io("write the root file"))?;
    wrote(size, size);
    Ok(out.at)
}

/// Block 0.
fn superblock(plan: &Plan, identity: [u8; 16]) -> Vec<u8> {
    let mut block = vec![0; usize::try_from(BLOCK).unwrap_or_default()];
    let fields = &mut block[SUPER_AT..];
    fields[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    fields[8..12].copy_from_slice(&FEATURE_CHECKSUM.to_le_bytes());
    fields[12] = 12;
    // The root comes first: its number is 0.
    fields[16..24].copy_from_slice(&(plan.places().len() as u64).to_le_bytes());
    fields[36..40].copy_from_slice(&narrow(plan.blocks()).to_le_bytes());
    fields[40..44].copy_from_slice(&1_u32.to_le_bytes());
    fields[48..64].copy_from_slice(&identity);
    // The kernel's crc32c is not inverted at the end.
    let sum = !Crc::<u32>::new(&CRC_32_ISCSI).checksum(fields);
    fields[4..8].copy_from_slice(&sum.to_le_bytes());
    block
}

/// Block numbers fit: a root file has at most 2^20 of them.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

struct Output<W> {
    out: W,
    at: u64,
}

impl<W: Write> Output<W> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes).map_err(ImportError::io("write the root file"))
    }

    fn zeros_to(&mut self, at: u64) -> Result<(), ImportError> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while self.at < at {
            let count = usize::try_from(at - self.at).unwrap_or(ZEROS.len()).min(ZEROS.len());
            self.bytes(&ZEROS[..count])?;
        }
        Ok(())
    }

    /// The inode, its attributes, and the tail where it stands here.
    fn inode(&mut self, tree: &Tree, plan: &Plan, place: &Place) -> Result<(), ImportError> {
        let node = tree.node(place.node);
        let (kind, nlink) = match &node.body {
            Body::Directory(_) => (0o040_000, plan.links(place.node)),
            Body::File(_) => (0o100_000, plan.links(place.node)),
            Body::Symlink(_) => (0o120_000, 1),
        };
        let layout = if place.inline > 0 { LAYOUT_INLINE } else { LAYOUT_PLAIN };
        let xattrs = xattr_area(&node.meta);
        let icount = if xattrs.is_empty() { 0 } else { (xattrs.len() - 12) / 4 + 1 };
        let mut inode = Vec::with_capacity(INODE_BYTES);
        inode.extend((EXTENDED | layout << 1).to_le_bytes());
        inode.extend(u16::try_from(icount).unwrap_or_default().to_le_bytes());
        inode.extend((kind | node.meta.mode).to_le_bytes());
        inode.extend([0; 2]);
        inode.extend(place.size.to_le_bytes());
        inode.extend(narrow(place.block).to_le_bytes());
        inode.extend(place.number.to_le_bytes());
        inode.extend(node.meta.uid.to_le_bytes());
        inode.extend(node.meta.gid.to_le_bytes());
        inode.extend(node.meta.mtime.to_le_bytes());
        inode.extend([0; 4]);
        inode.extend(nlink.to_le_bytes());
        inode.extend([0; 16]);
        self.bytes(&inode)?;
        self.bytes(&xattrs)?;
        let tail = place.size - place.inline;
        self.contents(tree, plan, place, tail, place.inline)
    }

    /// The whole blocks, and a tail that got one of its own.
    fn blocks(&mut self, tree: &Tree, plan: &Plan, place: &Place) -> Result<(), ImportError> {
        let length = place.size - place.inline;
        self.contents(tree, plan, place, 0, length)?;
        self.zeros_to(self.at.next_multiple_of(BLOCK))
    }

    /// `length` bytes of what a node holds, from the position `from`.
    fn contents(&mut self, tree: &Tree, plan: &Plan, place: &Place, from: u64, length: u64) -> Result<(), ImportError> {
        if length == 0 {
            return Ok(());
        }
        match &tree.node(place.node).body {
            Body::File(region) => {
                let mut chunk = vec![0; 256 << 10];
                let (mut at, end) = (from, from + length);
                while at < end {
                    let count = usize::try_from(end - at).unwrap_or(chunk.len()).min(chunk.len());
                    region.read_at(&mut chunk[..count], at).map_err(ImportError::io("read the unpacked archive"))?;
                    self.bytes(&chunk[..count])?;
                    at += count as u64;
                }
                Ok(())
            }
            Body::Symlink(target) => self.slice(target, from, length),
            Body::Directory(_) => {
                let blocks =
                    DirectoryBlocks::of(tree, place.node).bytes(|node| plan.nid(node), place.node, place.parent);
                self.slice(&blocks, from, length)
            }
        }
    }

    fn slice(&mut self, bytes: &[u8], from: u64, length: u64) -> Result<(), ImportError> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let end = from.saturating_add(length);
        let part = bytes.get(from..end);
        self.bytes(part.ok_or_else(|| ImportError::archive("a planned size does not fit"))?)
    }
}

/// Size of an inode's attributes with their header; 0 when it has none.
fn xattr_bytes(meta: &Meta) -> u64 {
    if meta.xattrs.is_empty() {
        return 0;
    }
    let entry = |(name, value): (&Vec<u8>, &Vec<u8>)| (4 + name.len() + value.len()).next_multiple_of(4) as u64;
    12 + meta.xattrs.iter().map(entry).sum::<u64>()
}

fn xattr_area(meta: &Meta) -> Vec<u8> {
    if meta.xattrs.is_empty() {
        return Vec::new();
    }
    let mut area = vec![0; 12];
    for (name, value) in &meta.xattrs {
        area.push(u8::try_from(name.len()).unwrap_or_default());
        area.push(XATTR_USER);
        area.extend(u16::try_from(value.len()).unwrap_or_default().to_le_bytes());
        area.extend(name);
        area.extend(value);
        area.resize(area.len().next_multiple_of(4), 0);
    }
    area
}
