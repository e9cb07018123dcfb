//! One case for each way out of a container that runtimes were known to leave open, named after the first that was.
//!
//! A canary outside every container must be as it was when a case has ended, and a start that is refused must leave
//! nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use roost_agent::runtime::{ExecPlan, Runtime};
use roost_types::AllocationSpec;
use roost_types::stream::Resize;

use crate::rig::Rig;

/// A directory of the board with a file that nothing may touch.
struct Canary(PathBuf);

impl Canary {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("roost-canary-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("open to all");
        fs::write(directory.join("hosts"), "canary").expect("a file");
        Self(directory)
    }

    fn assert_untouched(&self) {
        let names: Vec<_> = fs::read_dir(&self.0).expect("the canary").flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["hosts"]);
        assert_eq!(fs::read_to_string(self.0.join("hosts")).expect("the canary"), "canary");
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn system(rig: &Rig) -> AllocationSpec {
    let mut spec = rig.spec(&["/bin/init"]);
    spec.system = true;
    spec
}

/// CVE-2019-5736: the program that started the container overwritten through `/proc/<pid>/exe`.
pub async fn the_programs_that_start_containers_cannot_be_overwritten(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    for attempt in [
        "exec 3<>/proc/1/exe",
        "exec 3</proc/1/exe",
        "cat /proc/1/exe",
        "cat /proc/1/maps",
        "exec 3<>/proc/1/mem",
        // An interpreter line that makes the runtime execute itself inside.
        "printf '#!/proc/self/exe\\n' > /tmp/x; chmod 755 /tmp/x; /tmp/x",
    ] {
        let (text, code) = rig.exec(spec.id, &["sh", "-c", &format!("{attempt} 2>/dev/null")]).await;
        assert!(code != 0 || attempt.starts_with("printf"), "{attempt}: {text}");
    }
    let own = fs::read("/proc/self/exe").expect("this program");
    assert!(own.starts_with(b"\x7fELF"));
}

/// CVE-2024-21626: a descriptor of the board's, or a working directory outside the root.
pub async fn no_descriptor_and_no_working_directory_leads_out(rig: &Rig) {
    // Targets of the shell's own descriptors, then where it is.
    let report = "for n in $(seq 0 99); do readlink /proc/$$/fd/$n; done; echo in $(pwd)";
    let spec = rig.spec(&["sh", "-c", &format!("{report}; exec sleep 1000")]);
    rig.start(&spec).await;
    rig.wait_for_log(spec.id, "in ").await;
    let first = rig.log(spec.id).await;
    let (exec, _) = rig.exec(spec.id, &["sh", "-c", report]).await;
    for text in [first, exec] {
        let lines: Vec<_> = text.lines().collect();
        let standard = |file: &&str| *file == "/dev/null" || file.starts_with("pipe:") || is_output(file);
        assert_eq!((lines.len(), lines[3]), (4, "in /"), "{text}");
        assert!(lines[..3].iter().all(standard), "{text}");
    }
    for attempt in ["cat /proc/1/environ", "ls /proc/1/fd/", "cd /proc/1/cwd", "cd /proc/1/root"] {
        let (text, code) = rig.exec(spec.id, &["sh", "-c", attempt]).await;
        assert_ne!(code, 0, "{attempt}: {text}");
    }
}

/// The FIFOs of the first process's output have names on the board, which say no more than the container's id.
fn is_output(file: &str) -> bool {
    file.ends_with("/stdout") || file.ends_with("/stderr")
}

/// CVE-2025-31133, -52565, -52881 and their forebears: what hides `/proc` replaced, so that writes go elsewhere.
pub async fn what_is_hidden_is_hidden_by_the_real_null_device(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    let image = rig.image_with("null", |root| {
        fs::write(root.join("dev/null"), "the image's").expect("a file");
        symlink("/proc/sys/kernel/core_pattern", root.join("dev/console")).expect("a link");
    });
    rig.start_image(&spec, &image).await;
    for hidden in ["interrupts", "kcore", "keys", "timer_list"] {
        if Path::new("/proc").join(hidden).exists() {
            let (text, _) = rig.exec(spec.id, &["stat", "-c", "%t:%T", &format!("/proc/{hidden}")]).await;
            assert_eq!(text, "1:3\n", "{hidden}");
        }
    }
    for attempt in [
        "echo x > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "echo x > /dev/console",
        "echo 1 > /proc/sys/vm/drop_caches",
        "touch /proc/bus/x",
    ] {
        let (text, code) = rig.exec(spec.id, &["sh", "-c", &format!("{attempt} 2>/dev/null")]).await;
        // Writing to /dev/console makes a file in the container's own /dev.
        assert!(code != 0 || attempt.contains("console"), "{attempt}: {text}");
    }
}

/// CVE-2026-41579, CVE-2021-30465, CVE-2024-45310: places that things are mounted on or written to, bent by the image.
pub async fn an_image_cannot_bend_the_places_that_are_mounted_on(rig: &Rig) {
    let canary = Canary::new("places");
    let target = canary.0.clone();
    for place in ["dev", "proc", "sys"] {
        let image = rig.image_with(&format!("bent-{place}"), |root| {
            fs::remove_dir(root.join(place)).expect("an empty directory");
            symlink(&target, root.join(place)).expect("a link");
        });
        let spec = rig.spec(&["sleep", "1000"]);
        let error = rig.try_start_image(&spec, &image).await.expect_err("a link is no place to mount on");
        assert!(error.to_string().contains(place), "{error}");
        assert!(!rig.runtime.list().await.expect("a list").iter().any(|container| container.id == spec.id));
        rig.runtime.delete(spec.id).await.expect("delete");
    }
    canary.assert_untouched();
}

/// The files that are written at each start follow links inside the root only.
pub async fn written_files_stay_inside_the_root(rig: &Rig) {
    let canary = Canary::new("files");
    let target = canary.0.clone();
    for (name, bend) in [
        (
            "etc-away",
            Box::new(|root: &Path| {
                fs::remove_dir_all(root.join("etc")).expect("etc");
                symlink(&target, root.join("etc")).expect("a link");
            }) as Box<dyn Fn(&Path)>,
        ),
        ("hosts-away", Box::new(|root: &Path| symlink(target.join("hosts"), root.join("etc/hosts")).expect("a link"))),
        (
            "hosts-up",
            Box::new(|root: &Path| {
                let up = Path::new("../../../../../../../..")
                    .join(target.strip_prefix("/").expect("absolute"))
                    .join("hosts");
                symlink(up, root.join("etc/hosts")).expect("a link");
            }),
        ),
        (
            "hosts-fifo",
            Box::new(|root: &Path| {
                nix::unistd::mkfifo(&root.join("etc/hosts"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
            }),
        ),
        ("hosts-directory", Box::new(|root: &Path| fs::create_dir_all(root.join("etc/hosts/x")).expect("a directory"))),
    ] {
        let image = rig.image_with(name, bend);
        let spec = rig.spec(&["sleep", "1000"]);
        // It starts or is refused: what it must not do is hang, or write outside.
        let _ = rig.try_start_image(&spec, &image).await;
        canary.assert_untouched();
        rig.runtime.delete(spec.id).await.expect("delete");
    }
}

/// The same, done by the container to its own writable layer between two starts.
pub async fn a_container_cannot_bend_its_next_start(rig: &Rig) {
    let canary = Canary::new("next");
    let mut spec = system(rig);
    rig.start(&spec).await;
    let script = format!(
        "umount -l /sys; rmdir /sys; ln -s {0} /sys; rm -rf /etc/hosts; ln -s {0}/hosts /etc/hosts; ls -ld /sys",
        canary.0.display()
    );
    let (text, _) = rig.exec(spec.id, &["sh", "-c", &script]).await;
    assert!(text.contains("->"), "the link was made: {text}");
    rig.runtime.stop(spec.id, Duration::ZERO).await.expect("stop");
    spec.epoch += 1;
    let error = rig.runtime.start(&spec, &rig.image, &rig.network).await.expect_err("no place for /sys");
    assert!(error.to_string().contains("sys"), "{error}");
    canary.assert_untouched();
}

/// CVE-2025-52565: a terminal in whose place the container has put something else, while one is opened for it.
pub async fn a_terminal_is_one_of_the_containers_devpts_or_none(rig: &Rig) {
    let spec = system(rig);
    rig.start(&spec).await;
    let (text, code) = rig.exec(spec.id, &["umount", "-l", "/dev/pts"]).await;
    assert_eq!(code, 0, "{text}");
    let plan =
        ExecPlan { command: vec!["true".into()], tty: Some(Resize { cols: 80, rows: 24 }), ..ExecPlan::default() };
    for bend in [
        "ln -s /dev/null /dev/pts/ptmx",
        "mknod /dev/pts/ptmx p",
        "cp /dev/null /dev/pts/ptmx",
        "rmdir /dev/pts; ln -s /proc/1/root/dev/pts /dev/pts",
        "mkdir /dev/pts; touch /dev/pts/ptmx; mount -o bind /dev/zero /dev/pts/ptmx",
    ] {
        let (text, code) = rig.exec(spec.id, &["sh", "-c", bend]).await;
        assert_eq!(code, 0, "{bend}: {text}");
        let opening = tokio::time::timeout(Duration::from_secs(20), rig.runtime.exec(spec.id, &plan)).await;
        let error = opening.expect("nobody waits for what the container made").expect_err("no terminal");
        assert!(error.to_string().contains("terminal"), "{bend}: {error}");
        rig.exec(
            spec.id,
            &["sh", "-c", "umount /dev/pts/ptmx; rm -rf /dev/pts/ptmx; rm -f /dev/pts; mkdir -p /dev/pts"],
        )
        .await;
    }
}

/// Incus's CVE-2026-23953, CVE-2026-53488: what a user or an image says, taken for settings of the runtime.
pub async fn what_a_user_says_is_data(rig: &Rig) {
    let mut spec =
        rig.spec(&["sh", "-c", "echo \"[$TRAP]\" \"[$PATH_2]\" \"$0\"; exec sleep 1000", "--state=/\n; reboot"]);
    spec.env.insert("TRAP".into(), "a\nPATH_2=/evil\nlxc.hook.start=/bin/sh".into());
    rig.start(&spec).await;
    rig.wait_for_log(spec.id, "reboot").await;
    let expected = "[a\nPATH_2=/evil\nlxc.hook.start=/bin/sh] [] --state=/\n; reboot\n";
    assert_eq!(rig.log(spec.id).await, expected);
    let plan = ExecPlan { command: vec!["env".into()], env: vec!["X=1\nPATH_2=/evil".into()], ..ExecPlan::default() };
    let session = rig.runtime.exec(spec.id, &plan).await.expect("exec");
    assert_eq!(session.exit.await.expect("an exit status").code, 0);
    let (text, _) = rig.exec(spec.id, &["sh", "-c", "echo \"[$PATH_2]\""]).await;
    assert_eq!(text, "[]\n");
    // A NUL ends a string for the kernel and for nobody else: it is refused, not cut off.
    let mut cut = rig.spec(&["sleep", "1000"]);
    cut.env.insert("A".into(), "b\0c".into());
    let error = rig.runtime.start(&cut, &rig.image, &rig.network).await.expect_err("a NUL byte");
    assert!(error.to_string().contains("NUL"), "{error}");
}

/// CVE-2022-29162 and others: capabilities that come back by execution.
pub async fn no_capability_is_inherited(rig: &Rig) {
    for spec in [rig.spec(&["sh", "-c", "cat /proc/self/status; exec sleep 1000"]), system(rig)] {
        rig.start(&spec).await;
        if !spec.system {
            rig.wait_for_log(spec.id, "CapAmb").await;
            assert_nothing_inherited(&rig.log(spec.id).await);
        }
        let (text, _) = rig.exec(spec.id, &["cat", "/proc/self/status"]).await;
        assert_nothing_inherited(&text);
    }
}

fn assert_nothing_inherited(status: &str) {
    for field in ["CapInh:\t0000000000000000", "CapAmb:\t0000000000000000"] {
        assert!(status.contains(field), "{field} in {status}");
    }
}

/// CVE-2024-25621, CVE-2025-64507: set-user-id programs of a container, run by a user of the board.
pub async fn nobody_of_the_board_can_enter_a_containers_directories(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", "cp /bin/busybox /root/su; chmod 4755 /root/su; exec sleep 1000"]);
    rig.start(&spec).await;
    for directory in
        [rig.runtime.instance_dir(spec.id), rig.config.run_dir.join("containers").join(spec.id.to_string())]
    {
        let meta = fs::metadata(&directory).expect("a directory");
        // Where the kernel does not map ids the container's own root must pass.
        let (mode, group) = if rig.shifts_ids() && directory == rig.runtime.instance_dir(spec.id) {
            (0o710, spec.uid_base)
        } else {
            (0o700, 0)
        };
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (0, group, mode), "{}", directory.display());
    }
    let closed = ["images", "containers"].map(|name| rig.config.run_dir.join(name));
    let kept = [rig.config.state_dir.clone(), rig.config.state_dir.join("instances")];
    let shells = rig.shifts_ids().then(|| rig.config.state_dir.join("shells"));
    for directory in closed.into_iter().chain(kept).chain(shells) {
        let meta = fs::metadata(&directory).expect("a directory");
        assert_eq!((meta.uid(), meta.mode() & 0o777), (0, 0o700), "{}", directory.display());
    }
}

/// CVE-2020-15257: a control socket that containers can reach.
pub async fn no_control_socket_can_be_reached(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let (text, code) = rig.exec(spec.id, &["cat", "/proc/net/unix"]).await;
    assert_eq!((text.lines().count(), code), (1, 0), "only the heading: {text}");
    let socket = fs::metadata(rig.config.run_dir.join("keeper.sock")).expect("a socket");
    assert_eq!((socket.uid(), socket.mode() & 0o777), (0, 0o600));
    // And nothing of the runtime's listens on the network.
    for table in ["/proc/net/tcp", "/proc/net/udp", "/proc/net/tcp6", "/proc/net/udp6"] {
        let sockets = fs::read_to_string(table).unwrap_or_default();
        let waiting = |line: &&str| line.split_whitespace().nth(3).is_some_and(|state| ["0A", "07"].contains(&state));
        assert_eq!(sockets.lines().filter(waiting).count(), 0, "{table}: {sockets}");
    }
}

/// CVE-2022-0492: a version 1 hierarchy mounted inside, and its release agent set.
pub async fn a_system_container_cannot_change_the_boards_hierarchies(rig: &Rig) {
    let spec = system(rig);
    rig.start(&spec).await;
    // The kernel lets an init mount its own part of a hierarchy; nothing in it is the container's to change.
    let hierarchy = "mkdir /tmp/v1; mount -t cgroup -o memory none /tmp/v1 || exit 0; cd /tmp/v1; ls -l; \
                     for file in release_agent notify_on_release memory.limit_in_bytes cgroup.procs tasks; do \
                     if [ -e $file ]; then echo 1 > $file && exit 1; fi; done; exit 0";
    let (text, code) = rig.exec(spec.id, &["sh", "-c", hierarchy]).await;
    assert_eq!(code, 0, "{text}");
    for attempt in [
        "mount -t debugfs none /tmp",
        "mount -t tracefs none /tmp",
        "mount -t securityfs none /tmp",
        "mount -t ext4 /dev/vda /tmp",
        "mknod /tmp/vda b 254 0",
        "mknod /tmp/mem c 1 1",
        "echo 1 > /proc/sys/kernel/panic",
        "unshare -U true",
    ] {
        let (text, code) = rig.exec(spec.id, &["sh", "-c", &format!("{attempt} 2>&1")]).await;
        assert_ne!(code, 0, "{attempt}: {text}");
    }
    // What it may: mounts of its own.
    let (text, code) = rig.exec(spec.id, &["mount", "-t", "tmpfs", "none", "/tmp"]).await;
    assert_eq!(code, 0, "{text}");
}

/// Nomad's CVE-2026-6959: the log's file changed for another by the one who writes it.
pub async fn a_containers_output_is_no_file_it_can_change(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", "echo one; exec sleep 1000"]);
    rig.start(&spec).await;
    rig.wait_for_log(spec.id, "one").await;
    let (text, _) = rig.exec(spec.id, &["stat", "-L", "-c", "%F", "/proc/2/fd/1"]).await;
    assert_eq!(text, "fifo\n");
    let log = rig.runtime.instance_dir(spec.id).join("log");
    assert_eq!(fs::metadata(log.join("current")).expect("a log").mode() & 0o777, 0o600);
}
