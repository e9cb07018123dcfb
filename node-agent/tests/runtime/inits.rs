//! Real inits of real images: Debian's systemd, and OpenRC below BusyBox's init and below its own. Each boots until its
//! services run, ends by its own way when it is asked to, and is killed when it takes longer than it may.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use roost_agent::runtime::{ContainerState, Runtime};
use roost_types::{AllocationSpec, MemoryBytes};

use crate::rig::{Rig, slowness};

cases![
    debians_systemd_boots_and_ends_when_asked,
    a_systemd_that_does_not_end_is_killed,
    openrc_boots_below_busyboxs_init_and_ends_when_asked,
    openrc_boots_below_its_own_init_and_ends_when_asked,
    an_openrc_that_does_not_end_is_killed,
    a_busybox_init_that_does_not_end_is_killed,
];

/// How long an end may take that comes by itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an end may take that does not.
const DEADLINE: Duration = Duration::from_secs(2);

/// The root files of Roost's recipes `debian` and `openrc`, built once. To be called first where the network is.
pub fn images() -> &'static [PathBuf; 2] {
    static IMAGES: OnceLock<[PathBuf; 2]> = OnceLock::new();
    IMAGES.get_or_init(|| ["debian", "openrc"].map(root_file))
}

fn root_file(name: &str) -> PathBuf {
    if let Some(directory) = std::env::var_os("ROOST_TEST_IMAGES") {
        return PathBuf::from(directory).join(format!("{name}.erofs"));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rigs/image");
    let said = Command::new(script).arg(name).stderr(Stdio::inherit()).output().expect("tests/rigs/image runs");
    assert!(said.status.success(), "the image {name} cannot be built; is mmdebstrap installed?");
    String::from_utf8(said.stdout).expect("a path").trim().into()
}

/// Room for a whole system, begun by this program of the image.
fn system(rig: &Rig, init: &str) -> AllocationSpec {
    let mut spec = rig.spec(&[init]);
    spec.system = true;
    spec.resources.memory_bytes = MemoryBytes(256 << 20);
    spec.resources.pids = 512;
    spec
}

/// Asks inside until the answer is this.
async fn becomes(rig: &Rig, spec: &AllocationSpec, question: &[&str], answer: &str) {
    let until = Instant::now() + PATIENCE * slowness();
    loop {
        let (said, _) = rig.exec(spec.id, question).await;
        if said.trim() == answer {
            return;
        }
        let log = rig.log(spec.id).await;
        assert!(Instant::now() < until, "{question:?} never says {answer:?} but {said:?}; the log:\n{log}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Gives a shell inside something to do that must succeed.
async fn inside(rig: &Rig, spec: &AllocationSpec, line: &str) -> String {
    let (said, code) = rig.exec(spec.id, &["sh", "-c", line]).await;
    assert_eq!(code, 0, "{line}: {said}");
    said
}

/// Asks it to end within `grace`: how long that took, and the status it ended with.
async fn stop(rig: &Rig, spec: &AllocationSpec, grace: Duration) -> (Duration, i32) {
    let asked = Instant::now();
    rig.runtime.stop(spec.id, grace).await.expect("stop");
    let took = asked.elapsed();
    let all = rig.runtime.list().await.expect("list");
    let one = all.into_iter().find(|container| container.id == spec.id).expect("the container is listed");
    match one.state {
        ContainerState::Exited { exit } => (took, exit.expect("its status is known").code),
        ContainerState::Running { .. } => panic!("it runs after its stop"),
    }
}

async fn ends_when_asked(rig: &Rig, spec: &AllocationSpec) {
    let (took, code) = stop(rig, spec, PATIENCE * slowness()).await;
    assert_ne!(code, 137, "it was killed; the log:\n{}", rig.log(spec.id).await);
    println!("    ended within {} ms of being asked", took.as_millis());
}

async fn is_killed_at_the_deadline(rig: &Rig, spec: &AllocationSpec) {
    let (took, code) = stop(rig, spec, DEADLINE).await;
    assert_eq!(code, 137, "it ended by itself after {took:?}; the log:\n{}", rig.log(spec.id).await);
    assert!(took >= DEADLINE, "killed after {took:?} already");
}

async fn boot_debian(rig: &Rig) -> AllocationSpec {
    let spec = system(rig, "/sbin/init");
    rig.start_image(&spec, &images()[0]).await;
    becomes(rig, &spec, &["systemctl", "is-system-running"], "running").await;
    spec
}

async fn debians_systemd_boots_and_ends_when_asked(rig: &Rig) {
    let began = Instant::now();
    let spec = boot_debian(rig).await;
    println!("    running after {} ms", began.elapsed().as_millis());
    assert_eq!(rig.exec(spec.id, &["systemctl", "is-active", "multi-user.target"]).await.0, "active\n");
    assert_eq!(rig.exec(spec.id, &["systemctl", "--failed", "--no-legend"]).await.0, "", "units have failed");
    let unit =
        "systemd-run --quiet --wait --unit mine sh -c 'echo I was here' && journalctl --sync && journalctl -u mine";
    let journal = inside(rig, &spec, unit).await;
    assert!(journal.contains("I was here"), "{journal}");
    let group = inside(rig, &spec, "grep -x 0::/init.scope /proc/1/cgroup && ls /sys/fs/cgroup").await;
    assert!(group.contains("system.slice"), "its services are in groups of its own: {group}");
    ends_when_asked(rig, &spec).await;
}

async fn a_systemd_that_does_not_end_is_killed(rig: &Rig) {
    let spec = boot_debian(rig).await;
    let unit = "systemd-run --quiet -p TimeoutStopSec=infinity -p 'ExecStop=sleep 1000' sleep infinity";
    inside(rig, &spec, unit).await;
    is_killed_at_the_deadline(rig, &spec).await;
}

async fn boot_openrc(rig: &Rig, init: &str) -> AllocationSpec {
    let spec = system(rig, init);
    rig.start_image(&spec, &images()[1]).await;
    // The last service of the last runlevel.
    becomes(rig, &spec, &["rc-service", "local", "status"], "* status: started").await;
    spec
}

async fn openrc_boots_and_ends_when_asked(rig: &Rig, init: &str) {
    let spec = boot_openrc(rig, init).await;
    assert_eq!(rig.exec(spec.id, &["rc-status", "--runlevel"]).await.0, "default\n");
    assert_eq!(rig.exec(spec.id, &["rc-status", "--crashed"]).await.0, "", "services have crashed");
    inside(rig, &spec, "echo welcome > /srv/index.html && rc-service httpd start && rc-service httpd status").await;
    assert_eq!(inside(rig, &spec, "wget -q -O - http://127.0.0.1/").await, "welcome\n");
    inside(rig, &spec, "logger I was here && until grep 'I was here' /var/log/messages; do sleep 0.1; done").await;
    let farewell =
        "printf '#!/bin/sh\\necho farewell >/dev/console\\n' >/etc/local.d/x.stop && chmod 755 /etc/local.d/x.stop";
    inside(rig, &spec, farewell).await;
    assert_eq!(inside(rig, &spec, "grep -c ' /proc proc ' /proc/mounts").await, "1\n", "another /proc");
    ends_when_asked(rig, &spec).await;
    let log = rig.log(spec.id).await;
    assert!(log.contains("farewell"), "it did not stop its services: {log}");
}

async fn openrc_boots_below_busyboxs_init_and_ends_when_asked(rig: &Rig) {
    openrc_boots_and_ends_when_asked(rig, "/sbin/init").await;
}

async fn openrc_boots_below_its_own_init_and_ends_when_asked(rig: &Rig) {
    openrc_boots_and_ends_when_asked(rig, "/sbin/openrc-init").await;
}

async fn an_openrc_that_does_not_end_is_killed(rig: &Rig) {
    let spec = boot_openrc(rig, "/sbin/init").await;
    let never = "printf '#!/bin/sh\\nsleep 1000\\n' >/etc/local.d/never.stop && chmod 755 /etc/local.d/never.stop";
    inside(rig, &spec, never).await;
    is_killed_at_the_deadline(rig, &spec).await;
}

async fn a_busybox_init_that_does_not_end_is_killed(rig: &Rig) {
    let image = rig.image_with("never", |root| {
        let table = "::sysinit:/bin/echo booted\n::shutdown:/bin/sleep 1000\n";
        std::fs::write(root.join("etc/inittab"), table).expect("inittab");
    });
    let spec = system(rig, "/bin/init");
    rig.start_image(&spec, &image).await;
    rig.wait_for_log(spec.id, "booted").await;
    is_killed_at_the_deadline(rig, &spec).await;
}
