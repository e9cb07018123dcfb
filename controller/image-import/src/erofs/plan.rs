//! Where everything goes: decided before the first byte is written.

use std::collections::BTreeMap;

use crate::tree::{Body, NodeId, Tree};

use super::directory::DirectoryBlocks;
use super::{BLOCK, xattr_bytes};

/// Bytes of an inode.
pub const INODE_BYTES: usize = 64;
/// Inodes begin at multiples of this, and are numbered by it.
const SLOT: u64 = 32;
/// Tails up to this stand behind their inode; longer ones waste less in a block of their own.
const MAX_INLINE: u64 = 2048;

/// Where one node goes.
#[derive(Debug)]
pub struct Place {
    /// Which.
    pub node: NodeId,
    /// The directory that names it; its own where it is the root.
    pub parent: NodeId,
    /// Byte in the file where its inode begins.
    pub offset: u64,
    /// Its number for `stat`, from 1.
    pub number: u32,
    /// Bytes of data.
    pub size: u64,
    /// The last bytes of the data that stand behind the inode.
    pub inline: u64,
    /// First block of the rest of the data.
    pub block: u64,
}

/// The places of all nodes that the root leads to, in order of path.
#[derive(Debug)]
pub struct Plan {
    places: Vec<Place>,
    index: BTreeMap<NodeId, usize>,
    links: BTreeMap<NodeId, u32>,
    meta_blocks: u64,
    blocks: u64,
}

impl Plan {
    /// Decides.
    pub fn of(tree: &Tree) -> Self {
        let mut plan =
            Self { places: Vec::new(), index: BTreeMap::new(), links: BTreeMap::new(), meta_blocks: 0, blocks: 0 };
        plan.collect(tree, tree.root(), tree.root());
        plan.place_inodes(tree);
        plan.place_data();
        plan
    }

    /// Nodes in the order in which they are written. The tree's depth is bounded, and so is this recursion.
    fn collect(&mut self, tree: &Tree, node: NodeId, parent: NodeId) {
        *self.links.entry(node).or_default() += 1;
        if self.index.contains_key(&node) {
            return;
        }
        self.index.insert(node, self.places.len());
        let size = match &tree.node(node).body {
            Body::Directory(_) => DirectoryBlocks::of(tree, node).size(),
            Body::File(region) => region.len(),
            Body::Symlink(target) => target.len() as u64,
        };
        let number = u32::try_from(self.places.len() + 1).unwrap_or(u32::MAX);
        self.places.push(Place { node, parent, offset: 0, number, size, inline: 0, block: 0 });
        for entry in tree.children(node).into_iter().flatten().map(|(_, entry)| entry.node) {
            self.collect(tree, entry, node);
            if tree.children(entry).is_some() {
                // Its `..`.
                *self.links.entry(node).or_default() += 1;
            }
        }
        if tree.children(node).is_some() {
            // Its `.`.
            *self.links.entry(node).or_default() += 1;
        }
    }

    fn place_inodes(&mut self, tree: &Tree) {
        let mut at = BLOCK;
        for place in &mut self.places {
            let head = INODE_BYTES as u64 + xattr_bytes(&tree.node(place.node).meta);
            let tail = place.size % BLOCK;
            if tail <= MAX_INLINE && head + tail <= BLOCK {
                place.inline = tail;
            }
            // Neither an inode nor a tail lies across two blocks.
            let needed = head + place.inline;
            if at / BLOCK != (at + needed - 1) / BLOCK {
                at = at.next_multiple_of(BLOCK);
            }
            place.offset = at;
            at = (at + needed).next_multiple_of(SLOT);
        }
        self.meta_blocks = at.div_ceil(BLOCK) - 1;
    }

    fn place_data(&mut self) {
        let mut next = 1 + self.meta_blocks;
        for place in &mut self.places {
            let blocks = (place.size - place.inline).div_ceil(BLOCK);
            // Where there is no block, the number is not looked at; 0 keeps the bytes the same from run to run.
            place.block = if blocks == 0 { 0 } else { next };
            next += blocks;
        }
        self.blocks = next;
    }

    /// All places, the root's first.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Blocks of inodes.
    pub const fn meta_blocks(&self) -> u64 {
        self.meta_blocks
    }

    /// Blocks of the file.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The number that directories know a node by.
    pub fn nid(&self, node: NodeId) -> u64 {
        self.index.get(&node).map_or(0, |index| (self.places[*index].offset - BLOCK) / SLOT)
    }

    /// Names that lead to a node.
    pub fn links(&self, node: NodeId) -> u32 {
        self.links.get(&node).copied().unwrap_or(1)
    }
}
