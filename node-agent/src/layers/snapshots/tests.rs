//! Copies that are true to the last bit, and snapshots that are whole or not there. Whiteouts and owners need root.

use std::fs;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use roost_types::MemoryBytes;
use roost_types::snapshot::RestoreWish;
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::{LayerError, SnapshotId, Staged, copy, delete, files, list, restore, stage, stage_with, sweep};
use crate::testing::Scratch;

fn id(n: u8) -> SnapshotId {
    SnapshotId::mint(1_000, [n; 10])
}

/// A node's directory of one instance, with a layer in it.
fn instance(name: &str) -> (Scratch, std::path::PathBuf) {
    let scratch = Scratch::new(name);
    let layer = scratch.path().join("upper");
    fs::create_dir_all(layer.join("etc")).unwrap();
    fs::create_dir_all(scratch.path().join("work/work")).unwrap();
    fs::write(layer.join("etc/note"), "then").unwrap();
    (scratch, layer)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn keep(layer: &Path, n: u8) -> MemoryBytes {
    stage(layer, id(n)).and_then(Staged::commit).unwrap()
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn attribute(path: &Path, name: &str) -> Vec<u8> {
    let mut value = [0_u8; 64];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).unwrap();
    value[..length].to_vec()
}

#[test]
fn a_copy_has_everything_that_an_upper_directory_may_hold() {
    let is_root = rustix::process::geteuid().is_root();
    let (from, to) = (Scratch::new("copy-from"), Scratch::new("copy-to"));
    let path = |name: &str| from.path().join(name);
    fs::create_dir_all(path("opaque/deep")).unwrap();
    set_attribute(&path("opaque"), "user.overlay.opaque", b"y");
    fs::write(path("program"), b"\x7fELF").unwrap();
    fs::hard_link(path("program"), path("opaque/again")).unwrap();
    symlink("/etc/shadow", path("link")).unwrap();
    rustix::fs::mknodat(CWD, path("fifo"), FileType::Fifo, Mode::from_raw_mode(0o620), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    let sparse = fs::File::create(path("sparse")).unwrap();
    sparse.write_all_at(b"begin", 0).unwrap();
    sparse.write_all_at(b"middle", 8 << 20).unwrap();
    sparse.set_len(16 << 20).unwrap();
    if is_root {
        rustix::fs::mknodat(CWD, path("whiteout"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        std::os::unix::fs::chown(path("program"), Some(7), Some(65_535)).unwrap();
        // cap_net_raw=ep, version 2.
        let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        set_attribute(&path("program"), "security.capability", &capability);
        set_attribute(&path("opaque"), "trusted.overlay.opaque", b"y");
    }
    fs::set_permissions(path("opaque"), fs::Permissions::from_mode(0o1755)).unwrap();
    let bytes = copy(from.path(), to.path()).unwrap();

    assert_eq!(bytes, 4 + (16 << 20));
    assert_eq!(names(to.path()), names(from.path()));
    let path = |name: &str| to.path().join(name);
    let at = |name: &str| fs::symlink_metadata(path(name)).unwrap();
    assert_eq!(at("program").ino(), at("opaque/again").ino());
    assert_eq!(at("program").nlink(), 2);
    assert_eq!(fs::read_link(path("link")).unwrap(), Path::new("/etc/shadow"));
    assert!(at("fifo").file_type().is_fifo());
    assert!(at("socket").file_type().is_socket());
    assert_eq!(fs::read(path("sparse")).unwrap(), fs::read(from.path().join("sparse")).unwrap());
    assert!(at("sparse").blocks() * 512 < 1 << 20, "holes were filled: {} blocks", at("sparse").blocks());
    assert_eq!(attribute(&path("opaque"), "user.overlay.opaque"), b"y");
    assert_eq!(at("opaque").mode() & 0o7777, 0o1755);
    for name in ["program", "opaque", "sparse", "link", "fifo"] {
        let original = fs::symlink_metadata(from.path().join(name)).unwrap();
        assert_eq!((at(name).mtime(), at(name).mtime_nsec()), (original.mtime(), original.mtime_nsec()), "{name}");
        assert_eq!(at(name).mode(), original.mode(), "{name}");
    }
    if is_root {
        assert!(at("whiteout").file_type().is_char_device() && at("whiteout").rdev() == 0);
        assert_eq!((at("program").uid(), at("program").gid()), (7, 65_535));
        assert_eq!(attribute(&path("program"), "security.capability").len(), 20);
        assert_eq!(attribute(&path("opaque"), "trusted.overlay.opaque"), b"y");
    }
}

#[test]
fn a_snapshot_is_listed_when_it_is_whole_and_holds_what_was() {
    let (scratch, layer) = instance("snapshot-keep");
    let staged = stage(&layer, id(1)).unwrap();
    assert!(list(&layer).unwrap().is_empty(), "not before it is committed");
    assert_eq!(staged.commit().unwrap(), MemoryBytes(4));
    fs::write(layer.join("etc/note"), "now").unwrap();
    assert_eq!(list(&layer).unwrap(), [(id(1), MemoryBytes(4))]);
    assert_eq!(fs::read(files(&layer, id(1)).join("etc/note")).unwrap(), b"then");
    delete(&layer, id(1)).unwrap();
    delete(&layer, id(1)).unwrap();
    assert!(list(&layer).unwrap().is_empty());
    assert!(names(&scratch.path().join("snapshots")).is_empty());
}

#[test]
fn one_that_is_not_committed_leaves_nothing() {
    let (scratch, layer) = instance("snapshot-drop");
    drop(stage(&layer, id(1)).unwrap());
    let failed = stage_with(&layer, id(2), |files| {
        fs::write(files.join("half"), "x").unwrap();
        Err(LayerError::NoFiles)
    });
    assert!(matches!(failed, Err(LayerError::NoFiles)));
    assert!(names(&scratch.path().join("snapshots")).is_empty());
    let none = scratch.path().join("never-started/upper");
    assert!(matches!(stage(&none, id(1)), Err(LayerError::NoFiles)));
    assert!(list(&none).unwrap().is_empty());
}

#[test]
fn what_a_dead_agent_left_is_swept() {
    let (scratch, layer) = instance("snapshot-sweep");
    keep(&layer, 1);
    let snapshots = scratch.path().join("snapshots");
    for name in [format!(".new-{}", id(2)), format!(".old-{}", id(3))] {
        fs::create_dir_all(snapshots.join(name).join("files/etc")).unwrap();
    }
    fs::create_dir_all(scratch.path().join("upper.restored/etc")).unwrap();
    assert_eq!(list(&layer).unwrap().len(), 1);
    sweep(&layer).unwrap();
    assert_eq!(names(&snapshots), [id(1).to_string()]);
    assert_eq!(names(scratch.path()), ["snapshots", "upper", "work"]);
}

#[test]
fn a_restore_puts_files_back_once() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (scratch, layer) = instance("snapshot-restore");
    keep(&layer, 1);
    fs::write(layer.join("etc/note"), "now").unwrap();
    fs::write(layer.join("etc/new"), "new").unwrap();
    let wish = |n, number| RestoreWish { snapshot: id(n), number };
    assert!(matches!(restore(&layer, &wish(2, 9)), Err(LayerError::NoSnapshot)));
    assert_eq!(fs::read(layer.join("etc/note")).unwrap(), b"now");

    restore(&layer, &wish(1, 10)).unwrap();
    assert_eq!(fs::read(layer.join("etc/note")).unwrap(), b"then");
    assert_eq!(names(&layer.join("etc")), ["note"]);
    assert_eq!(names(scratch.path()), ["snapshots", "upper", "work"]);
    assert!(names(&scratch.path().join("work")).is_empty());

    fs::write(layer.join("etc/note"), "later").unwrap();
    restore(&layer, &wish(1, 10)).unwrap();
    assert_eq!(fs::read(layer.join("etc/note")).unwrap(), b"later", "the same restore was done already");
    keep(&layer, 3);
    restore(&layer, &wish(1, 11)).unwrap();
    assert_eq!(fs::read(layer.join("etc/note")).unwrap(), b"then");
    restore(&layer, &wish(3, 12)).unwrap();
    assert_eq!(fs::read(layer.join("etc/note")).unwrap(), b"later");
}
