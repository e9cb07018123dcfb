//! Out and in again, and archives that mean harm.

use super::{export, import};
use crate::testing::Scratch;
use crate::trees::TreeError;
use rustix::fs::{CWD, FileType, Mode};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use tar::{Builder, EntryType, Header};

#[test]
fn a_layer_comes_out_as_it_went_in() {
    let is_root = rustix::process::geteuid().is_root();
    let (from, to) = (Scratch::new("layer-from"), Scratch::new("layer-to"));
    let path = |name: &str| from.path().join(name);
    fs::create_dir_all(path("etc/opaque")).unwrap();
    fs::write(path("etc/hosts"), b"127.0.0.1 localhost\n").unwrap();
    fs::set_permissions(path("etc/hosts"), fs::Permissions::from_mode(0o4640)).unwrap();
    fs::hard_link(path("etc/hosts"), path("etc/hosts2")).unwrap();
    symlink("/etc/shadow", path("etc/link")).unwrap();
    let long = format!("etc/{}", "n".repeat(200));
    fs::write(path(&long), b"long").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("etc/s")).unwrap();
    if is_root {
        rustix::fs::mknodat(CWD, path("etc/gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        let opaque = fs::File::open(path("etc/opaque")).unwrap();
        rustix::fs::fsetxattr(&opaque, "trusted.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
        std::os::unix::fs::chown(path("etc/hosts"), Some(100_007), Some(100_008)).unwrap();
        fs::set_permissions(path("etc/hosts"), fs::Permissions::from_mode(0o4640)).unwrap();
    }

    let archive = export(from.path(), Vec::new()).unwrap();
    import(to.path(), archive.as_slice(), 1 << 20).unwrap();

    let path = |name: &str| to.path().join(name);
    let hosts = fs::metadata(path("etc/hosts")).unwrap();
    assert_eq!(fs::read(path("etc/hosts")).unwrap(), b"127.0.0.1 localhost\n");
    assert_eq!(hosts.mode() & 0o7777, 0o4640);
    assert_eq!(hosts.ino(), fs::metadata(path("etc/hosts2")).unwrap().ino());
    assert_eq!(fs::read_link(path("etc/link")).unwrap().to_str(), Some("/etc/shadow"));
    assert_eq!(fs::read(path(&long)).unwrap(), b"long");
    assert!(!path("etc/s").exists());
    if is_root {
        assert_eq!((hosts.uid(), hosts.gid()), (100_007, 100_008));
        let gone = fs::symlink_metadata(path("etc/gone")).unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        let mut value = [0_u8; 4];
        let opaque = fs::File::open(path("etc/opaque")).unwrap();
        assert_eq!(rustix::fs::fgetxattr(&opaque, "trusted.overlay.opaque", &mut value).unwrap(), 1);
    }
}

/// An archive with these entries: type, raw name, link target, content.
fn archive(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, target, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn archives_that_reach_outside_are_refused() {
    let outside = Scratch::new("layer-outside");
    let outside_path = outside.path().to_str().unwrap();
    for entries in [
        vec![(EntryType::Regular, "../evil", "", b"x".as_slice())],
        vec![(EntryType::Regular, "/evil", "", b"x".as_slice())],
        vec![(EntryType::Symlink, "d", outside_path, b"".as_slice()), (EntryType::Regular, "d/evil", "", b"x")],
        vec![(EntryType::Link, "h", "../../etc/passwd", b"".as_slice())],
        vec![(EntryType::Symlink, "d", outside_path, b"".as_slice()), (EntryType::Link, "h", "d/any", b"")],
        vec![(EntryType::Symlink, "f", outside_path, b"".as_slice()), (EntryType::Regular, "f", "", b"x")],
        vec![(EntryType::Symlink, "d", outside_path, b"".as_slice()), (EntryType::Directory, "d", "", b"")],
    ] {
        let to = Scratch::new("layer-evil");
        assert!(import(to.path(), archive(&entries).as_slice(), 1 << 20).is_err(), "{entries:?}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{entries:?}");
    }
}

#[test]
fn a_cut_or_oversized_archive_is_refused_and_a_device_is_not_made() {
    let whole = archive(&[(EntryType::Regular, "a", "", &[7; 2000])]);
    for cut in [whole.len() - 1024, 1500, 512] {
        let to = Scratch::new("layer-cut");
        assert!(import(to.path(), &whole[..cut], 1 << 20).is_err(), "cut at {cut}");
    }
    let to = Scratch::new("layer-big");
    assert!(matches!(import(to.path(), whole.as_slice(), 1999), Err(super::LayerError::Archive(TreeError::TooBig(_)))));

    let to = Scratch::new("layer-device");
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Char);
    header.set_path("mem").unwrap();
    header.set_mode(0o666);
    header.set_size(0);
    header.set_device_major(1).unwrap();
    header.set_device_minor(1).unwrap();
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, std::io::empty()).unwrap();
    import(to.path(), builder.into_inner().unwrap().as_slice(), 0).unwrap();
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
}
