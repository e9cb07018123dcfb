//! Whose files are, on kernels that map ids at a mount and on those that do not.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use roost_agent::layers::{self, snapshots};
use roost_agent::runtime::Runtime;
use roost_agent::runtime::linux::{Facility, LinuxRuntime};
use roost_types::snapshot::RestoreWish;
use roost_types::{AllocationSpec, SnapshotId};

use crate::rig::Rig;

cases![
    a_container_sees_the_owners_of_its_image_and_makes_files_of_its_own,
    a_layer_is_changed_when_the_kernel_is,
    a_layer_travels_with_the_owners_that_its_container_sees,
    a_snapshot_is_restored_with_its_owners,
    instances_of_one_range_share_a_shell_that_goes_with_the_last,
    a_shell_that_was_left_half_done_is_removed_and_not_used,
];

/// Those cases that roots and owners matter to, which are run as on older kernels as well: those first that the ways to
/// make a root differ in most.
pub const ON_OLDER_KERNELS: &[&str] = &[
    "a_container_sees_the_owners_of_its_image_and_makes_files_of_its_own",
    "a_layer_is_changed_when_the_kernel_is",
    "a_layer_travels_with_the_owners_that_its_container_sees",
    "a_snapshot_is_restored_with_its_owners",
    "instances_of_one_range_share_a_shell_that_goes_with_the_last",
    "a_shell_that_was_left_half_done_is_removed_and_not_used",
    "a_container_starts_runs_execs_logs_stops_and_is_deleted",
    "every_namespace_is_its_own_and_its_ids_are_in_its_range",
    "the_disk_ends_where_the_size_says_where_the_kernel_can",
    "exec_reports_codes_and_signals",
    "an_image_is_mounted_once_for_two_containers",
    "writes_survive_a_restart_and_belong_to_the_containers_root",
    "what_is_dangerous_is_out_of_reach",
    "an_app_may_do_what_its_golden_file_says",
    "a_system_may_do_what_its_golden_file_says",
    "no_descriptor_and_no_working_directory_leads_out",
    "what_is_hidden_is_hidden_by_the_real_null_device",
    "an_image_cannot_bend_the_places_that_are_mounted_on",
    "written_files_stay_inside_the_root",
    "a_container_cannot_bend_its_next_start",
    "no_capability_is_inherited",
    "nobody_of_the_board_can_enter_a_containers_directories",
    "a_system_container_cannot_change_the_boards_hierarchies",
    "a_killed_keeper_is_replaced_and_adopts",
    "the_images_own_init_boots_and_shuts_down",
    "a_failed_start_leaves_nothing",
    "files_go_in_and_come_out_with_the_containers_ids",
    "a_racing_renamer_inside_leads_no_copy_outside",
];

/// An image with files of other users than root.
fn owned(root: &Path) {
    let path = |name: &str| root.join(name);
    fs::create_dir_all(path("srv/mail")).expect("a directory");
    fs::write(path("srv/mail/inbox"), "from the image\n").expect("a file");
    fs::copy(path("bin/busybox"), path("srv/su")).expect("a program");
    symlink("inbox", path("srv/mail/link")).expect("a link");
    for (name, user, group) in [("srv/mail", 8, 12), ("srv/mail/inbox", 8, 12), ("srv/su", 0, 5)] {
        chown(path(name), Some(user), Some(group)).expect("an owner");
    }
    std::os::unix::fs::lchown(path("srv/mail/link"), Some(65_534), Some(65_534)).expect("an owner");
    fs::set_permissions(path("srv/su"), fs::Permissions::from_mode(0o6755)).expect("a mode");
    fs::set_permissions(path("srv/mail"), fs::Permissions::from_mode(0o2770)).expect("a mode");
    fs::hard_link(path("srv/mail/inbox"), path("srv/mail/again")).expect("a second name");
}

/// What is seen of them inside.
const LOOK: &[&str] =
    &["stat", "-c", "%n %u:%g %a", "/", "/bin", "/srv/su", "/srv/mail", "/srv/mail/inbox", "/srv/mail/link"];
const SEEN: &str = "/ 0:0 755\n/bin 0:0 755\n/srv/su 0:5 6755\n/srv/mail 8:12 2770\n/srv/mail/inbox 8:12 644\n\
                    /srv/mail/link 65534:65534 777\n";

fn spec(rig: &Rig) -> AllocationSpec {
    rig.spec(&["sleep", "1000"])
}

async fn sh(rig: &Rig, spec: &AllocationSpec, script: &str) -> String {
    let (text, code) = rig.exec(spec.id, &["sh", "-c", script]).await;
    assert_eq!(code, 0, "{script}: {text}");
    text
}

async fn a_container_sees_the_owners_of_its_image_and_makes_files_of_its_own(rig: &Rig) {
    let (spec, image) = (spec(rig), rig.image_with("owned", owned));
    rig.start_image(&spec, &image).await;
    assert_eq!(rig.exec(spec.id, LOOK).await, (SEEN.to_owned(), 0));
    assert_eq!(sh(rig, &spec, "cat /srv/mail/link /srv/mail/again").await, "from the image\n".repeat(2));
    sh(rig, &spec, "echo more >> /srv/mail/inbox; touch /root/new; chown 8:12 /root/new; chmod 4711 /root/new").await;
    assert_eq!(sh(rig, &spec, "cat /srv/mail/inbox; stat -c '%u:%g %a' /srv/mail/inbox /root/new").await, {
        "from the image\nmore\n8:12 644\n8:12 4711\n"
    });
    let base = if rig.shifts_ids() { spec.uid_base } else { 0 };
    let layer = rig.runtime.instance_dir(spec.id).join("upper");
    for (name, user, group) in [("srv/mail/inbox", 8, 12), ("root/new", 8, 12), ("root", 0, 0)] {
        let found = fs::symlink_metadata(layer.join(name)).expect("a file of the layer");
        assert_eq!((found.uid(), found.gid()), (base + user, base + group), "{name}");
    }
    // Nobody else's ids can be had, whatever owns the layer on the disk.
    let (text, code) = rig.exec(spec.id, &["chown", &spec.uid_base.to_string(), "/root/new"]).await;
    assert_ne!(code, 0, "{text}");
}

/// What a layer may hold: changed owners and modes, a removed file, a directory that hides the image's.
const CHANGE: &str = "chown 33:33 /srv/mail/inbox; cp /bin/busybox /root/tool; chown 7:9 /root/tool; chmod 6755 /root/tool; \
                      rm /srv/su; rm -r /usr; mkdir /usr; touch /usr/mine; ln -s tool /root/link; chown -h 5:5 /root/link 2>&1; true";
const CHANGED: &str = "/ 0:0 755\n/srv/mail/inbox 33:33 644\n/root/tool 7:9 6755\n/usr/mine 0:0 644\n";

/// What [`CHANGE`] is made to.
fn image_to_change(rig: &Rig) -> PathBuf {
    rig.image_with("owned", |root| {
        owned(root);
        fs::write(root.join("usr/images"), "").expect("a file");
    })
}

async fn assert_changed(rig: &Rig, spec: &AllocationSpec) {
    let look = "stat -c '%n %u:%g %a' / /srv/mail/inbox /root/tool /usr/mine; test ! -e /srv/su && ls /usr && cat /srv/mail/inbox";
    assert_eq!(sh(rig, spec, look).await, format!("{CHANGED}mine\nfrom the image\n"));
}

async fn a_layer_is_changed_when_the_kernel_is(rig: &Rig) {
    let image = image_to_change(rig);
    let mut spec = spec(rig);
    rig.start_image(&spec, &image).await;
    sh(rig, &spec, CHANGE).await;
    assert_changed(rig, &spec).await;
    // As if the board had started with another kernel: the keeper of either does what its agent says.
    let mut other = rig.config.clone();
    other.without = if rig.config.without.is_empty() { [Facility::IdmappedMounts].into() } else { [].into() };
    let other = LinuxRuntime::connect(other).await.expect("an agent");
    for runtime in [&other, &rig.runtime] {
        runtime.stop(spec.id, Duration::ZERO).await.expect("stop");
        spec.epoch += 1;
        rig.start_by(runtime, &spec, &image).await.unwrap_or_else(|e| panic!("start: {e:?}"));
        assert_changed(rig, &spec).await;
        sh(rig, &spec, "echo x > /root/after; stat -c %u /root/after").await;
    }
}

async fn a_layer_travels_with_the_owners_that_its_container_sees(rig: &Rig) {
    let image = image_to_change(rig);
    let (from, to) = (spec(rig), spec(rig));
    rig.start_image(&from, &image).await;
    sh(rig, &from, CHANGE).await;
    rig.runtime.stop(from.id, Duration::ZERO).await.expect("stop");
    let layer = |spec: &AllocationSpec| rig.runtime.instance_dir(spec.id).join("upper");
    let archive = layers::export(&layer(&from), Vec::new()).expect("an archive");
    // As the agent does with an archive of another node.
    fs::create_dir_all(layer(&to)).expect("a layer");
    layers::import(&layer(&to), archive.as_slice(), 1 << 30).expect("what was exported");
    let tool = fs::metadata(layer(&to).join("root/tool")).expect("a file");
    assert_eq!((tool.uid(), tool.gid(), tool.mode() & 0o7777), (7, 9, 0o6755), "an archive tells of no board's ids");
    rig.start_image(&to, &image).await;
    assert_changed(rig, &to).await;
}

async fn a_snapshot_is_restored_with_its_owners(rig: &Rig) {
    let image = image_to_change(rig);
    let mut spec = spec(rig);
    rig.start_image(&spec, &image).await;
    sh(rig, &spec, CHANGE).await;
    let layer = rig.runtime.instance_dir(spec.id).join("upper");
    let snapshot = SnapshotId::mint(1_795_000_000_000, [3; 10]);
    rig.runtime.freeze(spec.id).await.expect("freeze");
    snapshots::stage(&layer, snapshot).expect("staged").commit().expect("kept");
    rig.runtime.thaw(spec.id).await.expect("thaw");
    let tool = fs::metadata(snapshots::files(&layer, snapshot).join("root/tool")).expect("a file");
    assert_eq!((tool.uid(), tool.gid(), tool.mode() & 0o7777), (7, 9, 0o6755), "a snapshot has no board's ids");
    sh(rig, &spec, "rm -r /usr /root/tool; chown 1:1 /srv/mail/inbox").await;
    rig.runtime.stop(spec.id, Duration::ZERO).await.expect("stop");
    snapshots::restore(&layer, &RestoreWish { snapshot, number: 1 }).expect("restored");
    spec.epoch += 1;
    rig.start_image(&spec, &image).await;
    assert_changed(rig, &spec).await;
}

fn shells(rig: &Rig) -> Vec<String> {
    let entries = fs::read_dir(rig.config.state_dir.join("shells")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

async fn instances_of_one_range_share_a_shell_that_goes_with_the_last(rig: &Rig) {
    let (one, mut two, other) = (spec(rig), spec(rig), spec(rig));
    two.uid_base = one.uid_base;
    for spec in [&one, &two, &other] {
        rig.start(spec).await;
    }
    let expected = |ranges: usize| if rig.shifts_ids() { ranges } else { 0 };
    assert_eq!(shells(rig).len(), expected(2), "{:?}", shells(rig));
    sh(rig, &one, "echo of one > /root/x").await;
    assert_eq!(sh(rig, &two, "ls /root").await, "", "a shell is shared, a layer is not");
    rig.runtime.delete(other.id).await.expect("delete");
    rig.runtime.delete(one.id).await.expect("delete");
    assert_eq!(shells(rig).len(), expected(1), "{:?}", shells(rig));
    assert_eq!(sh(rig, &two, "stat -c %u /bin/busybox").await, "0\n");
    rig.runtime.delete(two.id).await.expect("delete");
    assert_eq!(shells(rig).len(), 0);
}

async fn a_shell_that_was_left_half_done_is_removed_and_not_used(rig: &Rig) {
    let spec = spec(rig);
    let place = rig.config.state_dir.join("shells");
    let name = format!("{}-{}", spec.image.hex(), spec.uid_base);
    let half = place.join(format!(".new-{name}"));
    fs::create_dir_all(half.join("bin")).expect("a directory");
    File::create(half.join("bin/busybox")).expect("an empty file that says it is the program");
    rig.start(&spec).await;
    assert_eq!(sh(rig, &spec, "stat -c %u /bin/busybox").await, "0\n");
    assert_eq!(half.exists(), !rig.shifts_ids(), "it was replaced by a whole one");
    fs::create_dir_all(&half).expect("a directory");
    let next = LinuxRuntime::connect(rig.config.clone()).await.expect("an agent");
    assert!(!half.exists(), "a new agent removes it");
    next.delete(spec.id).await.expect("delete");
}
