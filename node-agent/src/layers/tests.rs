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
        // As a kernel that does not map ids has them stored; an archive has those that the container sees.
        std::os::unix::fs::chown(path("etc/hosts"), Some(131_079), Some(131_080)).unwrap();
        fs::set_permissions(path("etc/hosts"), fs::Permissions::from_mode(0o4640)).unwrap();
    }

    let archive = export(from.path(), Vec::new()).unwrap();
    import(to.path(), archive.as_slice(), 1 << 20).unwrap();
    // Layers move on: the second time an opaque directory has the marks of both ways of mounting.
    let further = Scratch::new("layer-further");
    import(further.path(), export(to.path(), Vec::new()).unwrap().as_slice(), 1 << 20).unwrap();

    for to in [to.path(), further.path()] {
        arrived(to, &long, is_root);
    }
}

/// What the layer of the test above is where it arrives.
fn arrived(to: &std::path::Path, long: &str, is_root: bool) {
    let path = |name: &str| to.join(name);
    let hosts = fs::metadata(path("etc/hosts")).unwrap();
    assert_eq!(fs::read(path("etc/hosts")).unwrap(), b"127.0.0.1 localhost\n");
    assert_eq!(hosts.mode() & 0o7777, 0o4640);
    assert_eq!(hosts.ino(), fs::metadata(path("etc/hosts2")).unwrap().ino());
    assert_eq!(fs::read_link(path("etc/link")).unwrap().to_str(), Some("/etc/shadow"));
    assert_eq!(fs::read(path(long)).unwrap(), b"long");
    assert!(!path("etc/s").exists());
    if is_root {
        assert_eq!((hosts.uid(), hosts.gid()), (7, 8));
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

/// Sets what cannot be written down in the test: an attribute's raw value.
fn set(path: &std::path::Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

fn get(path: &std::path::Path, name: &str) -> Vec<u8> {
    let mut value = [0_u8; 64];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap_or(0);
    value[..length].to_vec()
}

/// A file capability as the board's root has it, and as the root of the range that begins at 131,072 does.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CAPABILITY_THERE: [u8; 24] = [1, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0];

fn owners(of: &std::path::Path) -> (u32, u32, u32) {
    let meta = fs::symlink_metadata(of).unwrap();
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

#[test]
fn a_layer_is_given_to_a_range_and_back_and_again_when_it_was_interrupted() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let layer = Scratch::new("layer-give");
    let upper = layer.path().join("upper");
    let path = |name: &str| upper.join(name);
    fs::create_dir_all(path("opaque")).unwrap();
    fs::create_dir_all(layer.path().join("work/work")).unwrap();
    for name in ["plain", "su", "ping", "opaque/in"] {
        fs::write(path(name), name).unwrap();
    }
    fs::hard_link(path("su"), path("su2")).unwrap();
    symlink("plain", path("link")).unwrap();
    rustix::fs::mknodat(CWD, path("gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    std::os::unix::fs::chown(path("su"), Some(7), Some(65_534)).unwrap();
    fs::set_permissions(path("su"), fs::Permissions::from_mode(0o6750)).unwrap();
    fs::set_permissions(path("opaque"), fs::Permissions::from_mode(0o2775)).unwrap();
    set(&path("ping"), "security.capability", &CAPABILITY);
    set(&path("opaque"), "user.overlay.opaque", b"y");
    let base = 131_072;
    let there = |layer: &std::path::Path| {
        let path = |name: &str| layer.join(name);
        assert_eq!(owners(layer), (base, base, 0o755));
        assert_eq!(owners(&path("su")), (base + 7, base + 65_534, 0o6750));
        assert_eq!(owners(&path("su2")), (base + 7, base + 65_534, 0o6750));
        assert_eq!(owners(&path("opaque")), (base, base, 0o2775));
        for name in ["plain", "link", "gone", "opaque/in"] {
            assert_eq!(owners(&path(name)).0, base, "{name}");
        }
        assert_eq!(get(&path("ping"), "security.capability"), CAPABILITY_THERE);
        assert_eq!(get(&path("opaque"), "trusted.overlay.opaque"), b"y");
    };
    assert!(super::give(&upper, base).unwrap());
    there(&upper);
    assert_eq!(fs::read_dir(layer.path().join("work")).unwrap().count(), 0);
    assert!(!super::give(&upper, base).unwrap(), "it has them already");

    // Broken off after a file had its new owner and before it had its bits again.
    std::os::unix::fs::chown(&upper, Some(0), Some(0)).unwrap();
    set(&path("su"), "trusted.roost.kept", &0o6750_u16.to_le_bytes());
    fs::set_permissions(path("su"), fs::Permissions::from_mode(0o750)).unwrap();
    set(&path("ping"), "trusted.roost.kept", &[&0o644_u16.to_le_bytes()[..], &CAPABILITY].concat());
    rustix::fs::lremovexattr(path("ping"), "security.capability").unwrap();
    std::os::unix::fs::lchown(path("link"), Some(0), Some(0)).unwrap();
    assert!(super::give(&upper, base).unwrap());
    there(&upper);
    assert_eq!(get(&path("su"), "trusted.roost.kept"), b"");

    assert!(super::give(&upper, 0).unwrap());
    assert_eq!((owners(&path("su")), owners(&path("link")).0), ((7, 65_534, 0o6750), 0));
    assert_eq!(get(&path("ping"), "security.capability"), CAPABILITY);
    assert!(!super::give(&layer.path().join("absent"), base).unwrap());
}

#[test]
fn a_shell_has_all_but_the_contents() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (image, to) = (Scratch::new("shell-image"), Scratch::new("shell"));
    let path = |name: &str| image.path().join(name);
    fs::create_dir(path("d")).unwrap();
    fs::write(path("d/f"), vec![7; 100_000]).unwrap();
    fs::hard_link(path("d/f"), path("again")).unwrap();
    symlink("d/f", path("link")).unwrap();
    std::os::unix::fs::chown(path("d/f"), Some(5), Some(6)).unwrap();
    fs::set_permissions(path("d/f"), fs::Permissions::from_mode(0o4755)).unwrap();
    set(&path("d/f"), "user.comment", b"kept");
    set(&path("d"), "trusted.overlay.redirect", b"/etc");
    let made = super::shell(fs::File::open(image.path()).unwrap().into(), to.path(), 131_072).unwrap();
    assert_eq!(made, super::Shell { entries: 4, below: 100_000 });
    let path = |name: &str| to.path().join(name);
    assert_eq!(owners(&path("d/f")), (131_077, 131_078, 0o4755));
    let file = fs::metadata(path("d/f")).unwrap();
    assert_eq!((file.len(), file.blocks() <= 8, file.nlink()), (100_000, true, 2));
    let mut value = [0_u8; 8];
    assert_eq!(rustix::fs::lgetxattr(path("d/f"), "trusted.overlay.metacopy", &mut value[..]), Ok(0));
    assert_eq!(get(&path("d/f"), "user.comment"), b"kept");
    assert_eq!(get(&path("d"), "trusted.overlay.redirect"), b"", "an image redirects nothing");
    assert_eq!((owners(&path("link")).0, fs::read_link(path("link")).unwrap().to_str()), (131_072, Some("d/f")));
}
