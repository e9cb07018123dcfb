//! Requests on a scratch root with links that mean harm. Nothing outside of it may be read or touched.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use roost_types::file::{FileAttributes, FileFailure, FileInfo, FileKind, FileRequest};
use roost_types::{Code, file::MAX_LISTED};

use super::serve;
use crate::testing::Scratch;

/// A root beside something that must stay as it is.
struct Rig {
    scratch: Scratch,
    root: fs::File,
}

impl Rig {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        fs::create_dir_all(scratch.path().join("root/etc")).unwrap();
        fs::create_dir(scratch.path().join("outside")).unwrap();
        fs::write(scratch.path().join("outside/secret"), "secret").unwrap();
        let root = fs::File::open(scratch.path().join("root")).unwrap();
        Self { scratch, root }
    }

    fn inside(&self, path: &str) -> std::path::PathBuf {
        self.scratch.path().join("root").join(path)
    }

    fn ask(&self, request: &FileRequest, input: &[u8]) -> Result<Vec<u8>, FileFailure> {
        let mut output = Vec::new();
        serve(self.root.as_fd(), request, input, &mut output).map(|()| output).map_err(|error| error.failure())
    }

    fn write(&self, path: &str, content: &[u8], attributes: FileAttributes) -> Result<(), FileFailure> {
        let bytes = content.len() as u64;
        let request = FileRequest::Write { path: path.to_owned(), attributes, parents: false, bytes };
        self.ask(&request, content).map(drop)
    }

    fn read(&self, path: &str) -> Result<(FileInfo, Vec<u8>), FileFailure> {
        let said = self.ask(&FileRequest::Read { path: path.to_owned() }, b"")?;
        let line = said.iter().position(|byte| *byte == b'\n').unwrap();
        Ok((serde_json::from_slice(&said[..line]).unwrap(), said[line + 1..].to_vec()))
    }

    fn delete(&self, path: &str, recursive: bool) -> Result<(), FileFailure> {
        self.ask(&FileRequest::Delete { path: path.to_owned(), recursive }, b"").map(drop)
    }

    fn assert_outside_is_untouched(&self) {
        let outside = self.scratch.path().join("outside");
        let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
    }
}

#[test]
fn a_file_is_made_replaced_read_listed_and_removed() {
    let rig = Rig::new("files-life");
    let mode = |mode| FileAttributes { mode: Some(mode), ..own() };
    rig.write("/etc/motd", b"first", mode(0o640)).unwrap();
    let before = fs::metadata(rig.inside("etc/motd")).unwrap();
    rig.write("/etc/motd", b"second", FileAttributes::default()).unwrap();
    let after = fs::metadata(rig.inside("etc/motd")).unwrap();
    assert_ne!(before.ino(), after.ino(), "replaced by a new file, not written into");
    assert_eq!(after.permissions().mode() & 0o7777, 0o640, "mode of what was replaced");

    let (info, content) = rig.read("/etc/motd").unwrap();
    assert_eq!(
        (info.kind, info.mode.as_str(), info.size_bytes, content),
        (FileKind::File, "0640", 6, b"second".into())
    );
    symlink("motd", rig.inside("etc/link")).unwrap();
    let (info, content) = rig.read("/etc").unwrap();
    let list: Vec<FileInfo> = serde_json::from_slice(&content).unwrap();
    assert_eq!(info.kind, FileKind::Directory);
    assert_eq!(list.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["link", "motd"], "no part is left");
    assert_eq!(list[0].target.as_deref(), Some("motd"));
    assert_eq!(rig.read("/etc/link").unwrap().1, b"second");

    assert_eq!(rig.delete("/etc", false).unwrap_err().code, Code::Conflict);
    rig.delete("/etc/link", false).unwrap();
    assert!(rig.inside("etc/motd").exists(), "the link went, not what it points at");
    rig.delete("/etc", true).unwrap();
    assert_eq!(rig.delete("/etc", true).unwrap_err().code, Code::NotFound);
}

/// Owners that a test without root may set, too.
fn own() -> FileAttributes {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    FileAttributes { mode: None, uid: Some(uid), gid: Some(gid) }
}

#[test]
fn what_cannot_be_is_said_and_changes_nothing() {
    let rig = Rig::new("files-refused");
    fs::write(rig.inside("etc/f"), "old").unwrap();
    let cut = FileRequest::Write { path: "/etc/f".into(), attributes: own(), parents: false, bytes: 10 };
    let huge = FileRequest::Write { path: "/etc/f".into(), attributes: own(), parents: false, bytes: u64::MAX };
    let many = rig.inside("many");
    fs::create_dir(&many).unwrap();
    for n in 0..=MAX_LISTED {
        fs::File::create(many.join(n.to_string())).unwrap();
    }
    let read = |path: &str| FileRequest::Read { path: path.into() };
    let make = |path: &str| FileRequest::MakeDirectory { path: path.into(), attributes: own(), parents: false };
    rustix::fs::mknodat(
        rustix::fs::CWD,
        rig.inside("etc/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    for (request, code, part) in [
        (cut, Code::InvalidField, "7 bytes early"),
        (huge, Code::DiskFull, "room"),
        (read("etc/f"), Code::InvalidQuery, "begin it with /"),
        (read("/etc/absent"), Code::NotFound, "/etc/absent"),
        (read("/etc/f/x"), Code::Conflict, "/etc/f/x"),
        (read("/etc/pipe"), Code::Conflict, "pipe"),
        (read("/many"), Code::Conflict, "archive"),
        (make("/etc"), Code::Conflict, "/etc"),
        (make("/"), Code::InvalidQuery, "name"),
        (make("/a/b/c"), Code::NotFound, "/a/b"),
        (FileRequest::Unpack { path: "/etc".into(), max_bytes: 1 }, Code::MalformedArchive, "archive"),
    ] {
        let failure = rig.ask(&request, b"abc").unwrap_err();
        assert_eq!(failure.code, code, "{failure:?}");
        assert!(failure.detail.contains(part), "{failure:?}");
    }
    assert_eq!(rig.write("/etc", b"", own()).unwrap_err().code, Code::Conflict);
    assert_eq!(fs::read(rig.inside("etc/f")).unwrap(), b"old");
    let left: Vec<_> = fs::read_dir(rig.inside("etc")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "f and pipe: {left:?}");
}

#[test]
fn neither_dots_nor_links_lead_out() {
    let rig = Rig::new("files-links");
    let outside = rig.scratch.path().join("outside");
    symlink(&outside, rig.inside("absolute")).unwrap();
    symlink("../../outside", rig.inside("etc/relative")).unwrap();
    symlink("/proc/self/root", rig.inside("magic")).unwrap();
    symlink(outside.join("secret"), rig.inside("file")).unwrap();
    for path in [
        "/../outside/secret",
        "/etc/../../outside/secret",
        "/absolute/secret",
        "/etc/relative/secret",
        "/file",
        "/magic/etc/passwd",
    ] {
        let failure = rig.read(path).unwrap_err();
        assert!(matches!(failure.code, Code::NotFound | Code::Conflict), "{path}: {failure:?}");
    }
    for path in ["/../outside/new", "/absolute/new", "/etc/relative/new"] {
        assert_eq!(rig.write(path, b"x", own()).unwrap_err().code, Code::NotFound, "{path}");
        assert_eq!(rig.delete(path, true).unwrap_err().code, Code::NotFound, "{path}");
    }
    // A link in the place of the file is replaced, not written through.
    rig.write("/file", b"mine", own()).unwrap();
    assert_eq!(fs::symlink_metadata(rig.inside("file")).unwrap().len(), 4);
    rig.delete("/absolute", true).unwrap();
    rig.assert_outside_is_untouched();
}

fn pack(rig: &Rig, path: &str, follow: bool) -> Vec<u8> {
    let said = rig.ask(&FileRequest::Pack { path: path.to_owned(), follow }, b"").unwrap();
    let line = said.iter().position(|byte| *byte == b'\n').unwrap();
    said[line + 1..].to_vec()
}

fn unpack(rig: &Rig, path: &str, archive: &[u8], max_bytes: u64) -> Result<(), FileFailure> {
    rig.ask(&FileRequest::Unpack { path: path.to_owned(), max_bytes }, archive).map(drop)
}

#[test]
fn a_tree_comes_out_and_goes_in_over_what_is_there() {
    let rig = Rig::new("files-tree");
    fs::create_dir_all(rig.inside("srv/site/deep")).unwrap();
    fs::write(rig.inside("srv/site/index"), "new").unwrap();
    fs::write(rig.inside("srv/site/deep/page"), vec![7; 100_000]).unwrap();
    symlink("index", rig.inside("srv/site/home")).unwrap();
    let archive = pack(&rig, "/srv/site", false);

    fs::create_dir_all(rig.inside("var/site")).unwrap();
    fs::write(rig.inside("var/site/index"), "old").unwrap();
    fs::write(rig.inside("var/site/kept"), "kept").unwrap();
    symlink("var", rig.inside("www")).unwrap();
    unpack(&rig, "/www", &archive, 1 << 20).unwrap();
    assert_eq!(fs::read(rig.inside("var/site/index")).unwrap(), b"new");
    assert_eq!(fs::read(rig.inside("var/site/kept")).unwrap(), b"kept");
    assert_eq!(fs::read(rig.inside("var/site/deep/page")).unwrap(), vec![7; 100_000]);
    assert_eq!(fs::read_link(rig.inside("var/site/home")).unwrap(), Path::new("index"));

    assert_eq!(unpack(&rig, "/www", &archive, 50_000).unwrap_err().code, Code::BodyTooLarge);
    assert_eq!(unpack(&rig, "/absent", &archive, 1 << 20).unwrap_err().code, Code::NotFound);
    let cut = &archive[..archive.len() - 1024];
    assert_eq!(unpack(&rig, "/www", cut, 1 << 20).unwrap_err().code, Code::MalformedArchive);
    // A link itself, unless it is to be followed.
    let names = |archive: &[u8]| {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| entry.unwrap().header().entry_type());
        entries.collect::<Vec<_>>()
    };
    assert_eq!(names(&pack(&rig, "/www", false)), [tar::EntryType::Symlink]);
    assert_eq!(names(&pack(&rig, "/www", true))[0], tar::EntryType::Directory);
    assert_eq!(names(&pack(&rig, "/srv/site/home", true)), [tar::EntryType::Regular]);
}

#[test]
fn a_racing_renamer_gains_nothing() {
    let rig = Rig::new("files-race");
    let outside = rig.scratch.path().join("outside");
    fs::create_dir(rig.inside("dir")).unwrap();
    fs::write(rig.inside("dir/secret"), "inside").unwrap();
    symlink(&outside, rig.inside("link")).unwrap();
    let archive = pack(&rig, "/dir", false);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let root = rig.root.as_fd();
            while !over.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(root, "dir", root, "link", flags).unwrap();
            }
        });
        let mut inside = 0;
        for _ in 0..2_000 {
            if let Ok((_, content)) = rig.read("/dir/secret") {
                assert_eq!(content, b"inside");
                inside += 1;
            }
            // Each may fail at any moment; none may succeed outside.
            let _ = rig.write("/dir/pushed", b"x", own());
            let _ = unpack(&rig, "/", &archive, 1 << 20);
            let _ = rig.delete("/dir/pushed", false);
        }
        over.store(true, Ordering::Relaxed);
        assert!(inside > 0, "the race was never won by the reader");
    });
    rig.assert_outside_is_untouched();
}
