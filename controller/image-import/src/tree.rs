//! The root file system in memory: names, owners, modes; a file's contents are a place in the archive.
//!
//! Nothing that an archive names is ever made on this machine's disk, so there is no path that could lead elsewhere: a
//! name is a key of a map, a link is looked up in the tree, and `..` at the root stays there.

use std::collections::{BTreeMap, VecDeque};

use crate::error::Fault;
use crate::region::Region;

/// Index of a node.
pub type NodeId = usize;

/// The root directory.
pub const ROOT: NodeId = 0;

/// Symbolic links that one path may lead through.
const MAX_LINKS: u32 = 40;

/// What every kind of node has.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Attributes of the `user` name space, without that prefix, by name.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Meta {
    /// Of a directory that nothing describes.
    pub const fn plain_directory() -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What it names.
    pub node: NodeId,
    /// The layer that last wrote the name, or something below it.
    layer: u32,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Body {
    /// Names in bytewise order.
    Directory(BTreeMap<Vec<u8>, Entry>),
    /// Contents.
    File(Region),
    /// Target.
    Symlink(Vec<u8>),
}

/// One inode.
#[derive(Clone, Debug)]
pub struct Node {
    /// Owner, mode, time.
    pub meta: Meta,
    /// What it is.
    pub body: Body,
}

/// A root file system.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    root: NodeId,
    depth: usize,
    layer: u32,
}

impl Tree {
    /// An empty root directory; `depth` directories may be nested.
    #[must_use]
    pub fn new(depth: usize) -> Self {
        let root = Node { meta: Meta::plain_directory(), body: Body::Directory(BTreeMap::new()) };
        Self { nodes: vec![root], root: ROOT, depth, layer: 0 }
    }

    /// What follows belongs to a new layer, which may replace what the ones before it wrote.
    pub const fn begin_layer(&mut self) {
        self.layer += 1;
    }

    /// The root directory.
    #[must_use]
    pub const fn root(&self) -> NodeId {
        self.root
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// Nodes in all, those that were replaced included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has no node, which never happens: there is a root.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The names in a directory; none for anything else.
    #[must_use]
    pub fn children(&self, id: NodeId) -> Option<&BTreeMap<Vec<u8>, Entry>> {
        match &self.nodes[id].body {
            Body::Directory(children) => Some(children),
            Body::File(_) | Body::Symlink(_) => None,
        }
    }

    /// Makes a real directory directly below the root the new root. False when it is not one.
    pub fn reroot(&mut self, name: &[u8]) -> bool {
        let child = self.children(self.root).and_then(|children| children.get(name)).map(|entry| entry.node);
        let Some(child) = child.filter(|child| self.children(*child).is_some()) else { return false };
        self.root = child;
        true
    }

    /// What a path leads to, all links followed inside the tree.
    #[must_use]
    pub fn lookup(&self, path: &str) -> Option<NodeId> {
        let mut todo: VecDeque<Vec<u8>> = split(path.as_bytes());
        let (mut stack, mut links) = (vec![self.root], 0);
        while let Some(part) = todo.pop_front() {
            let at = *stack.last()?;
            if part == b".." {
                stack.truncate(stack.len().saturating_sub(1).max(1));
                continue;
            }
            let child = self.children(at)?.get(&part)?.node;
            match &self.nodes[child].body {
                Body::Symlink(target) => {
                    links += 1;
                    follow(target, &mut stack, &mut todo);
                }
                Body::Directory(_) | Body::File(_) => stack.push(child),
            }
            if links > MAX_LINKS || stack.len() > self.depth + 1 {
                return None;
            }
        }
        stack.last().copied()
    }

    /// Puts a node at a path (not the root), with directories made on its way where there are none.
    ///
    /// # Errors
    /// A [`Fault`] when the way or the place is not free.
    pub fn put(&mut self, path: &[&[u8]], meta: Meta, body: Body) -> Result<(), Fault> {
        let Some((name, way)) = path.split_last() else { return self.put_root(meta, &body) };
        let parent = self.enter(way, true)?;
        if let Some(old) = self.entry(parent, name) {
            if let (Body::Directory(_), Body::Directory(_)) = (&self.nodes[old.node].body, &body) {
                self.nodes[old.node].meta = meta;
                self.link(parent, name, old.node);
                return Ok(());
            }
            if old.layer == self.layer {
                return Err(Fault::Duplicate);
            }
        }
        let node = self.add(meta, body);
        self.link(parent, name, node);
        Ok(())
    }

    fn add(&mut self, meta: Meta, body: Body) -> NodeId {
        self.nodes.push(Node { meta, body });
        self.nodes.len() - 1
    }

    fn put_root(&mut self, meta: Meta, body: &Body) -> Result<(), Fault> {
        match body {
            Body::Directory(_) => {
                self.nodes[ROOT].meta = meta;
                Ok(())
            }
            Body::File(_) | Body::Symlink(_) => Err(Fault::EmptyName),
        }
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// A [`Fault`] when the target is not a file of the tree, or the way or the place is not free.
    pub fn put_link(&mut self, path: &[&[u8]], target: &[&[u8]]) -> Result<(), Fault> {
        let (target_name, target_way) = target.split_last().ok_or(Fault::LinkTarget)?;
        let (name, way) = path.split_last().ok_or(Fault::EmptyName)?;
        let holder = self.enter(target_way, false).map_err(|fault| match fault {
            Fault::NotADirectory => Fault::LinkTarget,
            other => other,
        })?;
        let file = self.entry(holder, target_name).ok_or(Fault::LinkTarget)?.node;
        match &self.nodes[file].body {
            Body::File(_) => {}
            Body::Directory(_) | Body::Symlink(_) => return Err(Fault::LinkTarget),
        }
        let parent = self.enter(way, true)?;
        if self.entry(parent, name).is_some_and(|old| old.layer == self.layer) {
            return Err(Fault::Duplicate);
        }
        self.link(parent, name, file);
        Ok(())
    }

    /// Hides what earlier layers have at a path. What this layer wrote there stays.
    ///
    /// # Errors
    /// A [`Fault`] when the way leads through a link of this layer.
    pub fn whiteout(&mut self, way: &[&[u8]], name: &[u8]) -> Result<(), Fault> {
        let parent = match self.enter(way, false) {
            Ok(parent) => parent,
            // Nothing is there to hide.
            Err(Fault::NotADirectory) => return Ok(()),
            Err(fault) => return Err(fault),
        };
        match self.entry(parent, name) {
            Some(old) if old.layer == self.layer => self.hide_earlier(old.node),
            Some(_) => self.unlink(parent, name),
            None => {}
        }
        Ok(())
    }

    /// Hides what earlier layers have in a directory.
    ///
    /// # Errors
    /// A [`Fault`] when the way leads through a link of this layer or is blocked by a file.
    pub fn opaque(&mut self, way: &[&[u8]]) -> Result<(), Fault> {
        let directory = self.enter(way, true)?;
        self.hide_earlier(directory);
        Ok(())
    }

    /// Depth is bounded by `enter`, so this recursion is too.
    fn hide_earlier(&mut self, directory: NodeId) {
        let Some(children) = self.children(directory) else { return };
        let children: Vec<(Vec<u8>, Entry)> = children.iter().map(|(name, entry)| (name.clone(), *entry)).collect();
        for (name, entry) in children {
            if entry.layer == self.layer {
                self.hide_earlier(entry.node);
            } else {
                self.unlink(directory, &name);
            }
        }
    }

    /// The directory at a path. Links of earlier layers are followed, those of this one are refused: an archive that
    /// writes a link and then through it wants to surprise somebody.
    fn enter(&mut self, way: &[&[u8]], make: bool) -> Result<NodeId, Fault> {
        let mut todo: VecDeque<Vec<u8>> = way.iter().map(|part| part.to_vec()).collect();
        let (mut stack, mut links) = (vec![ROOT], 0);
        while let Some(part) = todo.pop_front() {
            let at = *stack.last().unwrap_or(&ROOT);
            if part == b".." {
                stack.truncate(stack.len().saturating_sub(1).max(1));
                continue;
            }
            match self.entry(at, &part) {
                None if make => stack.push(self.make_directory(at, &part)),
                None => return Err(Fault::NotADirectory),
                Some(entry) => match &self.nodes[entry.node].body {
                    Body::File(_) => return Err(Fault::NotADirectory),
                    Body::Symlink(_) if entry.layer == self.layer => return Err(Fault::ThroughSymlink),
                    Body::Symlink(target) => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(Fault::LinkLoop);
                        }
                        let target = target.clone();
                        follow(&target, &mut stack, &mut todo);
                    }
                    Body::Directory(_) => {
                        if make {
                            self.link(at, &part, entry.node);
                        }
                        stack.push(entry.node);
                    }
                },
            }
            // One more for the entry that goes below.
            if stack.len() > self.depth {
                return Err(Fault::TooDeep(self.depth));
            }
        }
        Ok(*stack.last().unwrap_or(&ROOT))
    }

    fn make_directory(&mut self, parent: NodeId, name: &[u8]) -> NodeId {
        let node = self.add(Meta::plain_directory(), Body::Directory(BTreeMap::new()));
        self.link(parent, name, node);
        node
    }

    fn entry(&self, directory: NodeId, name: &[u8]) -> Option<Entry> {
        self.children(directory)?.get(name).copied()
    }

    /// Makes a name stand for a node, as the present layer's word.
    fn link(&mut self, directory: NodeId, name: &[u8], node: NodeId) {
        let entry = Entry { node, layer: self.layer };
        if let Body::Directory(names) = &mut self.nodes[directory].body {
            names.insert(name.to_vec(), entry);
        }
    }

    fn unlink(&mut self, directory: NodeId, name: &[u8]) {
        if let Body::Directory(names) = &mut self.nodes[directory].body {
            names.remove(name);
        }
    }
}

fn split(path: &[u8]) -> VecDeque<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec).collect()
}

/// Goes on at a link's target, as the kernel would inside this root.
fn follow(target: &[u8], stack: &mut Vec<NodeId>, todo: &mut VecDeque<Vec<u8>>) {
    if target.first() == Some(&b'/') {
        stack.truncate(1);
    }
    for part in split(target).into_iter().rev() {
        todo.push_front(part);
    }
}

#[cfg(test)]
mod tests;
