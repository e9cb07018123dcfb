//! The process that unpacks: what it has given up, and what is left when it is stopped.

use std::fs;
use std::time::{Duration, Instant};

use crate::archive::{Random, Tar};
use crate::server::Server;

/// An archive that keeps the unpacking process busy for a second or more.
fn long() -> Vec<u8> {
    let noise = Random(7).bytes(1 << 20);
    let mut tar = Tar::default();
    for number in 0..160 {
        tar = tar.file(format!("file{number}"), &noise);
    }
    tar.end()
}

/// The unpacking process, once it is in its sandbox.
fn sandboxed(server: &Server) -> u32 {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        for child in server.children() {
            let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            if status.contains("Seccomp:\t2") {
                return child;
            }
        }
        assert!(Instant::now() < end, "no unpacking process appears");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_unpacking_process_has_given_everything_up() {
    let server = Server::start("sandbox");
    assert_eq!(server.begin("from=tar&alias=long&arch=amd64", long()).status, 202);
    let child = sandboxed(&server);
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((field("Seccomp"), field("NoNewPrivs")), (vec!["2".to_owned()], vec!["1".to_owned()]));
    assert_eq!(field("Uid"), ["65534"; 4]);
    assert_eq!(field("Gid"), ["65534"; 4]);
    assert!(field("Groups").is_empty(), "{status}");
    assert!(fs::read_dir(format!("/proc/{child}/root/")).unwrap().next().is_none(), "its root is not empty");
    let mounts = fs::read_to_string(format!("/proc/{child}/mountinfo")).unwrap();
    assert!(mounts.lines().count() == 1 && mounts.contains("/empty / "), "{mounts}");
    for space in ["net", "mnt", "ipc", "uts", "user"] {
        let of = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/{space}")).unwrap();
        assert_ne!(of(child), of(server.pid()), "{space}");
    }
    let limits = fs::read_to_string(format!("/proc/{child}/limits")).unwrap();
    let limits: Vec<String> =
        limits.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for limit in ["Max cpu time 600 600", "Max open files 32 32", "Max core file size 0 0", "Max data size 536870912"] {
        assert!(limits.iter().any(|line| line.starts_with(limit)), "{limit}: {limits:?}");
    }
    // Standard three, archive, scratch and output; nothing that leads to the database or the network.
    let open = fs::read_dir(format!("/proc/{child}/fd")).unwrap();
    let mut targets: Vec<String> =
        open.map(|fd| fs::read_link(fd.unwrap().path()).unwrap().display().to_string()).collect();
    targets.retain(|target| !target.starts_with("pipe:") && target != "/dev/null");
    targets.sort();
    let ends: Vec<&str> = targets.iter().map(|target| target.rsplit('/').next().unwrap()).collect();
    assert_eq!(ends, ["archive", "root", "scratch (deleted)"], "{targets:?}");
}

#[test]
fn a_cancelled_import_leaves_nothing() {
    let server = Server::start("cancel");
    let operation = server.begin("from=tar&alias=long&arch=amd64", long());
    let child = sandboxed(&server);
    let id = operation.body["id"].as_str().unwrap();
    assert_eq!(server.delete(&format!("/v1/operations/{id}")).body["status"], "cancelled");
    wait_for(|| !fs::exists(format!("/proc/{child}/fd")).unwrap() && server.files().1.is_empty());
    assert_eq!(server.files(), (vec![], vec![]));
    assert_eq!(server.get("/v1/images/long").status, 404);
}

#[test]
fn a_controller_that_dies_while_unpacking_leaves_nothing_behind() {
    let mut server = Server::start("killed");
    for _ in 0..3 {
        let operation = server.begin("from=tar&alias=long&arch=amd64", long());
        let child = sandboxed(&server);
        server.restart();
        wait_for(|| !fs::exists(format!("/proc/{child}/root/.")).unwrap_or(false));
        assert_eq!(server.files(), (vec![], vec![]));
        let id = operation.body["id"].as_str().unwrap();
        let operation = server.get(&format!("/v1/operations/{id}")).body;
        assert_eq!(operation["status"], "failed");
        assert!(operation["error"]["detail"].as_str().unwrap().contains("restarted"), "{operation}");
    }
}

fn wait_for(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "it does not come to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}
