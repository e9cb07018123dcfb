//! Whose a container's files are, as the board's file systems store it.
//!
//! A stored id has one of two forms. Where the kernel maps ids at a mount, it is the id that the container sees, 0 to 65,535.
//! Where it cannot, it is the id that the container's processes have on the board: the same, after the first of the range
//! that the container has there. Ranges begin at multiples of 65,536, and the first of them is no container's, so each id
//! tells by itself which form it has, and changing the form of what has it already changes nothing.

/// How many ids a container has, and what its range begins at a multiple of.
pub const IDS: u32 = 65_536;

/// The form in which every layer travels and every snapshot is kept: as the container sees it.
pub const AS_SEEN: u32 = 0;

/// A stored id of either form in the form of the range that begins at `base`, or [`AS_SEEN`].
#[must_use]
pub const fn id(stored: u32, base: u32) -> u32 {
    base + stored % IDS
}

/// An extended attribute in that form: those that hold ids are file capabilities (whose root may use them) and access
/// control lists.
#[must_use]
pub fn attribute(name: &[u8], value: &[u8], base: u32) -> Vec<u8> {
    match name {
        b"security.capability" => capability(value, base),
        b"system.posix_acl_access" | b"system.posix_acl_default" => access_list(value, base),
        _ => value.to_vec(),
    }
}

/// Without the id of a root it is good for the board's own, which an id-mapped mount makes the container's.
const CAPABILITY_OF_BOARD: u8 = 2;
/// With the id of the root whom it is good for.
const CAPABILITY_OF_RANGE: u8 = 3;
/// Bytes of either before that id.
const CAPABILITY_BYTES: usize = 20;

/// `struct vfs_cap_data`: the last byte of the first word is the revision.
fn capability(value: &[u8], base: u32) -> Vec<u8> {
    let known = matches!(
        (value.get(3), value.len()),
        (Some(&CAPABILITY_OF_BOARD), CAPABILITY_BYTES) | (Some(&CAPABILITY_OF_RANGE), 24)
    );
    let mut value = value.to_vec();
    if known {
        value.truncate(CAPABILITY_BYTES);
        value[3] = if base == AS_SEEN { CAPABILITY_OF_BOARD } else { CAPABILITY_OF_RANGE };
        if base != AS_SEEN {
            value.extend(base.to_le_bytes());
        }
    }
    value
}

/// Bytes before the entries of an access control list, and of each entry: tag, permissions, id.
const LIST_HEAD: usize = 4;
const LIST_ENTRY: usize = 8;
/// Tags of the entries whose id counts: a user, a group.
const NAMED: [u16; 2] = [0x02, 0x08];

fn access_list(value: &[u8], base: u32) -> Vec<u8> {
    let mut value = value.to_vec();
    let entries = value.get_mut(LIST_HEAD..).unwrap_or_default();
    for entry in entries.chunks_exact_mut(LIST_ENTRY) {
        if let [low, high, _, _, a, b, c, d] = entry
            && NAMED.contains(&u16::from_le_bytes([*low, *high]))
        {
            let stored = u32::from_le_bytes([*a, *b, *c, *d]);
            [*a, *b, *c, *d] = id(stored, base).to_le_bytes();
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::{AS_SEEN, IDS, attribute, id};

    #[test]
    fn an_id_tells_its_form_and_changes_it_once() {
        let base = 20 * IDS;
        for seen in [0, 5, 1000, 65_534, 65_535] {
            let stored = id(seen, base);
            assert_eq!(stored, base + seen);
            assert_eq!(id(stored, base), stored, "a second time changes nothing");
            assert_eq!(id(stored, AS_SEEN), seen);
            assert_eq!(id(stored, 7 * IDS), 7 * IDS + seen, "another range");
        }
        assert_eq!(id(65_535, u32::MAX - (IDS - 1)), u32::MAX);
    }

    #[test]
    fn a_capability_is_good_for_the_containers_root_and_no_other() {
        let seen = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let stored = attribute(b"security.capability", &seen, 0x0003_0000);
        assert_eq!(stored[..4], [1, 0, 0, 3]);
        assert_eq!((stored[4..20].to_vec(), stored[20..].to_vec()), (seen[4..].to_vec(), vec![0, 0, 3, 0]));
        assert_eq!(attribute(b"security.capability", &stored, 0x0003_0000), stored);
        assert_eq!(attribute(b"security.capability", &stored, AS_SEEN), seen);
        assert_eq!(attribute(b"security.capability", b"short", 0x0003_0000), b"short");
    }

    #[test]
    fn an_access_list_names_users_of_the_container() {
        let entry = |tag: u8, id: u32| [&[tag, 0, 7, 0][..], &id.to_le_bytes()].concat();
        let list = |user, group| {
            [&[2, 0, 0, 0][..], &entry(1, u32::MAX), &entry(2, user), &entry(8, group), &entry(0x20, u32::MAX)].concat()
        };
        let stored = attribute(b"system.posix_acl_access", &list(1000, 4), 3 * IDS);
        assert_eq!(stored, list(3 * IDS + 1000, 3 * IDS + 4));
        assert_eq!(attribute(b"system.posix_acl_default", &stored, AS_SEEN), list(1000, 4));
        assert_eq!(attribute(b"user.anything", &stored, AS_SEEN), stored);
    }
}
