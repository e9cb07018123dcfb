//! Files of real containers: what comes out and goes in, and what must not be reached.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use roost_agent::runtime::{Runtime, RuntimeError};
use roost_types::file::{FileAttributes, FileFailure, FileRequest};
use roost_types::{AllocationId, Code};

use crate::rig::Rig;

cases![
    files_go_in_and_come_out_with_the_containers_ids,
    a_racing_renamer_inside_leads_no_copy_outside,
    an_upload_that_breaks_off_leaves_nothing,
    files_have_no_more_rights_than_the_container,
];

/// Status, standard output and standard error of a request.
async fn ask(rig: &Rig, id: AllocationId, request: &FileRequest, input: &[u8]) -> (i32, Vec<u8>, Vec<u8>) {
    let session = rig.runtime.files(id, request).await.unwrap_or_else(|e| panic!("{request:?}: {e:?}"));
    let (mut to, input) = (File::from(session.stdin), input.to_vec());
    // A process that refuses what it is sent closes the pipe.
    let feeding = tokio::task::spawn_blocking(move || to.write_all(&input).is_ok());
    let read = |fd| {
        tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            File::from(fd).read_to_end(&mut all).map(|_| all).expect("output")
        })
    };
    let (out, err) = (read(session.stdout), read(session.stderr.expect("no terminal")));
    let (exit, out, err) = (session.exit.await.expect("an exit status"), out.await, err.await);
    feeding.await.expect("feeding");
    (exit.code, out.expect("out"), err.expect("err"))
}

fn write(path: &str, content: &[u8]) -> FileRequest {
    let attributes = FileAttributes { mode: Some(0o640), uid: Some(7), gid: Some(65_535) };
    FileRequest::Write { path: path.into(), attributes, parents: true, bytes: content.len() as u64 }
}

fn read(path: &str) -> FileRequest {
    FileRequest::Read { path: path.into() }
}

/// What follows the line of information.
fn content(said: &[u8]) -> &[u8] {
    let line = said.iter().position(|byte| *byte == b'\n').expect("a line");
    &said[line + 1..]
}

async fn files_go_in_and_come_out_with_the_containers_ids(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    assert_eq!(ask(rig, spec.id, &write("/srv/deep/f", b"hello"), b"hello").await.0, 0);
    let (seen, _) = rig.exec(spec.id, &["stat", "-c", "%u:%g %a %s", "/srv/deep/f"]).await;
    assert_eq!(seen, "7:65535 640 5\n");
    let (code, said, _) = ask(rig, spec.id, &read("/srv/deep/f"), b"").await;
    assert_eq!((code, content(&said)), (0, b"hello".as_slice()));
    // A tree over the network's size of message, out and in again.
    rig.exec(spec.id, &["sh", "-c", "mkdir /big; head -c 3000000 /dev/zero > /big/f; ln -s f /big/l"]).await;
    let (code, said, _) = ask(rig, spec.id, &FileRequest::Pack { path: "/big".into(), follow: false }, b"").await;
    assert_eq!(code, 0);
    let unpack = |max_bytes| FileRequest::Unpack { path: "/srv".into(), max_bytes };
    assert_eq!(ask(rig, spec.id, &unpack(3_000_000), content(&said)).await.0, 0);
    let (seen, _) = rig.exec(spec.id, &["sh", "-c", "stat -c %s /srv/big/f; readlink /srv/big/l"]).await;
    assert_eq!(seen, "3000000\nf\n");
    let (code, _, why) = ask(rig, spec.id, &unpack(2_999_999), content(&said)).await;
    let failure: FileFailure = serde_json::from_slice(&why).expect("a failure");
    assert_eq!((code, failure.code), (1, Code::BodyTooLarge));

    rig.runtime.stop(spec.id, Duration::ZERO).await.expect("stop");
    let refused = rig.runtime.files(spec.id, &read("/etc/passwd")).await;
    assert!(matches!(refused, Err(RuntimeError::NotRunning)), "{refused:?}");
}

/// A process inside swaps a directory for links to the root, its own and others', as fast as it can.
async fn a_racing_renamer_inside_leads_no_copy_outside(rig: &Rig) {
    let outside = rig.config.state_dir.join("outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("secret"), "secret").expect("a file");
    let swap = "b=/bin/busybox; while :; do for to in / /proc/1/root /proc/self/root ../../../..; do \
                $b rm -rf /d; $b mkdir /d; echo inside > /d/f; $b mv /d /x; $b ln -s $to /d; $b rm -rf /x; done; done";
    let spec = rig.spec(&["sh", "-c", swap]);
    rig.start(&spec).await;
    let out = outside.display().to_string();
    let archive = |path: &str| FileRequest::Pack { path: path.into(), follow: true };
    let (mut inside, until) = (0, Instant::now() + Duration::from_secs(4));
    while Instant::now() < until {
        let (code, said, _) = ask(rig, spec.id, &read(&format!("/d{out}/secret")), b"").await;
        assert_ne!(code, 0, "a host's file was read: {said:?}");
        // One of that name may be there, in the container, with what was pushed and nothing else.
        let (_, said, _) = ask(rig, spec.id, &archive(&format!("/d{out}")), b"").await;
        assert!(!said.windows(6).any(|bytes| bytes == b"secret"), "a host's directory was packed");
        // It makes the directories that lack, in the container.
        ask(rig, spec.id, &write(&format!("/d{out}/pushed"), b"x"), b"x").await;
        let delete = FileRequest::Delete { path: "/d/tmp".into(), recursive: true };
        ask(rig, spec.id, &delete, b"").await;
        let (code, said, _) = ask(rig, spec.id, &read("/d/f"), b"").await;
        inside += u32::from(code == 0 && content(&said) == b"inside\n");
    }
    assert!(inside > 0, "never won the race for a file of the container's own");
    let names: Vec<_> = fs::read_dir(&outside).expect("outside").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(fs::read(outside.join("secret")).expect("secret"), b"secret");
    fs::remove_dir_all(&outside).expect("removed");
}

async fn an_upload_that_breaks_off_leaves_nothing(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let request = write("/srv/f", &[0; 1000]);
    let (code, _, why) = ask(rig, spec.id, &request, &[0; 999]).await;
    let failure: FileFailure = serde_json::from_slice(&why).expect("a failure");
    assert!(code == 1 && failure.detail.contains("1 bytes early"), "{failure:?}");
    assert_eq!(rig.exec(spec.id, &["ls", "-A", "/srv"]).await, (String::new(), 0));
    // The process ends with the agent's connection, too.
    let session = rig.runtime.files(spec.id, &request).await.expect("files");
    drop(session);
    for _ in 0..100 {
        if rig.runtime.stats(spec.id).await.expect("stats").pids == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the process outlives its user");
}

async fn files_have_no_more_rights_than_the_container(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let kernel = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper"];
    for path in kernel {
        let (code, ..) = ask(rig, spec.id, &write(path, b"x"), b"x").await;
        assert_eq!(code, 1, "{path} was replaced");
    }
    for path in ["/proc/kcore", "/proc/1/mem", "/proc/1/environ", "/proc/self/exe"] {
        let (code, said, _) = ask(rig, spec.id, &read(path), b"").await;
        assert!(code == 1 && said.is_empty(), "{path} was read: {code}");
    }
    let owner = FileAttributes { uid: Some(65_536), ..FileAttributes::default() };
    let foreign = FileRequest::Write { path: "/f".into(), attributes: owner, parents: false, bytes: 0 };
    assert_eq!(ask(rig, spec.id, &foreign, b"").await.0, 1, "an id that is not the container's");
}
