//! A test bed: a network namespace with the standalone controller and one agent in it, on loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{board_program, program};

/// The admin's token and the node's secret: random enough for a namespace nobody else is in.
const TOKEN: &str = "bench-token";
const SECRET: &str = "bench-secret";
/// Where the controller answers, inside the namespace.
pub const URL: &str = "http://127.0.0.1:7700";

/// Controller and agent, running.
pub struct Bed {
    holder: Child,
    controller: Child,
    agent: Child,
    cgroup: String,
    run_dir: PathBuf,
}

impl Bed {
    /// Starts both and waits until the board is ready and busybox is there.
    pub fn start(work: &Path) -> Result<Self> {
        let hold = "ip link set lo up && exec sleep infinity";
        let holder = Command::new("unshare").args(["-n", "sh", "-c", hold]).spawn().context("run unshare")?;
        let file = |name: &str, text: String| -> Result<PathBuf> {
            let path = work.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        let tokens = file("tokens.yaml", format!("[{{name: bench, role: admin, token_sha256: {}}}]", sha(TOKEN)?))?;
        let nodes = file("nodes.yaml", format!("[{{name: n01, secret_sha256: {}}}]", sha(SECRET)?))?;
        let (rack, secret) = (file("rack.yaml", String::new())?, file("secret", SECRET.to_owned())?);
        let log = |name: &str| fs::File::create(work.join(name)).map(Stdio::from);
        std::thread::sleep(Duration::from_millis(200));
        let controller = inside(holder.id(), &program("roost-controller"))
            .args(["run", "--listen", "127.0.0.1:7700", "--state"])
            .arg(work.join("controller"))
            .arg("--rack")
            .arg(rack)
            .arg("--nodes")
            .arg(nodes)
            .arg("--tokens")
            .arg(tokens)
            .stdout(log("controller.out")?)
            .stderr(log("controller.err")?)
            .spawn()
            .context("start the controller")?;
        let cgroup = format!("roost-bench-{}", std::process::id());
        let run_dir = work.join("run");
        let agent = inside(holder.id(), &board_program("roost-agent"))
            .args(["run", "--controller", URL, "--cgroup-parent", &cgroup, "--address", "127.0.0.1"])
            // Room for a hundred nano instances on a machine of any size, and for no more: later ones stay pending.
            .args(["--cpu-millis", "12500", "--state"])
            .arg(work.join("agent"))
            .arg("--run-dir")
            .arg(&run_dir)
            .arg("--secret-file")
            .arg(secret)
            .stderr(log("agent.err")?)
            .spawn()
            .context("start the agent")?;
        let bed = Self { holder, controller, agent, cgroup, run_dir };
        bed.until("the board is ready", || Ok(bed.curl(&[&format!("{URL}/v1/nodes")])?.contains("\"ready\"")))?;
        bed.roost(work, &["image", "build", "busybox"])?;
        Ok(bed)
    }

    /// Pid of the agent.
    pub fn agent(&self) -> u32 {
        self.agent.id()
    }

    /// Pid of the controller.
    pub fn controller(&self) -> u32 {
        self.controller.id()
    }

    /// Pid of the keeper: the agent's child, or what is left of it in the process list.
    pub fn keeper(&self) -> Result<u32> {
        let wanted = self.run_dir.display().to_string();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(" keeper ") && line.contains(&wanted) {
                return Ok(pid);
            }
        }
        bail!("there is no keeper")
    }

    /// Runs a program inside the namespace.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Result<Output> {
        let output = inside(self.holder.id(), Path::new(name)).args(arguments).output();
        let output = output.with_context(|| format!("run {name}"))?;
        ensure!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output)
    }

    /// An authorised request; the body of the answer, or what `-w` prints.
    pub fn curl(&self, arguments: &[&str]) -> Result<String> {
        let header = format!("Authorization: Bearer {TOKEN}");
        let mut all = vec!["-s", "-S", "-H", &header, "-H", "Content-Type: application/json"];
        all.extend_from_slice(arguments);
        Ok(String::from_utf8_lossy(&self.run("curl", &all)?.stdout).into_owned())
    }

    /// The header that wrk must send.
    pub fn authorization() -> String {
        format!("Authorization: Bearer {TOKEN}")
    }

    fn roost(&self, work: &Path, arguments: &[&str]) -> Result<()> {
        let context = work.join("context.yaml");
        fs::write(&context, format!("url: {URL}\ntoken: {TOKEN}\n"))?;
        let output =
            inside(self.holder.id(), &program("roost")).env("ROOST_CONTEXT", context).args(arguments).output()?;
        ensure!(output.status.success(), "roost {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Waits for something that happens soon.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        while !holds().unwrap_or(false) {
            ensure!(Instant::now() < end, "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Bed {
    /// Containers first: the agent that could delete them is about to go. Everything left is in its cgroups.
    fn drop(&mut self) {
        for child in [&mut self.agent, &mut self.controller] {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Ok(keeper) = self.keeper() {
            let _ = Command::new("kill").args(["-9", &keeper.to_string()]).status();
        }
        remove_cgroups(&self.cgroup);
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Kills what is in the cgroups of the bed and removes them, deepest first.
fn remove_cgroups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for top in hierarchies.chain([root.to_owned()]).map(|path| path.join(name)).filter(|path| path.is_dir()) {
        for _ in 0..50 {
            remove_tree(&top);
            if !top.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn remove_tree(group: &Path) {
    for child in fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_tree(&child.path());
    }
    for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        let _ = Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status();
    }
    let _ = fs::remove_dir(group);
}

fn inside(holder: u32, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", &holder.to_string(), "-n", "--"]).arg(program);
    command
}

fn sha(text: &str) -> Result<String> {
    let output = Command::new("sh").args(["-c", &format!("printf %s '{text}' | sha256sum")]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().next().map(str::to_owned).context("sha256sum printed nothing")
}
