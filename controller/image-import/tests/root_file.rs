//! The root file as the kernel sees it, compared with what GNU tar makes of the same archive. Needs root and erofs.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use roost_image_import::{Choice, Files, ImportError, Limits, Report, convert};
use roost_types::Arch;
use roost_types::image::ArchiveKind;
use tar::{Builder, EntryType, Header};

/// A directory that is removed with its value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("roost-import-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fresh(path: &Path) -> File {
    File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap()
}

fn import(dir: &Path, archive: &Path) -> Result<Report, ImportError> {
    import_within(dir, archive, Limits::default())
}

fn import_within(dir: &Path, archive: &Path, limits: Limits) -> Result<Report, ImportError> {
    let files = Files {
        archive: File::open(archive).unwrap(),
        archive_bytes: fs::metadata(archive).unwrap().len(),
        scratch: fresh(&dir.join("scratch")),
        output: fresh(&dir.join("root")),
    };
    let choice = Choice { arch: Some(Arch::Amd64), tag: None };
    convert(files, ArchiveKind::Auto, &choice, limits, |_, _, _| {})
}

fn header(kind: EntryType, size: usize, mode: u32, owner: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner + 1);
    header.set_mtime(1_600_000_000 + owner);
    header
}

/// Sizes about every boundary of the format, a directory of many blocks, deep paths, links of both kinds, odd modes.
fn varied(path: &Path) {
    let mut tar = Builder::new(File::create(path).unwrap());
    let mut file = |name: &str, bytes: &[u8], mode: u32, owner: u64| {
        tar.append_data(&mut header(EntryType::Regular, bytes.len(), mode, owner), name, bytes).unwrap();
    };
    for size in [0, 1, 100, 2047, 2048, 2049, 4000, 4095, 4096, 4097, 6144, 6145, 8191, 8192, 1 << 20, (1 << 20) + 7] {
        let bytes: Vec<u8> = (0..size).map(|at: usize| (at * 31 % 251) as u8).collect();
        file(&format!("sizes/{size}"), &bytes, 0o644, 0);
    }
    for number in 0..1_500 {
        file(&format!("many/{number}-{}", "n".repeat(number % 120)), b"x", 0o600, 70_000);
    }
    file("bin/setuid", b"#!/bin/sh\n", 0o4755, 0);
    file("before-dot/!bang", b"!", 0o644, 1);
    file("before-dot/-dash", b"-", 0o644, 1);
    file(&format!("{}/end", (0..40).map(|n| format!("d{n}")).collect::<Vec<_>>().join("/")), b"deep", 0o644, 1000);
    for (name, target) in [("link", "sizes/1"), ("abs", "/etc/passwd"), ("long", &"t".repeat(4000)), ("up", "../..")] {
        tar.append_link(&mut header(EntryType::Symlink, 0, 0o777, 5), name, target).unwrap();
    }
    for name in ["hard1", "bin/hard2"] {
        tar.append_link(&mut header(EntryType::Link, 0, 0o644, 0), name, "sizes/4097").unwrap();
    }
    tar.append_data(&mut header(EntryType::Directory, 0, 0o1777, 0), "tmp", &[][..]).unwrap();
    tar.append_data(&mut header(EntryType::Directory, 0, 0o700, 9), "sizes", &[][..]).unwrap();
    tar.into_inner().unwrap().sync_all().unwrap();
}

fn sh(script: &str) -> String {
    let output = Command::new("unshare").args(["-m", "sh", "-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything but times of directories that no entry describes, which are when tar ran.
const LIST: &str = "find . -mindepth 1 -type d -printf '%P %y %m %n\\n' -o -printf '%P %y %m %U:%G %s %T@ %n %l\\n' | LC_ALL=C sort; \
    find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";

#[test]
fn the_kernel_reads_back_what_tar_would_have_made() {
    let dir = Scratch::new("same");
    let (archive, root) = (dir.0.join("a.tar"), dir.0.join("root"));
    varied(&archive);
    let report = import(&dir.0, &archive).unwrap();
    assert_eq!(report.size, fs::metadata(&root).unwrap().len());
    let checked = Command::new("fsck.erofs").arg(&root).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let (base, root) = (dir.0.display(), root.display());
    let ours = sh(&format!("mkdir {base}/m; mount -t erofs -o loop,ro {root} {base}/m; cd {base}/m; {LIST}"));
    let tars = sh(&format!(
        "umask 022; mkdir {base}/t; tar -C {base}/t --numeric-owner -xpf {}; cd {base}/t; {LIST}",
        archive.display()
    ));
    for (ours, tars) in ours.lines().zip(tars.lines()) {
        assert_eq!(ours, tars);
    }
    assert_eq!(ours.lines().count(), tars.lines().count());
    assert!(ours.lines().count() > 3_000);
}

#[test]
fn every_compression_gives_the_same_bytes() {
    let dir = Scratch::new("packed");
    let archive = dir.0.join("a.tar");
    varied(&archive);
    import(&dir.0, &archive).unwrap();
    let plain = fs::read(dir.0.join("root")).unwrap();
    let tar = fs::read(&archive).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&tar).unwrap();
    for (name, packed) in [
        ("gzip", gzip.finish().unwrap()),
        ("xz", xz.finish().unwrap()),
        ("zstd", zstd::encode_all(tar.as_slice(), 3).unwrap()),
    ] {
        fs::write(&archive, packed).unwrap();
        import(&dir.0, &archive).unwrap();
        assert!(fs::read(dir.0.join("root")).unwrap() == plain, "{name}");
    }
}

#[test]
fn attributes_of_users_are_kept_and_others_dropped_or_refused() {
    let dir = Scratch::new("xattrs");
    let with = |attributes: &[(&str, &str)]| {
        let archive = dir.0.join("a.tar");
        let mut tar = Builder::new(File::create(&archive).unwrap());
        let records: Vec<(String, &[u8])> =
            attributes.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_bytes())).collect();
        tar.append_pax_extensions(records.iter().map(|(name, value)| (name.as_str(), *value))).unwrap();
        tar.append_data(&mut header(EntryType::Regular, 3, 0o644, 0), "file", &b"abc"[..]).unwrap();
        tar.into_inner().unwrap().flush().unwrap();
        import(&dir.0, &archive)
    };
    let report =
        with(&[("user.a", "1"), ("user.longer", "value"), ("security.capability", "c"), ("security.selinux", "s")]);
    let report = report.unwrap();
    assert_eq!((report.dropped.file_capabilities, report.dropped.xattrs), (1, 1));
    let base = dir.0.display();
    let read = sh(&format!(
        "mkdir {base}/m; mount -t erofs -o loop,ro {base}/root {base}/m; cd {base}/m; getfattr -d -m - file"
    ));
    assert!(read.contains("user.a") && read.contains("user.longer") && read.contains("value"), "{read}");
    assert!(!read.contains("security"), "{read}");
    for refused in ["trusted.overlay.opaque", "user.overlay.redirect"] {
        let error = with(&[(refused, "y")]).unwrap_err().to_string();
        assert!(error.contains(refused), "{error}");
    }
}

/// The caps themselves are too large to be reached in a test of seconds: here each is set just below what an archive needs.
#[test]
fn every_cap_refuses_what_is_one_too_much() {
    let dir = Scratch::new("caps");
    let archive = dir.0.join("a.tar.gz");
    let mut gzip = flate2::write::GzEncoder::new(File::create(&archive).unwrap(), flate2::Compression::best());
    let mut tar = Builder::new(&mut gzip);
    for (name, size) in [("a/b/c/one", 1 << 20), ("two", 100)] {
        let bytes = vec![b'x'; size];
        tar.append_data(&mut header(EntryType::Regular, size, 0o644, 0), name, bytes.as_slice()).unwrap();
    }
    tar.finish().unwrap();
    drop(tar);
    gzip.finish().unwrap();

    let roomy = Limits { ratio_from: 4 << 20, ..Limits::default() };
    let report = import_within(&dir.0, &archive, roomy.clone()).unwrap();
    let packed = fs::metadata(&archive).unwrap().len();
    for (limits, why) in [
        (Limits { unpacked_bytes: report.unpacked - 1, ..roomy.clone() }, "unpacked size"),
        (Limits { image_bytes: report.size - 1, ..roomy.clone() }, "root file"),
        (Limits { entries: report.entries - 1, ..roomy.clone() }, "number of entries"),
        (Limits { metadata_bytes: 5, ..roomy.clone() }, "names and attributes"),
        (Limits { path_bytes: 8, ..roomy.clone() }, "path of more than 8 bytes"),
        (Limits { depth: 3, ..roomy.clone() }, "more than 3 directories"),
        (Limits { ratio_from: 1 << 20, ratio: (1 << 20) / packed / 2, ..roomy.clone() }, "compression ratio"),
    ] {
        let error = import_within(&dir.0, &archive, limits).unwrap_err().to_string();
        assert!(error.contains(why), "wanted '{why}', got '{error}'");
    }
    let exactly =
        Limits { unpacked_bytes: report.unpacked, image_bytes: report.size, entries: report.entries, ..roomy };
    import_within(&dir.0, &archive, exactly).unwrap();
}
