//! Archives that mean harm, made by seed: kinds of trick in several variants. None may reach anything outside, and of none
//! may a part be stored.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::archive::{Member, Random, Tar, gzip, harmless, sha256, xz, zstd};
use crate::oci::{Layout, blob_path, descriptor, docker};
use crate::server::Server;

/// The seed of all names and places that are drawn.
const SEED: u64 = 0x0B57_AC1E;
/// Fewer would not be a corpus.
const AT_LEAST: usize = 60;

/// An archive and what is to become of it.
struct Case {
    name: String,
    kind: &'static str,
    bytes: Vec<u8>,
    end: End,
}

enum End {
    /// Refused for a reason that has these words.
    Refused(&'static str),
    /// Taken, with what is dangerous left out: these names are in the image and no others.
    Tamed(&'static [&'static str]),
}

/// Files outside that a trick would read, change or remove.
struct Canary(PathBuf);

impl Canary {
    fn plant(dir: &Path) -> Self {
        let root = dir.join("canary");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        fs::write(root.join("secret"), "nobody may read this").unwrap();
        Self(root)
    }

    /// Everything about every file: contents, owner, mode, links, times of change.
    fn print(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut todo = vec![self.0.clone()];
        while let Some(path) = todo.pop() {
            let meta = fs::symlink_metadata(&path).unwrap();
            let contents = if meta.is_file() { sha256(&fs::read(&path).unwrap()) } else { String::new() };
            let (mode, links, change) = (meta.mode(), meta.nlink(), (meta.ctime(), meta.ctime_nsec()));
            lines.push(format!("{} {mode:o} {} {links} {change:?} {contents}", path.display(), meta.uid()));
            if meta.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        lines.sort();
        lines
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// The same from a directory that is deep in the controller's state, and from the root.
    fn relative(&self, name: &str) -> String {
        format!("../../../../../../../../..{}", self.path(name))
    }
}

#[derive(Default)]
struct Corpus(Vec<Case>);

impl Corpus {
    fn refuse(&mut self, name: impl Into<String>, why: &'static str, bytes: Vec<u8>) {
        self.add(name, "tar", bytes, End::Refused(why));
    }

    fn refuse_oci(&mut self, name: impl Into<String>, why: &'static str, bytes: Vec<u8>) {
        self.add(name, "oci", bytes, End::Refused(why));
    }

    fn refuse_docker(&mut self, name: impl Into<String>, why: &'static str, bytes: Vec<u8>) {
        self.add(name, "docker", bytes, End::Refused(why));
    }

    fn add(&mut self, name: impl Into<String>, kind: &'static str, bytes: Vec<u8>, end: End) {
        self.0.push(Case { name: name.into(), kind, bytes, end });
    }
}

fn names(corpus: &mut Corpus, canary: &Canary) {
    let (outside, climbing) = (canary.path("new"), canary.relative("new"));
    for (kind, what) in [(b'0', "file"), (b'5', "directory"), (b'2', "symbolic link"), (b'1', "hard link")] {
        let with = |name: &str| harmless().pax(&[("path", name.as_bytes())]).member(kind, b"x", b"bin/sh", b"").end();
        corpus.refuse(format!("{what} with an absolute name"), "absolute name", with(&outside));
        corpus.refuse(format!("{what} with a climbing name"), "'..'", with(&climbing));
    }
    for name in ["..", "a/..", "a/../../b", "./../x", "a/./..//b"] {
        corpus.refuse(format!("name {name}"), "'..'", harmless().file(name, b"x").end());
    }
    corpus.refuse("empty name", "empty name", harmless().file("", b"x").end());
    corpus.refuse("NUL in a name", "NUL", harmless().long(b"etc/a\0b", b"x").end());
    corpus.refuse("line break in a short name", "line break", harmless().file("etc/a\nb", b"x").end());
    corpus.refuse("line break in a long name", "line break", harmless().long(b"etc/a\nb", b"x").end());
    corpus.refuse("name of 256 bytes", "255 bytes", harmless().long(&[b'n'; 256], b"x").end());
    corpus.refuse("path of 5,000 bytes", "4096", harmless().long("abcdefg/".repeat(625).as_bytes(), b"x").end());
    corpus.refuse("65 directories deep", "64 directories", harmless().long("d/".repeat(65).as_bytes(), b"").end());
    corpus.refuse("a file as the root", "empty name", harmless().file("./", b"x").end());
}

fn links(corpus: &mut Corpus, canary: &Canary) {
    for (what, target) in [
        ("absolute", canary.path("etc")),
        ("climbing", canary.relative("etc")),
        ("to the root", "/".to_owned()),
        ("to itself", ".".to_owned()),
        ("to /proc", "/proc/self/cwd".to_owned()),
    ] {
        let swap = harmless().pax(&[("linkpath", target.as_bytes())]).symlink("out", "x");
        let why = "below a symbolic link of the same layer";
        corpus.refuse(format!("file through a link {what}"), why, swap.clone().file("out/passwd", b"pwned").end());
        corpus.refuse(format!("directory through a link {what}"), why, swap.clone().dir("out/new").end());
        corpus.refuse(format!("hard link through a link {what}"), why, swap.hardlink("bin/x", "out/passwd").end());
    }
    let chain = harmless().symlink("a", "b").symlink("b", "c").symlink("c", canary.path("etc"));
    corpus.refuse("file through a chain of links", "below a symbolic link", chain.file("a/passwd", b"x").end());
    corpus.refuse("directory exchanged for a link", "twice", harmless().symlink("etc", canary.path("etc")).end());
    let swapped = Tar::default().dir("d").symlink("d", canary.path("etc")).file("d/passwd", b"x");
    corpus.refuse("empty directory exchanged for a link", "twice", swapped.end());
    corpus.refuse(
        "link and file of one name",
        "twice",
        harmless().symlink("x", canary.path("secret")).file("x", b"y").end(),
    );
    corpus.refuse("two files of one name", "twice", harmless().file("x", b"1").file("x", b"2").end());
    corpus.refuse("two names that are one", "twice", harmless().file("x/y", b"1").file("./x//y", b"2").end());
    corpus.refuse("file below a file", "not a directory", harmless().file("bin/sh/x", b"y").end());

    let why = "hard link to something";
    for (what, target) in [
        ("an absolute path", canary.path("secret")),
        ("a climbing path", canary.relative("secret")),
        ("what is not there", "etc/none".to_owned()),
        ("what comes later", "later".to_owned()),
        ("a directory", "etc".to_owned()),
        ("itself", "hard".to_owned()),
        ("nothing", String::new()),
    ] {
        let tar = harmless().pax(&[("linkpath", target.as_bytes())]).hardlink("hard", "x").file("later", b"x").end();
        corpus.refuse(format!("hard link to {what}"), why, tar);
    }
    let to_link = harmless().symlink("s", canary.path("secret")).hardlink("hard", "s").file("hard", b"pwned");
    corpus.refuse("hard link to a link, written through", why, to_link.end());
    let data = Member { kind: b'1', name: b"hard", target: b"bin/sh", mode: 0o644, owner: 0, size: 512 };
    corpus.refuse("hard link with data", "carries data", harmless().raw(&data, &[7; 512]).end());
    corpus.refuse("link with an empty target", "target", harmless().symlink("s", "").end());
    corpus.refuse(
        "link with a NUL in its target",
        "target",
        harmless().pax(&[("linkpath", b"a\0b")]).symlink("s", "x").end(),
    );
    let long = vec![b't'; 5_000];
    corpus.refuse(
        "link with a target of 5,000 bytes",
        "target",
        harmless().pax(&[("linkpath", &long)]).symlink("s", "x").end(),
    );

    let meta = || Tar::default().file("metadata.yaml", b"x");
    corpus.refuse("rootfs is a link to the root", "not a directory", meta().symlink("rootfs", "/").end());
    corpus.refuse("rootfs is a file", "not a directory", meta().file("rootfs", b"x").end());
    let twice = meta().dir("rootfs").file("rootfs/etc/x", b"x").symlink("rootfs", canary.path("etc"));
    corpus.refuse("a second rootfs that is a link", "twice", twice.end());
    let templates =
        meta().dir("rootfs").file("rootfs/x", b"x").symlink("templates", "/etc").file("templates/passwd", b"x");
    corpus.refuse("templates through a link", "below a symbolic link", templates.end());
}

fn headers(corpus: &mut Corpus, random: &mut Random) {
    for (what, size) in [("larger", "600"), ("smaller", "1"), ("huge", "18446744073709551615"), ("negative", "-1")] {
        let tar = harmless().pax(&[("size", size.as_bytes())]).file("x", &[7; 512]).end();
        corpus.refuse(format!("a {what} size in an extension"), "another size", tar);
    }
    let twice = harmless().pax(&[("path", b"a"), ("path", b"b")]).file("x", b"y");
    corpus.refuse("a path twice in one extension", "twice", twice.end());
    let both =
        harmless().member(b'L', b"././@LongLink", b"", b"from-gnu\0").pax(&[("path", b"from-pax")]).file("x", b"y");
    corpus.refuse("two long names of two formats", "two long names", both.end());
    let two = harmless().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("x", b"y");
    corpus.refuse("two extensions for one member", "two extension headers", two.end());
    for key in ["path", "linkpath", "size", "uid", "SCHILY.xattr.user.x"] {
        let tar = harmless().pax_of(b'g', &[(key, b"1")]).file("x", b"y").end();
        corpus.refuse(format!("a global {key}"), "applies to every member", tar);
    }
    corpus.refuse(
        "an extension of noise",
        "cannot be read",
        harmless().member(b'x', b"e", b"", b"99999 x").file("x", b"y").end(),
    );
    corpus.refuse("an extension of nothing", "has no member", harmless().pax(&[("path", b"a")]).end());
    let big = vec![b'n'; 2 << 20];
    corpus.refuse(
        "an extension of 2 MiB",
        "extension header's size",
        harmless().member(b'L', b"l", b"", &big).file("x", b"y").end(),
    );
    corpus.refuse(
        "an owner above 32 bits",
        "no number of 32 bits",
        harmless().pax(&[("uid", b"4294967296")]).file("x", b"y").end(),
    );
    corpus.refuse("a sparse member of GNU's", "sparse", harmless().member(b'S', b"x", b"", b"").end());
    corpus.refuse(
        "a sparse member of PAX's",
        "sparse",
        harmless().pax(&[("GNU.sparse.major", b"1")]).file("x", b"y").end(),
    );
    for kind in [b'M', b'V', b'D', b'A', b'N', b'9'] {
        let tar = harmless().member(kind, b"x", b"", b"").end();
        corpus.refuse(format!("a member of kind {}", char::from(kind)), "of a kind", tar);
    }
    corpus.refuse("a directory with data", "carries data", harmless().member(b'5', b"d", b"", &[7; 512]).end());
    let lie = Member { kind: b'0', name: b"x", target: b"", mode: 0o644, owner: 0, size: 1 << 32 };
    corpus.refuse("a size beyond the archive", "breaks off", harmless().raw(&lie, b"short").end());

    let whole = harmless().file("etc/big", &random.bytes(5_000)).end();
    corpus.refuse("no end marker", "breaks off", harmless().cut());
    for at in 0..4 {
        let cut = 512 + random.below(whole.len() - 1024 - 512);
        corpus.refuse(format!("cut, place {at}"), "proper tar archive", whole[..cut].to_vec());
        let mut flipped = whole.clone();
        // A bit of a header that its checksum covers.
        flipped[random.below(148)] ^= 1 << random.below(7);
        corpus.refuse(format!("a flipped bit, place {at}"), "checksum", flipped);
    }
    let mut more = whole.clone();
    more.extend_from_slice(&harmless().file("hidden", b"x").end());
    corpus.refuse("a second archive behind the first", "after its end marker", more);
    corpus.refuse("nothing at all", "breaks off", Vec::new());
    corpus.refuse("only an end", "no files", Tar::default().end());
    corpus.refuse("noise", "checksum", random.bytes(4_096));
}

fn attributes(corpus: &mut Corpus) {
    let with =
        |name: &str, value: &[u8]| harmless().pax(&[(&format!("SCHILY.xattr.{name}"), value)]).file("x", b"y").end();
    for name in ["trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.opaque", "trusted.x"] {
        corpus.refuse(format!("attribute {name}"), "no image may set", with(name, b"y"));
    }
    corpus.refuse("an attribute of 64 KiB", "extended attributes", with("user.x", &[7; 65_536]));
    corpus.refuse("an attribute without a name", "extended attributes", with("user.", b"y"));

    let device = |kind| Member { kind, name: b"dev/x", target: b"", mode: 0o666, owner: 0, size: 0 };
    for (kind, what) in [(b'3', "character device"), (b'4', "block device"), (b'6', "named pipe")] {
        let tar = harmless().raw(&device(kind), b"").end();
        corpus.add(what, "tar", tar, End::Tamed(&["bin", "bin/sh", "etc", "etc/hostname"]));
    }
    let capable = with("security.capability", &[1, 0, 0, 2, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    corpus.add("file capabilities", "tar", capable, End::Tamed(&["bin", "bin/sh", "etc", "etc/hostname", "x"]));
    let setuid = Member { kind: b'0', name: b"x", target: b"", mode: 0o6755, owner: 0, size: 3 };
    let tar = harmless().raw(&setuid, b"#!\n").end();
    corpus.add("a setuid file", "tar", tar, End::Tamed(&["bin", "bin/sh", "etc", "etc/hostname", "x"]));
}

fn bombs(corpus: &mut Corpus, random: &mut Random) {
    let zeros = harmless().file("zeros", &vec![0; 64 << 20]).end();
    corpus.refuse("a gzip bomb", "compression ratio", gzip(&zeros));
    corpus.refuse("an xz bomb", "compression ratio", xz(&zeros, 1 << 20));
    corpus.refuse("a zstd bomb", "compression ratio", zstd(&zeros, 20));
    corpus.refuse("a gzip bomb in a gzip bomb", "checksum", gzip(&gzip(&zeros)));
    let small = harmless().file("x", &random.bytes(10_000)).end();
    corpus.refuse("an xz dictionary of 128 MiB", "decompressed", xz(&small, 128 << 20));
    corpus.refuse("a zstd window of 128 MiB", "decompressed", zstd(&vec![7; 20 << 20], 27));
    let mut many = Tar::default();
    for number in 0..200_001 {
        many = many.dir(format!("{number}"));
    }
    corpus.refuse("200,001 entries", "number of entries", gzip(&many.end()));
    let mut heavy = Tar::default();
    for number in 0..17_000 {
        let mut target = random.bytes(2);
        target.iter_mut().for_each(|byte| *byte = byte.max(&mut 1).to_owned());
        target.resize(4_000, b't');
        heavy = heavy.pax(&[("linkpath", &target)]).symlink(format!("{number}"), "x");
    }
    corpus.refuse("68 MB of names", "names and attributes", gzip(&heavy.end()));
    for (what, packed) in [("gzip", gzip(&small)), ("xz", xz(&small, 1 << 20)), ("zstd", zstd(&small, 20))] {
        let half = packed.len() / 2;
        corpus.refuse(format!("{what}, cut"), "decompressed", packed[..half].to_vec());
        let mut flipped = packed.clone();
        flipped[half + random.below(half / 2)] ^= 0x10;
        corpus.refuse(format!("{what}, a flipped bit"), "", flipped);
    }
    corpus.refuse("bzip2", "bzip2", b"BZh91AY&SY".to_vec());
    corpus.refuse("zip", "zip", b"PK\x03\x04 and more".to_vec());
}

fn whiteouts(corpus: &mut Corpus, canary: &Canary) {
    corpus.refuse("a whiteout where there are no layers", "whiteout", harmless().file("etc/.wh.hostname", b"").end());
    let lower = harmless().end();
    let over = |upper: Tar| Layout::of(&[lower.clone(), upper.end()]).tar().end();
    for name in
        [".wh.", ".wh..", ".wh...", ".wh..wh.plnk", ".wh..wh.aufs", "etc/.wh...", ".wh.a/b", "etc/.wh..wh..opq/x"]
    {
        corpus.refuse_oci(format!("whiteout {name}"), "whiteout", over(Tar::default().file(name, b"")));
    }
    corpus.refuse_oci("a whiteout that climbs", "'..'", over(Tar::default().file("../.wh.canary", b"")));
    corpus.refuse_oci(
        "a whiteout that is a link",
        "whiteout",
        over(Tar::default().symlink(".wh.etc", canary.path("etc"))),
    );
    corpus.refuse_oci("a whiteout that is a directory", "whiteout", over(Tar::default().dir(".wh.etc")));
    corpus.refuse_oci("a whiteout with data", "whiteout", over(Tar::default().file(".wh.etc", b"x")));
    let why = "below a symbolic link";
    let out = || Tar::default().symlink("out", canary.path("etc"));
    corpus.refuse_oci("a whiteout through a link", why, over(out().file("out/.wh.passwd", b"")));
    corpus.refuse_oci("an opaque mark through a link", why, over(out().file("out/.wh..wh..opq", b"")));
    let lower = harmless().symlink("out", canary.path("etc")).end();
    let upper = Tar::default().file("out/.wh.passwd", b"").file("out/new", b"x").end();
    let inside = Layout::of(&[lower, upper]).tar().end();
    // The link of an earlier layer is followed as the container would: inside.
    corpus.add("through a lower layer's link", "oci", inside, End::Tamed(&["…"]));
    let circle =
        Layout::of(&[harmless().symlink("a", "b").symlink("b", "a").end(), Tar::default().file("a/x", b"").end()]);
    corpus.refuse_oci("links in a circle", "circle", circle.tar().end());
}

fn layouts(corpus: &mut Corpus, canary: &Canary) {
    let base = || Layout::of(&[harmless().end()]);
    let edit = |change: &dyn Fn(&mut Layout)| {
        let mut layout = base();
        change(&mut layout);
        layout.tar().end()
    };
    let other = sha256(b"other");
    for (what, digest) in [
        ("climbs", "sha256:../../../../etc/passwd".to_owned()),
        ("is of another algorithm", format!("sha512:{}", "a".repeat(128))),
        ("is in capitals", format!("sha256:{}", "A".repeat(64))),
        ("has a NUL", format!("sha256:{}\0", "a".repeat(63))),
    ] {
        let bytes = edit(&|l| l.index["manifests"][0]["digest"] = json!(digest));
        corpus.refuse_oci(format!("a digest that {what}"), "64 hexadecimal digits", bytes);
    }
    corpus.refuse_oci(
        "a manifest that is missing",
        "missing",
        edit(&|l| l.index["manifests"][0]["digest"] = json!(other)),
    );
    corpus.refuse_oci(
        "a manifest of another size",
        "stated size",
        edit(&|l| l.index["manifests"][0]["size"] = json!(1)),
    );
    let layer = |key: &'static str, value: serde_json::Value| {
        edit(&move |l| {
            l.manifest["layers"][0][key] = value.clone();
            l.seal_manifest();
        })
    };
    corpus.refuse_oci("a layer of another size", "stated size", layer("size", json!(1_u64 << 40)));
    corpus.refuse_oci("a layer that is missing", "missing", layer("digest", json!(other)));
    corpus.refuse_oci("a layer of an unknown type", "not supported", layer("mediaType", json!("text/x-shellscript")));
    let foreign = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    corpus.refuse_oci("a layer from elsewhere", "not supported", layer("mediaType", foreign));
    let more = edit(&|l| {
        let first = l.manifest["layers"][0].clone();
        l.manifest["layers"] = json!([first.clone(), first]);
        l.seal_manifest();
    });
    corpus.refuse_oci("more layers than the configuration has", "different numbers", more);
    let many: Vec<Vec<u8>> = (0..129).map(|number| Tar::default().file(format!("{number}"), b"x").end()).collect();
    corpus.refuse_oci("129 layers", "number of layers", Layout::of(&many).tar().end());
    let configured = |change: &dyn Fn(&mut serde_json::Value)| {
        edit(&|l| {
            change(&mut l.config);
            l.seal_config();
        })
    };
    corpus.refuse_oci(
        "plain bytes of another digest",
        "is promised",
        configured(&|c| c["rootfs"]["diff_ids"] = json!([other])),
    );
    corpus.refuse_oci(
        "a line break in the environment",
        "cannot be set",
        configured(&|c| c["config"]["Env"] = json!(["A=x\nB=y"])),
    );
    corpus.refuse_oci("a NUL in the command", "NUL", configured(&|c| c["config"]["Cmd"] = json!(["a\0b"])));
    corpus.refuse_oci(
        "a command without a program",
        "no name",
        configured(&|c| c["config"]["Entrypoint"] = json!([""])),
    );
    corpus.refuse_oci(
        "a climbing directory",
        "working directory",
        configured(&|c| c["config"]["WorkingDir"] = json!("/a/../../etc")),
    );
    corpus.refuse_oci("a user with a shell in it", "user", configured(&|c| c["config"]["User"] = json!("root;reboot")));
    corpus.refuse_oci("another operating system", "no image for", configured(&|c| c["os"] = json!("windows")));
    let lie = configured(&|c| c["architecture"] = json!("arm64"));
    corpus.refuse_oci("an image for other boards", "no image for amd64", lie);
    let promise = edit(&|l| {
        l.config["architecture"] = json!("s390x");
        l.seal_config();
        l.index["manifests"][0]["platform"] = json!({"architecture": "amd64", "os": "linux"});
    });
    corpus.refuse_oci("an index that lies about the platform", "the index promises", promise);
    let artifact = edit(&|l| {
        l.manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
        l.seal_manifest();
    });
    corpus.refuse_oci("a chart", "not a container image", artifact);
    let tampered = base().tar().file(blob_path(&other), b"another").end();
    corpus.add(
        "a blob beside the image, under a wrong name",
        "oci",
        tampered,
        End::Tamed(&["bin", "bin/sh", "etc", "etc/hostname"]),
    );
    let deep = edit(&|l| {
        for _ in 0..6 {
            let index = l.index.to_string().into_bytes();
            l.index = json!({"manifests": [descriptor("application/vnd.oci.image.index.v1+json", &index)]});
            l.more.push(index);
        }
    });
    corpus.refuse_oci("indexes six deep", "nested indexes", deep);
    let wide = edit(&|l| {
        let one = l.index["manifests"][0].clone();
        l.index["manifests"] = json!(vec![one; 1_000]);
    });
    corpus.refuse_oci("an index of a thousand", "number of manifests", wide);
    let two = edit(&|l| {
        let mut second = base();
        second.config["config"]["Cmd"] = json!(["other"]);
        second.seal_config();
        let added = second.index["manifests"][0].clone();
        l.index["manifests"].as_array_mut().unwrap().push(added);
        l.more.extend([second.config.to_string().into_bytes(), second.manifest.to_string().into_bytes()]);
    });
    corpus.refuse_oci("two images and no word which", "by tag", two);
    corpus.refuse_oci("no index", "missing", Tar::default().file("oci-layout", b"{}").end());
    corpus.refuse_oci(
        "an index of 5 MiB",
        "JSON document",
        Tar::default().file("index.json", &vec![b' '; 5 << 20]).end(),
    );
    corpus.refuse_oci(
        "an index that is deep JSON",
        "cannot be used",
        Tar::default().file("index.json", "[".repeat(4_000).as_bytes()).end(),
    );
    corpus.refuse_oci("two indexes", "twice", base().tar().file("index.json", b"{}").end());
    corpus.refuse_oci(
        "an index that is a link out",
        "missing",
        Tar::default().symlink("index.json", canary.path("secret")).end(),
    );
    let climbing = Tar::default().pax(&[("linkpath", canary.relative("secret").as_bytes())]).symlink("index.json", "x");
    corpus.refuse_oci("an index that is a climbing link", "missing", climbing.end());
    corpus.refuse_oci(
        "links in a circle for an index",
        "missing",
        Tar::default().symlink("index.json", "a").symlink("a", "index.json").end(),
    );
    corpus.refuse_oci("a hard link among the blobs", "of a kind", base().tar().hardlink("x", "index.json").end());

    let saved =
        |change: &dyn Fn(&mut serde_json::Value, &mut serde_json::Value)| docker(&[harmless().end()], change).end();
    for (what, name) in [("absolute", canary.path("secret")), ("climbing", canary.relative("secret"))] {
        let bytes = saved(&|_, manifest| manifest[0]["Layers"] = json!([name]));
        corpus.refuse_docker(format!("a layer with an {what} name"), "missing", bytes);
        let bytes = saved(&|_, manifest| manifest[0]["Config"] = json!(name));
        corpus.refuse_docker(format!("a configuration with an {what} name"), "missing", bytes);
    }
    corpus.refuse_docker(
        "a saved layer of another digest",
        "is promised",
        saved(&|config, _| config["rootfs"]["diff_ids"] = json!([other])),
    );
    corpus.refuse_docker("no image saved", "by tag", saved(&|_, manifest| *manifest = json!([])));
    let renamed =
        docker(&[harmless().end()], |_, manifest| manifest[0]["Config"] = json!(format!("{}.json", "a".repeat(64))));
    let renamed = renamed.file(
        format!("{}.json", "a".repeat(64)),
        json!({"architecture": "amd64", "rootfs": {"diff_ids": []}}).to_string().as_bytes(),
    );
    corpus.refuse_docker("a configuration of another digest", "is promised", renamed.end());
}

fn corpus(canary: &Canary) -> Vec<Case> {
    let (mut corpus, mut random) = (Corpus::default(), Random(SEED));
    names(&mut corpus, canary);
    links(&mut corpus, canary);
    headers(&mut corpus, &mut random);
    attributes(&mut corpus);
    bombs(&mut corpus, &mut random);
    whiteouts(&mut corpus, canary);
    layouts(&mut corpus, canary);
    corpus.0
}

/// Imports one archive; the digest of the image if one came of it.
fn try_case(server: &Server, case: &Case) -> Result<Option<String>, String> {
    let answer = server.import(&format!("from={}&alias=evil&arch=amd64", case.kind), &case.bytes);
    let told = answer.told();
    match &case.end {
        End::Refused(why) if answer.status == 422 && answer.body["code"] == "invalid_image" && told.contains(why) => {
            Ok(None)
        }
        End::Refused(why) => Err(format!("{}: wanted a refusal with '{why}', got {told}", case.name)),
        End::Tamed(names) if answer.status == 201 => {
            let digest = answer.body["digest"].as_str().unwrap().to_owned();
            let listing = server.listing(&digest);
            let found: Vec<&str> = listing.iter().map(|line| line.split(' ').next().unwrap()).collect();
            let plain = listing.iter().all(|line| matches!(line.split(' ').nth(1), Some("d" | "f" | "l")));
            if plain && (found == *names || *names == ["…"]) {
                Ok(Some(digest))
            } else {
                Err(format!("{}: the image holds {listing:?}", case.name))
            }
        }
        End::Tamed(_) => Err(format!("{}: wanted an image, got {told}", case.name)),
    }
}

#[test]
fn no_hostile_archive_reaches_outside_or_leaves_a_part() {
    let server = Server::start("hostile");
    let canary = Canary::plant(&server.dir);
    let before = canary.print();
    let cases = corpus(&canary);
    assert!(cases.len() >= AT_LEAST, "only {} cases", cases.len());
    let distinct: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(distinct.len(), cases.len(), "two cases have one name");

    let (mut wrong, mut images) = (Vec::new(), BTreeSet::new());
    for case in &cases {
        match try_case(&server, case) {
            Ok(image) => images.extend(image),
            Err(why) => wrong.push(why),
        }
        if canary.print() != before {
            panic!("'{}' reached the canary", case.name);
        }
    }
    println!(
        "{} hostile archives, seed {SEED:#x}: {} images with what is dangerous left out",
        cases.len(),
        images.len()
    );
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));

    let (stored, staging) = server.files();
    let wanted: BTreeSet<String> =
        images.iter().map(|digest| digest.trim_start_matches("sha256:").to_owned()).collect();
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), wanted, "a part of something was stored");
    assert_eq!(staging, Vec::<String>::new(), "something was left in staging");
    assert_eq!(server.children(), Vec::<u32>::new(), "a process is left");
}
