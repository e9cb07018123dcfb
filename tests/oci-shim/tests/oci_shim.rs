//! The shim itself, with real containers: needs root, busybox-static and mkfs.erofs.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const AMPLE: Duration = Duration::from_secs(60);

/// A bundle with busybox, and a `--root`.
struct Bed {
    directory: PathBuf,
}

impl Bed {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("roost-oci-{}-{name}", std::process::id()));
        let bin = directory.join("bundle/rootfs/bin");
        fs::create_dir_all(&bin).expect("a bundle");
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is installed");
        for applet in ["sh", "cat", "echo", "sleep", "true", "tty", "id", "pwd"] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).expect("an applet");
        }
        let bed = Self { directory };
        bed.done(&["spec", "--bundle", &bed.bundle()]);
        bed
    }

    fn bundle(&self) -> String {
        self.directory.join("bundle").display().to_string()
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn configure(&self, change: impl FnOnce(&mut Value)) {
        let path = self.directory.join("bundle/config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).expect("a config")).expect("JSON");
        change(&mut config);
        fs::write(&path, config.to_string()).expect("write the config");
    }

    /// A command without a terminal.
    fn command(&self, command: &[&str]) {
        self.configure(|config| {
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = json!(command);
        });
    }

    fn shim(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roost-oci"));
        command.arg("--root").arg(self.root()).args(arguments).stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.shim(arguments).output().expect("the shim")
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "{arguments:?} is refused");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Creates a container whose output goes to files; the files.
    fn create(&self, id: &str) -> [PathBuf; 2] {
        let files = ["out", "err"].map(|name| self.directory.join(name));
        let mut command = self.shim(&["create", "--bundle", &self.bundle(), id]);
        let open = |path: &Path| fs::File::create(path).expect("a file");
        let status = command.stdout(open(&files[0])).stderr(open(&files[1])).status().expect("the shim");
        assert!(status.success(), "create: {}", fs::read_to_string(&files[1]).unwrap_or_default());
        files
    }

    fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.done(&["state", id])).expect("a state is JSON")
    }

    fn wait_for_status(&self, id: &str, status: &str) {
        wait(status, || self.state(id)["status"] == status);
    }

    /// Nothing runs and nothing lies about once the last container is deleted.
    fn assert_clean(&self) {
        assert!(!self.root().join("node").exists(), "the keeper's files are gone");
        assert_eq!(fs::read_dir(self.root().join("containers")).expect("containers").count(), 0);
        let root = self.root().display().to_string();
        wait("no process of this root", || !processes().iter().any(|command| command.contains(&root)));
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        assert!(!mounts.contains(&root), "no mount is left");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for id in self.done(&["list", "-q"]).lines() {
            let _ = self.output(&["delete", "--force", id]);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + AMPLE;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The command lines of everything that runs.
fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect()
}

#[test]
fn a_container_lives_and_leaves_nothing() {
    let bed = Bed::new("life");
    bed.command(&["sh", "-c", "echo said; echo wrong >&2; trap 'exit 3' TERM; while :; do sleep 0.1; done"]);
    let files = bed.create("life");
    let state = bed.state("life");
    assert_eq!((&state["status"], &state["id"]), (&json!("created"), &json!("life")));
    assert!(Path::new(&format!("/proc/{}", state["pid"])).exists(), "it has a first process");
    assert_eq!(fs::read_to_string(&files[0]).expect("output"), "", "its command waits");
    assert!(bed.refused(&["create", "--bundle", &bed.bundle(), "life"]).contains("exists"));

    bed.done(&["start", "life"]);
    assert!(bed.refused(&["start", "life"]).contains("running"));
    wait("its output comes", || fs::read_to_string(&files[0]).is_ok_and(|text| text == "said\n"));
    wait("its errors come", || fs::read_to_string(&files[1]).is_ok_and(|text| text == "wrong\n"));
    assert!(bed.refused(&["delete", "life"]).contains("not stopped"));

    bed.done(&["kill", "life", "TERM"]);
    bed.wait_for_status("life", "stopped");
    assert!(bed.refused(&["kill", "life", "KILL"]).contains("not running"));
    bed.done(&["delete", "life"]);
    assert!(bed.refused(&["state", "life"]).contains("does not exist"));
    bed.assert_clean();
}

#[test]
fn run_ends_with_the_commands_code_and_all_its_output() {
    let bed = Bed::new("run");
    bed.command(&["sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; exit 7"]);
    let output = bed.output(&["run", "--bundle", &bed.bundle(), "run"]);
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: String = (0..2000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), lines);
    bed.assert_clean();
}

#[test]
fn a_command_runs_as_its_user_in_its_directory() {
    let bed = Bed::new("user");
    bed.command(&["sh", "-c", "id -u; id -g; pwd"]);
    bed.configure(|config| {
        config["process"]["user"] = json!({"uid": 10, "gid": 11});
        config["process"]["cwd"] = json!("/bin");
    });
    let output = bed.output(&["run", "--bundle", &bed.bundle(), "user"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "10\n11\n/bin\n");
}

#[test]
fn limits_are_seen_at_the_cgroups_path_and_change() {
    let bed = Bed::new("limits");
    bed.command(&["sleep", "1000"]);
    let path = format!("roost-oci-test-{}/x", std::process::id());
    bed.configure(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{path}"));
        config["linux"]["resources"] = json!({"pids": {"limit": 50}});
    });
    bed.create("limits");
    let groups = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|root| Path::new(root).join(&path).join("pids.max"));
    let limit = || groups.iter().find_map(|file| fs::read_to_string(file).ok()).expect("a pids controller");
    assert_eq!(limit(), "50\n", "before its command begins");
    bed.done(&["start", "limits"]);
    bed.done(&["update", "--pids-limit", "60", "limits"]);
    assert_eq!(limit(), "60\n");
    bed.done(&["pause", "limits"]);
    assert_eq!(bed.state("limits")["status"], "paused");
    bed.done(&["resume", "limits"]);
    bed.wait_for_status("limits", "running");
    bed.done(&["delete", "--force", "limits"]);
    assert!(!groups.iter().any(|file| file.parent().is_some_and(Path::exists)), "the groups are gone");
    bed.assert_clean();
}

#[test]
fn exec_has_the_callers_files_and_its_own_code() {
    let bed = Bed::new("exec");
    bed.command(&["sleep", "1000"]);
    bed.create("exec");
    bed.done(&["start", "exec"]);
    let mut command = bed.shim(&["exec", "--env", "A=1", "exec", "sh", "-c", "cat; echo $A; echo oops >&2; exit 5"]);
    let input = bed.directory.join("input");
    fs::write(&input, "typed\n").expect("write");
    let output = command.stdin(fs::File::open(&input).expect("input")).output().expect("the shim");
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "typed\n1\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "oops\n");
    assert_eq!(bed.output(&["exec", "exec", "no-such-program"]).status.code(), Some(127));
    let mut detached = bed.shim(&["exec", "--detach", "exec", "sleep", "1000"]);
    assert!(detached.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("the shim").success());
    let pids: Vec<u32> = serde_json::from_str(&bed.done(&["ps", "--format", "json", "exec"])).expect("pids");
    assert_eq!(pids.len(), 3, "init, the command, the detached one: {pids:?}");
    bed.done(&["delete", "--force", "exec"]);
    bed.assert_clean();
}

#[test]
fn a_terminal_is_handed_over() {
    let bed = Bed::new("terminal");
    bed.configure(|config| config["process"]["args"] = json!(["sh", "-c", "tty && echo on a terminal"]));
    let socket = bed.directory.join("console.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let received = std::thread::spawn(move || read_terminal(&listener));
    let path = socket.display().to_string();
    bed.done(&["create", "--bundle", &bed.bundle(), "--console-socket", &path, "terminal"]);
    bed.done(&["start", "terminal"]);
    let text = received.join().expect("the terminal");
    assert!(text.contains("/dev/") && text.contains("on a terminal"), "{text:?}");
    bed.wait_for_status("terminal", "stopped");
    bed.done(&["delete", "terminal"]);
    bed.assert_clean();
}

#[test]
fn a_terminal_in_the_foreground_is_shown() {
    let bed = Bed::new("foreground");
    bed.configure(|config| config["process"]["args"] = json!(["sh", "-c", "tty && echo on a terminal; exit 3"]));
    let output = bed.output(&["run", "--bundle", &bed.bundle(), "foreground"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("/dev/") && text.ends_with("\non a terminal\n"), "{output:?}");
    assert_eq!(output.status.code(), Some(3));
    bed.assert_clean();
}

#[test]
fn what_roost_does_not_have_is_refused_and_leaves_nothing() {
    let bed = Bed::new("refuse");
    bed.command(&["true"]);
    bed.configure(|config| config["hooks"] = json!({"prestart": [{"path": "/bin/true"}]}));
    let error = bed.refused(&["create", "--bundle", &bed.bundle(), "refuse"]);
    assert!(error.contains("hooks.prestart"), "{error}");
    assert!(!bed.root().exists(), "nothing was made");
}

/// Receives a terminal and reads it to its end.
fn read_terminal(listener: &UnixListener) -> String {
    use std::io::{IoSliceMut, Read};
    use std::mem::MaybeUninit;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    let (stream, _) = listener.accept().expect("the shim connects");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).expect("a message");
    let master = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let mut terminal = fs::File::from(master.expect("a terminal"));
    let (mut text, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(got @ 1..) = terminal.read(&mut buffer) {
        text.extend_from_slice(&buffer[..got]);
    }
    String::from_utf8_lossy(&text).into_owned()
}
