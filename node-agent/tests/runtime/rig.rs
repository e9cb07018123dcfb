//! One node for one case: a state directory, a keeper, a busybox image; and nothing of it left afterwards.

use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use roost_agent::runtime::linux::{Facility, LinuxConfig, LinuxRuntime, veth_name};
use roost_agent::runtime::{ExecPlan, Runtime, RuntimeError};
use roost_types::sync::NodeNetwork;
use roost_types::{AllocationId, AllocationSpec, ExitStatus};

/// No case waits longer than this on a machine that is not slow, nor than the other in a soak.
const CASE_TIMEOUT: Duration = Duration::from_secs(60);
const SOAK_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The LAN interface that a container may be put on; a case that wants it makes it.
pub const LAN: &str = "lan0";

/// A case: gets the rig, panics when something is wrong.
pub type Case = for<'a> fn(&'a Rig) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A node.
pub struct Rig {
    pub config: LinuxConfig,
    pub runtime: LinuxRuntime,
    pub image: PathBuf,
    pub network: NodeNetwork,
    directory: PathBuf,
    next: AtomicU32,
}

/// How many times slower than a board this machine is, where it is an emulated one.
pub fn slowness() -> u32 {
    std::env::var("ROOST_SLOW").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Runs a case on a node of its own, whose kernel lacks something, and checks that nothing is left.
pub fn run(case: Case, without: &[Facility]) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a tokio runtime");
    let rig = tokio.block_on(Rig::new(without));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let limit = if std::env::var_os("ROOST_SOAK").is_some() { SOAK_TIMEOUT } else { CASE_TIMEOUT * slowness() };
        let limited = async { tokio::time::timeout(limit, case(&rig)).await };
        tokio.block_on(limited).expect("the case ends in time");
    }));
    tokio.block_on(rig.tear_down(outcome.is_ok()));
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| build_image("busybox", |_| {}))
}

/// An image of busybox with something done to it.
fn build_image(name: &str, change: impl FnOnce(&Path)) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("roost-runtime-image-{}", std::process::id()));
    let root = directory.join(format!("{name}.root"));
    // Another case, or the same on another kernel, may have made one of that name.
    let _ = fs::remove_dir_all(&root);
    for name in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr"] {
        fs::create_dir_all(root.join(name)).expect("a directory of the image");
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    for applet in [
        "sh", "true", "false", "sleep", "cat", "id", "hostname", "echo", "ls", "ps", "readlink", "stat", "init",
        "mount", "umount", "ip", "test", "head", "tail", "dd", "kill", "wget", "nc", "stty", "tty", "reboot", "mkdir",
        "rmdir", "rm", "ln", "mv", "chmod", "cp", "touch", "env", "seq", "unshare", "pwd", "mknod", "udhcpc", "ping",
        "chown",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("a link of the image");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").expect("passwd");
    fs::write(
        root.join("etc/inittab"),
        "::sysinit:/bin/echo booted\n::respawn:/bin/sleep 1000\n::askfirst:-/bin/sh\n::shutdown:/bin/echo bye\n",
    )
    .expect("inittab");
    fs::write(root.join("bin/not-a-program"), "neither a script nor a program").expect("file");
    change(&root);
    let file = directory.join(format!("{name}.erofs"));
    let made = Command::new("mkfs.erofs").arg("-zlz4hc").arg(&file).arg(&root).output();
    let made = made.expect("mkfs.erofs is installed");
    assert!(made.status.success(), "mkfs.erofs: {}", String::from_utf8_lossy(&made.stderr));
    file
}

impl Rig {
    async fn new(without: &[Facility]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("roost-runtime-{}-{number}", std::process::id()));
        let config = LinuxConfig {
            state_dir: directory.join("state"),
            // As on a board: what need not survive its power is not on a disk.
            run_dir: PathBuf::from(format!("/run/roost-runtime-{}-{number}", std::process::id())),
            cgroup_parent: PathBuf::from(format!("roost-runtime-test-{}-{number}", std::process::id())),
            keeper_command: ["/proc/self/exe", "keeper"].map(OsString::from).to_vec(),
            lan_interface: Some(LAN.to_owned()),
            without: without.iter().copied().collect(),
        };
        let runtime = LinuxRuntime::connect(config.clone()).await.expect("a keeper");
        let network = NodeNetwork { gateway: Ipv4Addr::new(10, 99, 0, 1), prefix_len: 24, routes: Vec::new() };
        runtime.ensure_network(&network).await.expect("a bridge");
        Self { config, runtime, image: image().to_owned(), network, directory, next: AtomicU32::new(2) }
    }

    /// The spec of a new container.
    pub fn spec(&self, command: &[&str]) -> AllocationSpec {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut random = [0_u8; 10];
        random[..4].copy_from_slice(&std::process::id().to_be_bytes());
        random[6..].copy_from_slice(&number.to_be_bytes());
        let hex = "5".repeat(64);
        serde_json::from_value(serde_json::json!({
            "id": AllocationId::mint(1_795_000_000_000, random),
            "instance": AllocationId::mint(1_795_000_000_001, random),
            "name": format!("c{number}"),
            "project": "default",
            "generation": 1,
            "desired": "running",
            "epoch": 0,
            "image": format!("sha256:{hex}"),
            "format": "erofs",
            "image_bytes": 1,
            "command": command,
            "system": false,
            "env": {"GREETING": "hello"},
            "resources": {"cpu_millis": 250, "memory_bytes": 64 << 20, "disk_bytes": 1 << 30, "pids": 64},
            "address": format!("10.99.0.{number}"),
            "uid_base": (16 + number) * 65_536,
            "publish": [],
            "restart": "always",
            "seed_from": null,
        }))
        .expect("the test's spec is a spec")
    }

    /// Starts a container and returns its id and pid.
    pub async fn start(&self, spec: &AllocationSpec) -> u32 {
        self.runtime.start(spec, &self.image, &self.network).await.unwrap_or_else(|e| panic!("start: {e:?}")).pid
    }

    /// The busybox image with something done to it.
    pub fn image_with(&self, name: &str, change: impl FnOnce(&Path)) -> PathBuf {
        build_image(name, change)
    }

    /// Starts a container of another image.
    pub async fn start_image(&self, spec: &AllocationSpec, image: &Path) {
        self.try_start_image(spec, image).await.unwrap_or_else(|e| panic!("start: {e:?}"));
    }

    /// Tries to.
    pub async fn try_start_image(&self, spec: &AllocationSpec, image: &Path) -> Result<(), RuntimeError> {
        self.start_by(&self.runtime, spec, image).await
    }

    /// Has another agent of the node start it.
    pub async fn start_by(
        &self,
        agent: &LinuxRuntime,
        spec: &AllocationSpec,
        image: &Path,
    ) -> Result<(), RuntimeError> {
        let mut spec = spec.clone();
        // Another image has another name.
        let digest = format!(
            "{:064x}",
            image
                .as_os_str()
                .as_encoded_bytes()
                .iter()
                .fold(7_u64, |sum, byte| { sum.wrapping_mul(31).wrapping_add(u64::from(*byte)) })
        );
        spec.image = format!("sha256:{digest}").parse().expect("a digest");
        agent.start(&spec, image, &self.network).await.map(drop)
    }

    /// Whether the kernel, or what it is made to lack, has layers stored in the form of their range of ids.
    pub fn shifts_ids(&self) -> bool {
        let features = roost_agent::runtime::linux::probe(&self.config.state_dir, &self.config.without);
        features.iter().any(|feature| feature.name == "idmapped_mounts" && !feature.supported)
    }

    /// Runs a command inside and returns its output and exit code.
    pub async fn exec(&self, id: AllocationId, command: &[&str]) -> (String, i32) {
        let command: Vec<String> = command.iter().map(ToString::to_string).collect();
        let plan = ExecPlan { command, ..ExecPlan::default() };
        self.exec_plan(id, &plan).await.unwrap_or_else(|e| panic!("exec {plan:?}: {e:?}"))
    }

    /// Runs a command without a terminal and returns its output and exit code, or why it cannot be run.
    pub async fn exec_plan(&self, id: AllocationId, plan: &ExecPlan) -> Result<(String, i32), RuntimeError> {
        let session = self.runtime.exec(id, plan).await?;
        drop(session.stdin);
        let (out, err) = (session.stdout, session.stderr.expect("no terminal"));
        let out = tokio::task::spawn_blocking(move || read_all(out));
        let err = tokio::task::spawn_blocking(move || read_all(err));
        let exit = session.exit.await.expect("an exit status");
        Ok((out.await.expect("stdout") + &err.await.expect("stderr"), exit.code))
    }

    /// The whole log.
    pub async fn log(&self, id: AllocationId) -> String {
        let mut receiver = self.runtime.logs(id, None, false).await.expect("a log");
        let mut text = String::new();
        while let Some(chunk) = receiver.recv().await {
            text.push_str(&String::from_utf8_lossy(&chunk.bytes));
        }
        text
    }

    /// Waits until the log says something.
    pub async fn wait_for_log(&self, id: AllocationId, part: &str) {
        for _ in 0..200 {
            if self.log(id).await.contains(part) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the log never says {part:?}: {:?}", self.log(id).await);
    }

    /// Waits for the end of a container.
    pub async fn exit_of(&self, id: AllocationId) -> ExitStatus {
        let wait = async {
            loop {
                let roost_agent::runtime::RuntimeEvent::Exited { id: ended, exit } = self.runtime.next_event().await;
                if ended == id {
                    return exit;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the container ends")
    }

    /// A file of the container's group.
    pub fn cgroup_file(&self, controller: &str, id: AllocationId, name: &str) -> String {
        let path = self.cgroup_dir(controller, id).join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
    }

    /// A container's group: on the unified hierarchy, or that of the controller.
    pub fn cgroup_dir(&self, controller: &str, id: AllocationId) -> PathBuf {
        let root = Path::new("/sys/fs/cgroup");
        let root = if root.join("cgroup.controllers").exists() { root.to_owned() } else { root.join(controller) };
        root.join(&self.config.cgroup_parent).join("instances").join(id.to_string())
    }

    /// Whether the host's end of a container's cable is there.
    pub fn has_veth(&self, id: AllocationId) -> bool {
        let out = Command::new("ip").args(["-o", "link", "show"]).output().expect("ip");
        String::from_utf8_lossy(&out.stdout).contains(&veth_name(id))
    }

    /// Kills the keeper as a crash would and waits until it is gone; its pid.
    pub async fn kill_keeper(&self) -> u32 {
        let keeper = self.keeper().await;
        let pid = nix::unistd::Pid::from_raw(keeper.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("the keeper is killed");
        let socket = self.config.run_dir.join("keeper.sock");
        while std::os::unix::net::UnixStream::connect(&socket).is_ok()
            || Path::new(&format!("/proc/{keeper}/exe")).exists()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        keeper
    }

    /// The pid of the keeper, of a new one if need be: what was asked of one that died fails.
    pub async fn keeper(&self) -> u32 {
        for _ in 0..2000 {
            match self.runtime.keeper_pid().await {
                Ok(pid) => return pid,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        panic!("no keeper answers");
    }

    /// Deletes everything and, unless the case failed, checks that nothing is left.
    async fn tear_down(self, check: bool) {
        self.keeper().await;
        for container in self.runtime.list().await.expect("a list") {
            let deleted = tokio::time::timeout(Duration::from_secs(20), self.runtime.delete(container.id)).await;
            let deleted = deleted.expect("deleting ends");
            if check {
                deleted.unwrap_or_else(|e| panic!("delete: {e:?}"));
                self.assert_gone(container.id);
            }
        }
        let keeper = self.runtime.keeper_pid().await.expect("a keeper");
        if check {
            let mounts = fs::read_to_string(format!("/proc/{keeper}/mountinfo")).expect("the keeper's mounts");
            let kept = self.config.run_dir.join("images").display().to_string();
            let ours = [&self.directory, &self.config.run_dir].map(|directory| directory.display().to_string());
            let left = mounts.lines().filter(|line| ours.iter().any(|directory| line.contains(directory)));
            let left: Vec<_> = left.filter(|line| !line.contains(&kept)).collect();
            assert!(left.is_empty(), "no mount but the image is left: {left:?}");
            let log = fs::read_to_string(self.config.run_dir.join("keeper.log")).expect("the keeper's log");
            assert!(log.is_empty(), "the keeper had nothing to complain about: {log}");
            let shells: Vec<_> = fs::read_dir(self.config.state_dir.join("shells")).into_iter().flatten().collect();
            assert!(shells.is_empty(), "no shell is left: {shells:?}");
        }
        drop(self.runtime);
        let pid = nix::unistd::Pid::from_raw(keeper.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("the keeper ends");
        if check {
            let loops = loops_of(&self.image);
            assert!(loops.is_empty(), "no loop device outlives the keeper: {loops}");
        }
        for controller in ["", "memory", "pids", "cpu", "cpuacct", "devices", "blkio", "unified"] {
            let parent = Path::new("/sys/fs/cgroup").join(controller).join(&self.config.cgroup_parent);
            let _ = fs::remove_dir(parent.join("instances"));
            let _ = fs::remove_dir(parent);
        }
        for directory in [&self.directory, &self.config.run_dir] {
            fs::remove_dir_all(directory).expect("the rig's directory");
        }
    }

    fn assert_gone(&self, id: AllocationId) {
        assert!(!self.has_veth(id), "the veth is gone");
        assert!(!self.runtime.instance_dir(id).exists(), "the directory is gone");
        for controller in ["memory", "pids", "cpu", "cpuacct", "devices", "blkio", "unified"] {
            assert!(!self.cgroup_dir(controller, id).exists(), "the {controller} group is gone");
        }
    }
}

/// The larger count in a soak (`cargo xtask test --soak`), the smaller one otherwise.
pub fn repeated(normally: u32, in_a_soak: u32) -> u32 {
    if std::env::var_os("ROOST_SOAK").is_some() { in_a_soak } else { normally }
}

/// The loop devices that a file backs.
pub fn loops_of(file: &Path) -> String {
    // The kernel frees them a moment after the last mount.
    for _ in 0..100 {
        let out = Command::new("losetup").arg("-j").arg(file).output().expect("losetup");
        if out.stdout.is_empty() {
            return String::new();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let out = Command::new("losetup").arg("-j").arg(file).output().expect("losetup");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// How many loop devices a file backs.
pub fn loop_count(file: &Path) -> usize {
    let out = Command::new("losetup").arg("-j").arg(file).output().expect("losetup");
    String::from_utf8_lossy(&out.stdout).lines().count()
}

/// Removes the image that all cases share.
pub fn remove_image() {
    if let Some(directory) = image().parent() {
        let _ = fs::remove_dir_all(directory);
    }
}

/// Everything a terminal says until its last user is gone (which is an error for terminals).
pub fn read_terminal(fd: std::os::fd::OwnedFd) -> String {
    let flags = rustix::fs::fcntl_getfl(&fd).expect("flags");
    rustix::fs::fcntl_setfl(&fd, flags - rustix::fs::OFlags::NONBLOCK).expect("blocking");
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(got @ 1..) = rustix::io::read(&fd, &mut buffer) {
        text.extend_from_slice(&buffer[..got]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn read_all(fd: std::os::fd::OwnedFd) -> String {
    let mut text = String::new();
    let _ = std::io::Read::read_to_string(&mut fs::File::from(fd), &mut text);
    text
}
