//! What is good becomes an image, however it is packed.

use serde_json::json;

use crate::archive::{Tar, gzip, harmless, xz, zstd};
use crate::oci::{Layout, docker};
use crate::server::{Answer, Server};

fn digest(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.told());
    answer.body["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_root_file_system_is_imported_from_every_packing() {
    let server = Server::start("packing");
    let tar = harmless().symlink("bin/ash", "sh").hardlink("bin/dash", "bin/sh").end();
    let first = digest(&server.import("from=auto&alias=base&arch=arm64&description=a+test", &tar));
    for packed in [gzip(&tar), xz(&tar, 1 << 20), zstd(&tar, 20)] {
        assert_eq!(digest(&server.import("from=tar&alias=base&arch=arm64", &packed)), first);
    }
    assert_eq!(
        server.listing(&first),
        [
            "bin d 755 0:0 72",
            "bin/ash l 644 0:0 2 sh",
            "bin/dash f 644 0:0 3",
            "bin/sh f 644 0:0 3",
            "etc d 755 0:0 47",
            "etc/hostname f 644 0:0 4",
        ]
    );
    let image = server.get("/v1/images/base").body;
    assert_eq!((image["arch"].as_str(), image["format"].as_str()), (Some("arm64"), Some("erofs")));
    let (files, staging) = server.files();
    assert_eq!((files.len(), staging.len()), (1, 0));
}

#[test]
fn what_lxc_and_incus_pack_is_unwrapped() {
    let server = Server::start("lxc");
    let wrapped = Tar::default()
        .file("metadata.yaml", b"architecture: x86_64\n")
        .dir("templates")
        .file("templates/hostname.tpl", b"{{ container.name }}")
        .dir("rootfs")
        .dir("rootfs/bin")
        .file("rootfs/bin/sh", b"#!\n")
        .hardlink("rootfs/bin/ash", "rootfs/bin/sh")
        .end();
    let image = digest(&server.import("from=auto&alias=lxc&arch=amd64", &xz(&wrapped, 1 << 20)));
    let names: Vec<String> =
        server.listing(&image).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["bin", "bin/ash", "bin/sh"]);
}

#[test]
fn layers_are_stacked_with_their_whiteouts_and_the_configuration_is_kept() {
    let server = Server::start("layers");
    let layers = [
        Tar::default()
            .file("bin/app", b"old")
            .file("etc/gone", b"x")
            .file("etc/keep", b"x")
            .file("opt/a/b", b"x")
            .end(),
        Tar::default().file("etc/.wh.gone", b"").file("opt/.wh..wh..opq", b"").file("opt/new", b"y").end(),
        Tar::default().file("bin/app", b"newer").symlink("lib", "opt").end(),
        Tar::default().file("lib/through", b"z").end(),
    ];
    let wanted = ["bin", "bin/app", "etc", "etc/keep", "lib", "opt", "opt/new", "opt/through"];
    let layout = Layout::of(&layers).tar().end();
    let saved = docker(&layers, |config, _| config["config"]["Entrypoint"] = json!(["/bin/app", "serve"])).end();
    for (kind, archive) in
        [("auto", &layout), ("oci", &gzip(&layout)), ("auto", &saved), ("docker", &xz(&saved, 1 << 20))]
    {
        let answer = server.import(&format!("from={kind}&alias=app"), archive);
        let listing = server.listing(&digest(&answer));
        let names: Vec<&str> = listing.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(names, wanted, "{kind}");
        assert!(listing[1].contains(" 5"), "the upper layer's file: {}", listing[1]);
        assert_eq!(answer.body["startup"]["command"][0], "/bin/app", "{kind}");
    }
    let answer = server.import("from=oci&alias=app", &layout);
    let mut other = Layout::of(&layers);
    other.config["config"]["Cmd"] = json!(["idle"]);
    other.config["config"]["User"] = json!("app");
    other.config["config"]["StopSignal"] = json!("SIGINT");
    other.seal_config();
    let other = server.import("from=oci&alias=idle", &other.tar().end());
    assert_ne!(digest(&other), digest(&answer), "the same files, started otherwise, are another image");
    assert_eq!((&other.body["startup"]["user"], &other.body["startup"]["stop_signal"]), (&json!("app"), &json!(2)));
    assert_eq!(answer.body["startup"]["env"], json!({"PATH": "/bin", "LEVEL": "1"}));
    assert_eq!(answer.body["init"], json!(null));
}

#[test]
fn one_index_serves_boards_of_every_kind_under_one_alias() {
    let server = Server::start("multi");
    let mut whole = Layout::of(&[Tar::default().file("which", b"amd64").end()]);
    let mut manifests = Vec::new();
    for (variant, text) in [("v5", "v5"), ("v6", "v6"), ("v7", "v7 is it")] {
        let mut one = Layout::of(&[Tar::default().file("which", text.as_bytes()).end()]);
        one.config["architecture"] = json!("arm");
        one.config["variant"] = json!(variant);
        one.seal_config();
        let mut descriptor = one.index["manifests"][0].clone();
        descriptor["platform"] = json!({"architecture": "arm", "os": "linux", "variant": variant});
        manifests.push(descriptor);
        whole.more.extend([one.config.to_string().into_bytes(), one.manifest.to_string().into_bytes()]);
        whole.more.extend(one.layers);
    }
    let mut own = whole.index["manifests"][0].clone();
    own["platform"] = json!({"architecture": "amd64", "os": "linux"});
    manifests.push(own);
    whole.index["manifests"] = json!(manifests);
    let archive = whole.tar().end();

    let undecided = server.import("from=auto&alias=app", &archive);
    assert_eq!((undecided.status, undecided.body["field"].as_str()), (422, Some("arch")), "{}", undecided.told());
    assert!(undecided.told().contains("armhf, amd64"), "{}", undecided.told());
    let none = server.import("from=auto&alias=app&arch=arm64", &archive);
    assert!(none.status == 422 && none.told().contains("linux/arm/v7"), "{}", none.told());

    let amd64 = digest(&server.import("from=auto&alias=app&arch=amd64", &archive));
    let armhf = digest(&server.import("from=auto&alias=app&arch=armhf", &archive));
    assert_ne!(amd64, armhf);
    assert!(server.listing(&armhf)[0].ends_with(" 8"), "v7 was preferred");
    let both = server.get("/v1/images/app");
    assert!(both.status == 409 && both.told().contains(&armhf) && both.told().contains(&amd64), "{}", both.told());
    assert_eq!(server.get(&format!("/v1/images/{armhf}")).body["aliases"], json!(["app"]));
    assert_eq!(server.delete(&format!("/v1/images/{amd64}")).status, 204);
    assert_eq!(server.get("/v1/images/app").body["digest"], json!(armhf));
}

#[test]
fn a_request_that_cannot_be_used_says_which_field() {
    let server = Server::start("fields");
    let tar = harmless().end();
    for (query, status, field) in [
        ("from=tar&arch=amd64", 400, "alias"),
        ("from=tar&alias=../etc&arch=amd64", 400, "alias"),
        ("from=tar&alias=Upper&arch=amd64", 400, "alias"),
        ("from=tar&alias=a&arch=amd64&format=erofs", 400, "format"),
        ("from=tar&alias=a&arch=amd64&init=/x", 400, "init"),
        ("from=rar&alias=a&arch=amd64", 400, "from"),
        ("from=tar&alias=a&arch=mips", 400, "arch"),
        ("from=tar&alias=a", 422, "arch"),
        ("alias=a&arch=amd64", 400, "format"),
        ("alias=a&format=erofs", 400, "arch"),
    ] {
        let answer = server.import(query, &tar);
        assert_eq!((answer.status, answer.body["field"].as_str()), (status, Some(field)), "{query}: {}", answer.told());
    }
    assert_eq!(server.files(), (vec![], vec![]));
}
