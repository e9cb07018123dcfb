//! Snapshots of real containers on real file systems: contents are shared where the file system can (btrfs), and copied
//! where it cannot (ext4); what is in them is the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use roost_agent::layers::{self, snapshots};
use roost_agent::runtime::Runtime;
use roost_types::snapshot::RestoreWish;
use roost_types::{AllocationId, SnapshotId};
use rustix::mount::{UnmountFlags, unmount};

use crate::rig::Rig;

cases![a_snapshot_shares_its_contents_on_btrfs, a_snapshot_is_a_copy_on_ext4];

/// Size of the file system, of the file that a container writes, and what a shared copy of it may take (metadata).
const DISK: u64 = 256 << 20;
const FILE: u64 = 16 << 20;
const NEXT_TO_NOTHING: u64 = 4 << 20;

async fn a_snapshot_shares_its_contents_on_btrfs(rig: &Rig) {
    a_snapshot_is_true(rig, "btrfs", true).await;
}

async fn a_snapshot_is_a_copy_on_ext4(rig: &Rig) {
    a_snapshot_is_true(rig, "ext4", false).await;
}

/// A file system in a file, for all instances of the rig.
struct Disk(PathBuf);

impl Disk {
    async fn mount(rig: &Rig, kind: &str) -> Self {
        let file = rig.config.state_dir.join("disk");
        fs::File::create(&file).and_then(|file| file.set_len(DISK)).expect("a file for the disk");
        let at = rig.config.state_dir.join("instances");
        fs::create_dir_all(&at).expect("the instances' directory");
        tool(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&file));
        tool(Command::new("mount").args(["-o", "loop", "-t", kind]).args([&file, &at]));
        let disk = Self(at);
        see_mounts(rig).await;
        disk
    }

    async fn unmount(self, rig: &Rig) {
        drop(self);
        see_mounts(rig).await;
    }

    /// Bytes in use, once everything is where it will be.
    fn used(&self) -> u64 {
        let dir = fs::File::open(&self.0).expect("the disk");
        rustix::fs::syncfs(&dir).expect("sync the disk");
        let stat = rustix::fs::fstatvfs(&dir).expect("look at the disk");
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }
}

/// A keeper has its own view of the mounts from when it was started.
async fn see_mounts(rig: &Rig) {
    rig.kill_keeper().await;
    rig.keeper().await;
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn tool(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether the kernel says of every extent of the file that another file has it too.
fn is_shared(file: &Path) -> bool {
    let told = tool(Command::new("filefrag").arg("-v").arg(file));
    let extents: Vec<&str> =
        told.lines().filter(|line| line.trim_start().starts_with(|first: char| first.is_ascii_digit())).collect();
    assert!(!extents.is_empty(), "no extents: {told}");
    extents.iter().all(|extent| extent.contains("shared"))
}

async fn sum_inside(rig: &Rig, id: AllocationId) -> String {
    let (said, code) = rig.exec(id, &["/bin/busybox", "sha256sum", "/root/big"]).await;
    assert_eq!(code, 0, "{said}");
    said.split_whitespace().next().unwrap_or_default().to_owned()
}

fn sum(file: &Path) -> String {
    tool(Command::new("sha256sum").arg(file)).split_whitespace().next().unwrap_or_default().to_owned()
}

async fn a_snapshot_is_true(rig: &Rig, kind: &str, shares: bool) {
    let disk = Disk::mount(rig, kind).await;
    let mut spec = rig.spec(&[
        "sh",
        "-c",
        "test -e /root/big || dd if=/dev/urandom of=/root/big bs=64k count=256; sync; echo ready; sleep 1000",
    ]);
    rig.start(&spec).await;
    rig.wait_for_log(spec.id, "ready").await;
    let (id, snapshot) = (spec.id, SnapshotId::mint(1_000, [7; 10]));
    let layer = rig.runtime.instance_dir(id).join("upper");
    let (written, before) = (sum_inside(rig, id).await, disk.used());

    rig.runtime.freeze(id).await.expect("it is paused");
    let staged = snapshots::stage(&layer, snapshot);
    rig.runtime.thaw(id).await.expect("it goes on");
    let bytes = staged.and_then(snapshots::Staged::commit).expect("a snapshot");
    assert!(bytes.0 >= FILE, "{bytes:?}");
    let kept = snapshots::files(&layer, snapshot).join("root/big");
    let taken = disk.used() - before;
    assert_eq!(taken < NEXT_TO_NOTHING, shares, "a snapshot of {FILE} bytes took {taken} on {kind}");
    assert_eq!((is_shared(&kept), is_shared(&layer.join("root/big"))), (shares, shares));
    assert_eq!(sum(&kept), written);

    // What the instance writes from now on is its own.
    let change = "echo more > /root/note; dd if=/dev/zero of=/root/big bs=64k count=8 conv=notrunc; sync";
    assert_eq!(rig.exec(id, &["sh", "-c", change]).await.1, 0);
    assert_ne!(sum_inside(rig, id).await, written);
    assert_eq!(sum(&kept), written, "a change of the instance changed its snapshot");

    rig.runtime.stop(id, Duration::from_secs(1)).await.expect("it stops");
    rig.exit_of(id).await;
    snapshots::restore(&layer, &RestoreWish { number: 1, snapshot }).expect("a restore");
    assert_eq!(is_shared(&layer.join("root/big")), shares);
    spec.epoch += 1;
    rig.start(&spec).await;
    assert_eq!(sum_inside(rig, id).await, written);
    assert_ne!(rig.exec(id, &["test", "-e", "/root/note"]).await.1, 0, "what came after the snapshot is there");

    // Another instance begins with it, as one that is launched from it on the same board does.
    let other = rig.spec(&["sleep", "1000"]);
    let new = rig.runtime.instance_dir(other.id).join("upper");
    fs::create_dir_all(&new).expect("a new layer");
    layers::copy(&snapshots::files(&layer, snapshot), &new).expect("its files");
    assert_eq!(is_shared(&new.join("root/big")), shares);
    rig.start(&other).await;
    assert_eq!(sum_inside(rig, other.id).await, written);

    for id in [id, other.id] {
        rig.runtime.delete(id).await.expect("it is deleted");
    }
    disk.unmount(rig).await;
}
