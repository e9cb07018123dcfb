//! Who is called what: the names that instances have on the instance network, kept up to date row by row.
//!
//! An instance is known by the address of the allocation that runs it: while it moves, by the old one until that has
//! ended. A node is told the names of the projects it has instances of, and no others. Nothing here is stored: the index
//! follows from the rows.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use imbl::OrdMap;
use roost_types::sync::NameTable;
use roost_types::{AllocationSpec, InstanceId, Name, NodeId};

/// An instance's place in the index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Project.
    pub project: Name,
    /// Name.
    pub name: Name,
    /// Address.
    pub address: Ipv4Addr,
}

/// The names of one project.
#[derive(Clone, Default, Debug)]
struct Project {
    /// Sum of the digests of its entries: the same for the same entries in whatever order they came.
    digest: u64,
    addresses: OrdMap<Name, Ipv4Addr>,
}

/// The index.
#[derive(Clone, Default, Debug)]
pub(crate) struct Names {
    projects: OrdMap<Name, Arc<Project>>,
    entries: OrdMap<InstanceId, Entry>,
    /// How many allocations of each project a node has.
    on_node: OrdMap<NodeId, OrdMap<Name, u32>>,
}

impl Names {
    /// The instance has this place from now on, or none.
    pub fn set(&mut self, id: InstanceId, new: Option<Entry>) {
        if self.entries.get(&id) == new.as_ref() {
            return;
        }
        if let Some(old) = self.entries.remove(&id) {
            self.edit(&old.project, |project| {
                // A namesake may have taken the name meanwhile.
                if project.addresses.get(&old.name) == Some(&old.address) {
                    project.addresses.remove(&old.name);
                    project.digest = project.digest.wrapping_sub(digest(&old.name, old.address));
                }
            });
        }
        if let Some(new) = new {
            self.edit(&new.project, |project| {
                if let Some(namesake) = project.addresses.insert(new.name.clone(), new.address) {
                    project.digest = project.digest.wrapping_sub(digest(&new.name, namesake));
                }
                project.digest = project.digest.wrapping_add(digest(&new.name, new.address));
            });
            self.entries.insert(id, new);
        }
    }

    fn edit(&mut self, name: &Name, edit: impl FnOnce(&mut Project)) {
        let mut project = self.projects.get(name).map(|project| Project::clone(project)).unwrap_or_default();
        edit(&mut project);
        if project.addresses.is_empty() {
            self.projects.remove(name);
        } else {
            self.projects.insert(name.clone(), Arc::new(project));
        }
    }

    /// The node has one more allocation.
    pub fn arrived(&mut self, node: NodeId, spec: &AllocationSpec) {
        *self.on_node.entry(node).or_default().entry(spec.project.clone()).or_default() += 1;
    }

    /// The node has one allocation less.
    pub fn left(&mut self, node: NodeId, spec: &AllocationSpec) {
        let Some(projects) = self.on_node.get_mut(&node) else { return };
        let Some(count) = projects.get_mut(&spec.project) else { return };
        *count -= 1;
        if *count == 0 {
            projects.remove(&spec.project);
        }
        if projects.is_empty() {
            self.on_node.remove(&node);
        }
    }

    /// The generation of the node's table: changes with its contents, and is never 0.
    pub fn generation(&self, node: NodeId) -> u64 {
        let of_node = self.of_node(node).map(|(name, project)| mix(fnv(name.as_str().as_bytes()), project.digest));
        of_node.fold(1_u64, u64::wrapping_add).max(1)
    }

    /// The node's table.
    pub fn table(&self, node: NodeId) -> NameTable {
        let addresses = |project: &Project| project.addresses.iter().map(|(name, at)| (name.clone(), *at)).collect();
        let projects: BTreeMap<_, _> =
            self.of_node(node).map(|(name, project)| (name.clone(), addresses(project))).collect();
        NameTable { generation: self.generation(node), projects }
    }

    fn of_node(&self, node: NodeId) -> impl Iterator<Item = (&Name, &Project)> {
        let projects = self.on_node.get(&node).into_iter().flat_map(OrdMap::keys);
        projects.filter_map(|name| Some((name, self.projects.get(name)?.as_ref())))
    }

    /// Nodes whose table is another one than in `before`.
    pub fn changed_since(&self, before: &Self) -> Vec<NodeId> {
        if self.projects.ptr_eq(&before.projects) && self.on_node.ptr_eq(&before.on_node) {
            return Vec::new();
        }
        self.on_node.keys().filter(|node| self.generation(**node) != before.generation(**node)).copied().collect()
    }
}

/// Of one entry. Two tables that differ and yet have one generation are as unlikely as two equal numbers of 64 bits; a
/// node would then keep the older one until the next change.
fn digest(name: &Name, address: Ipv4Addr) -> u64 {
    mix(fnv(name.as_str().as_bytes()), u64::from(address.to_bits()))
}

/// FNV-1a (Fowler, Noll, Vo 1991).
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finisher of SplitMix64 (Steele, Lea, Flood 2014) over both: no sum of such numbers is likely to be another's.
const fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.rotate_left(32) ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(project: &str, name: &str, last: u8) -> Option<Entry> {
        let address = Ipv4Addr::new(10, 77, 1, last);
        Some(Entry { project: project.parse().unwrap(), name: name.parse().unwrap(), address })
    }

    fn id(n: u8) -> InstanceId {
        InstanceId::mint(1, [n; 10])
    }

    #[test]
    fn the_digest_follows_from_the_entries_alone() {
        let (mut a, mut b) = (Names::default(), Names::default());
        a.set(id(1), entry("p", "web", 2));
        a.set(id(2), entry("p", "db", 3));
        a.set(id(2), entry("p", "db", 4));
        b.set(id(3), entry("p", "gone", 9));
        b.set(id(2), entry("p", "db", 4));
        b.set(id(3), None);
        b.set(id(1), entry("p", "web", 2));
        let of = |names: &Names| names.projects.get(&"p".parse::<Name>().unwrap()).unwrap().digest;
        assert_eq!(of(&a), of(&b));
        let before = of(&a);
        a.set(id(1), entry("p", "web", 3));
        assert_ne!(of(&a), before);
        // The same two addresses the other way round are another table.
        a.set(id(1), entry("p", "web", 4));
        a.set(id(2), entry("p", "db", 2));
        assert_ne!(of(&a), before);
    }

    #[test]
    fn a_namesake_that_came_before_the_old_one_left_keeps_the_name() {
        let mut names = Names::default();
        names.set(id(1), entry("p", "web", 2));
        names.set(id(2), entry("p", "web", 3));
        names.set(id(1), None);
        let project = names.projects.get(&"p".parse::<Name>().unwrap()).unwrap();
        assert_eq!(project.addresses.values().copied().collect::<Vec<_>>(), [Ipv4Addr::new(10, 77, 1, 3)]);
        names.set(id(2), None);
        assert!(names.projects.is_empty());
    }
}
