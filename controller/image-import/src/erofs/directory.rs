//! A directory's data: blocks of entries sorted by name, `.` and `..` among them.

use crate::tree::{Body, NodeId, Tree};

use super::BLOCK;

/// Bytes of an entry without its name.
const ENTRY: usize = 12;
/// Kinds of entries.
const REGULAR: u8 = 1;
const DIRECTORY: u8 = 2;
const SYMLINK: u8 = 7;

/// What an entry points to.
#[derive(Clone, Copy)]
enum Target {
    Itself,
    Parent,
    Node(NodeId),
}

/// A directory's entries, divided into blocks.
pub struct DirectoryBlocks<'a> {
    tree: &'a Tree,
    blocks: Vec<Vec<(&'a [u8], Target)>>,
}

impl<'a> DirectoryBlocks<'a> {
    /// Divides the entries of a directory.
    pub fn of(tree: &'a Tree, directory: NodeId) -> Self {
        let names = tree.children(directory).into_iter().flatten();
        let mut entries: Vec<(&[u8], Target)> =
            names.map(|(name, entry)| (name.as_slice(), Target::Node(entry.node))).collect();
        entries.extend([(b".".as_slice(), Target::Itself), (b"..".as_slice(), Target::Parent)]);
        entries.sort_unstable_by_key(|(name, _)| *name);
        let block_bytes = usize::try_from(BLOCK).unwrap_or_default();
        let (mut blocks, mut used) = (vec![Vec::new()], 0);
        for entry in entries {
            let bytes = ENTRY + entry.0.len();
            if used + bytes > block_bytes {
                blocks.push(Vec::new());
                used = 0;
            }
            used += bytes;
            if let Some(last) = blocks.last_mut() {
                last.push(entry);
            }
        }
        Self { tree, blocks }
    }

    /// Size in bytes: every block whole but the last.
    pub fn size(&self) -> u64 {
        let last: usize = self.blocks.last().into_iter().flatten().map(|(name, _)| ENTRY + name.len()).sum();
        (self.blocks.len() as u64 - 1) * BLOCK + last as u64
    }

    /// The bytes, with the numbers that inodes got.
    pub fn bytes(&self, nid: impl Fn(NodeId) -> u64, itself: NodeId, parent: NodeId) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            let mut name_at = block.len() * ENTRY;
            for (name, target) in block {
                let (number, kind) = match target {
                    Target::Itself => (nid(itself), DIRECTORY),
                    Target::Parent => (nid(parent), DIRECTORY),
                    Target::Node(node) => (nid(*node), kind(self.tree, *node)),
                };
                out.extend(number.to_le_bytes());
                out.extend(u16::try_from(name_at).unwrap_or_default().to_le_bytes());
                out.extend([kind, 0]);
                name_at += name.len();
            }
            for (name, _) in block {
                out.extend(*name);
            }
            if index + 1 < self.blocks.len() {
                out.resize(out.len().next_multiple_of(usize::try_from(BLOCK).unwrap_or(1)), 0);
            }
        }
        out
    }
}

fn kind(tree: &Tree, node: NodeId) -> u8 {
    match tree.node(node).body {
        Body::File(_) => REGULAR,
        Body::Directory(_) => DIRECTORY,
        Body::Symlink(_) => SYMLINK,
    }
}
