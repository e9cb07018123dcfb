//! One board of its own: the standalone controller and agent in the network namespace of the test, so that either can be
//! killed, replaced by another build and looked at closely.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use roost_types::{Instance, Node, NodeStatus};

use crate::api::Api;
use crate::machine::{self, Process};
use crate::{until, within};

/// The admin's token and the node's secret: random enough for a namespace nobody else is in.
const TOKEN: &str = "soak-token";
const SECRET: &str = "soak-secret";
const LISTEN: &str = "127.0.0.1:7700";
/// The bridge of the instances, which stays.
const BRIDGE: &str = "roost0";

/// The programs of one build.
#[derive(Clone, Debug)]
pub struct Build(PathBuf);

impl Build {
    /// This one: `ROOST_BIN`'s directory, or that of the test program's.
    #[must_use]
    pub fn this() -> Self {
        Self(crate::rack::program().parent().unwrap_or(Path::new(".")).to_owned())
    }

    /// An earlier one, where `ROOST_PREVIOUS` names the directory of its programs.
    #[must_use]
    pub fn previous() -> Option<Self> {
        std::env::var_os("ROOST_PREVIOUS").map(|directory| Self(directory.into()))
    }

    fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Controller and agent.
#[derive(Debug)]
pub struct Board {
    work: PathBuf,
    controller: Child,
    agent: Option<Child>,
    cgroup: String,
    /// The API.
    pub api: Api,
}

impl Board {
    /// Starts both in a network namespace of their own, which becomes the caller's, and waits until the board is ready
    /// and the image busybox is there. To be called before the process has threads.
    ///
    /// # Errors
    /// What does not start.
    pub fn start(name: &str) -> Result<Self> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
        run("ip", &["link", "set", "lo", "up"])?;
        let work = std::env::temp_dir().join(format!("roost-board-{name}-{}", std::process::id()));
        fs::create_dir_all(&work).with_context(|| format!("make {}", work.display()))?;
        let write = |name: &str, text: String| fs::write(work.join(name), text).with_context(|| name.to_owned());
        write("tokens.yaml", format!("[{{name: soak, role: admin, token_sha256: {}}}]", sha256(TOKEN)?))?;
        write("nodes.yaml", format!("[{{name: n01, secret_sha256: {}}}]", sha256(SECRET)?))?;
        write("rack.yaml", String::new())?;
        write("secret", SECRET.to_owned())?;
        write("context.yaml", format!("url: http://{LISTEN}\ntoken: {TOKEN}\n"))?;
        let mut controller = Command::new(Build::this().program("roost-controller"));
        controller.args(["run", "--listen", LISTEN]);
        for (flag, name) in
            [("--state", "controller"), ("--rack", "rack.yaml"), ("--nodes", "nodes.yaml"), ("--tokens", "tokens.yaml")]
        {
            controller.arg(flag).arg(work.join(name));
        }
        let log = fs::File::create(work.join("controller.log"))?;
        let controller = controller.stdout(log.try_clone()?).stderr(log).spawn().context("start the controller")?;
        let cgroup = format!("roost-board-{name}-{}", std::process::id());
        let api = Api::new(&format!("http://{LISTEN}"), TOKEN)?;
        let mut board = Self { work, controller, agent: None, cgroup, api };
        board.start_agent(&Build::this())?;
        until("the board is ready", || {
            let nodes: Vec<Node> = board.api.list("/v1/nodes").unwrap_or_default();
            Ok(nodes.iter().any(|node| node.status == NodeStatus::Ready).then_some(()))
        })?;
        board.roost(&["image", "build", "busybox"])?;
        Ok(board)
    }

    /// Starts an agent of a build.
    ///
    /// # Errors
    /// One runs, or it does not start.
    pub fn start_agent(&mut self, build: &Build) -> Result<()> {
        ensure!(self.agent.is_none(), "an agent runs");
        let log = fs::File::options().create(true).append(true).open(self.agent_log())?;
        let mut agent = Command::new(build.program("roost-agent"));
        agent.args(["run", "--controller", &format!("http://{LISTEN}"), "--cgroup-parent", &self.cgroup]);
        // Room for a hundred nano instances on a machine of any size.
        agent.args(["--address", "127.0.0.1", "--cpu-millis", "25000"]);
        agent.arg("--state").arg(self.work.join("agent")).arg("--run-dir").arg(self.run_dir());
        agent.arg("--secret-file").arg(self.work.join("secret"));
        self.agent = Some(agent.stdout(Stdio::null()).stderr(log).spawn().context("start the agent")?);
        Ok(())
    }

    /// Kills the agent as a crash would.
    ///
    /// # Errors
    /// None runs.
    pub fn kill_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("no agent runs")?;
        agent.kill()?;
        agent.wait()?;
        Ok(())
    }

    /// Starts an agent of this build unless one runs.
    ///
    /// # Errors
    /// It does not start.
    pub fn ensure_agent(&mut self) -> Result<()> {
        if self.agent_has_died()? { self.start_agent(&Build::this()) } else { Ok(()) }
    }

    /// Takes note of an agent that somebody else killed; whether one did.
    ///
    /// # Errors
    /// What `wait` says.
    pub fn agent_has_died(&mut self) -> Result<bool> {
        if let Some(agent) = &mut self.agent
            && agent.try_wait()?.is_none()
        {
            return Ok(false);
        }
        self.agent = None;
        Ok(true)
    }

    /// The agent.
    ///
    /// # Errors
    /// None runs.
    pub fn agent(&self) -> Result<Process> {
        let pid = self.agent.as_ref().context("no agent runs")?.id();
        Process::find(pid.cast_signed()).context("the agent is gone")
    }

    /// The keeper, once there is one.
    ///
    /// # Errors
    /// None comes.
    pub fn keeper(&self) -> Result<Process> {
        until("there is a keeper", || Ok(self.keepers().into_iter().next()))
    }

    /// Keepers that run; the holder of consoles, which was made from one, is not.
    fn keepers(&self) -> Vec<Process> {
        let run = self.run_dir().display().to_string();
        let ours = |process: &Process| {
            let line = process.command_line();
            line.contains(" keeper ") && line.contains(&run) && process.file("comm").trim() != "roost-consoles"
        };
        // A container's first process has the same command line until it is executed: it is a child.
        let found: Vec<Process> = machine::processes().into_iter().filter(ours).collect();
        let is_child = |process: &Process| found.iter().any(|other| process.parent() == Some(other.pid));
        found.iter().filter(|process| !is_child(process)).cloned().collect()
    }

    /// What the agents wrote.
    #[must_use]
    pub fn agent_log(&self) -> PathBuf {
        self.work.join("agent.log")
    }

    /// The end of what everybody wrote.
    #[must_use]
    pub fn said(&self) -> String {
        ["controller.log", "agent.log", "run/keeper.log"].map(|name| crate::rack::tail(&self.work.join(name))).concat()
    }

    fn run_dir(&self) -> PathBuf {
        self.work.join("run")
    }

    /// `roost`, with this board's controller as its context.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(Build::this().program("roost"));
        command.env("ROOST_CONTEXT", self.work.join("context.yaml")).env("XDG_CONFIG_HOME", self.work.join("config"));
        command
    }

    /// Runs a verb of the command line that must succeed.
    ///
    /// # Errors
    /// It fails.
    pub fn roost(&self, words: &[&str]) -> Result<String> {
        let output = self.command().args(words).stdin(Stdio::null()).output().context("start roost")?;
        ensure!(output.status.success(), "roost {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The firewall, without counters.
    ///
    /// # Errors
    /// nft fails.
    pub fn firewall(&self) -> Result<String> {
        run("nft", &["-s", "list", "ruleset"])
    }

    /// Deletes every instance.
    ///
    /// # Errors
    /// They do not go.
    pub fn empty(&self) -> Result<()> {
        let instances: Vec<Instance> = self.api.list("/v1/instances")?;
        for instance in &instances {
            self.api.delete(&format!("/v1/instances/{}", instance.id))?;
        }
        until("every instance is gone", || Ok(self.api.list::<Instance>("/v1/instances")?.is_empty().then_some(())))
    }

    /// What is on the board although it has no instance, a line each.
    ///
    /// # Errors
    /// Something cannot be looked at.
    pub fn leftovers(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for group in self.groups() {
            found.push(format!("cgroup {}", group.display()));
        }
        for process in machine::in_cgroup(&format!("/{}/instances/", self.cgroup)) {
            found.push(format!("process {} {}", process.pid, process.command_line()));
        }
        let links = run("ip", &["-o", "link"])?;
        let names = links.lines().filter_map(|line| line.split(": ").nth(1)).map(|name| name.split('@').next());
        found.extend(names.flatten().filter(|name| !["lo", BRIDGE].contains(name)).map(|name| format!("link {name}")));
        for directory in ["agent/instances", "run/containers"] {
            let entries = fs::read_dir(self.work.join(directory)).into_iter().flatten().flatten();
            found.extend(entries.map(|entry| format!("directory {}", entry.path().display())));
        }
        found.extend(self.mounts()?);
        found.extend(self.zombies()?);
        Ok(found)
    }

    /// Groups of instances, in whatever hierarchy.
    fn groups(&self) -> Vec<PathBuf> {
        let instances = self.hierarchies().into_iter().map(|top| top.join("instances"));
        let entries = instances.flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten());
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// The board's group in each hierarchy.
    fn hierarchies(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let tops = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        tops.chain([root.to_owned()]).map(|top| top.join(&self.cgroup)).filter(|top| top.is_dir()).collect()
    }

    /// How many groups the board has, over all hierarchies.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn groups_below(&self) -> Result<usize> {
        fn count(group: &Path) -> Result<usize> {
            let mut groups = 1;
            for entry in fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
                groups += count(&entry.path())?;
            }
            Ok(groups)
        }
        self.hierarchies().iter().map(|top| count(top)).sum()
    }

    /// Groups that were removed and that the kernel still holds: version 2 counts them.
    #[must_use]
    pub fn dying_groups(&self) -> u64 {
        let stats = self.hierarchies().into_iter().map(|top| fs::read_to_string(top.join("cgroup.stat")));
        let lines = stats.flatten().map(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("nr_dying_descendants "));
            line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default()
        });
        lines.sum()
    }

    /// Mounts of this board that anybody sees, and loop devices, but the one image of the living keeper.
    fn mounts(&self) -> Result<Vec<String>> {
        let (keeper, work) = (self.keeper()?, self.work.display().to_string());
        let mut found = Vec::new();
        for (who, text) in [("keeper", keeper.file("mountinfo")), ("host", fs::read_to_string("/proc/self/mountinfo")?)]
        {
            let ours = text.lines().filter(|line| line.contains(&work) && !line.contains("/run/images/"));
            found.extend(ours.map(|line| format!("mount of the {who}: {line}")));
        }
        let loops = self.loop_devices();
        found.extend(loops.into_iter().skip(1).map(|file| format!("loop device on {file}")));
        Ok(found)
    }

    fn loop_devices(&self) -> Vec<String> {
        let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let files = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
        files.filter(|file| Path::new(file.trim()).starts_with(&self.work)).collect()
    }

    /// Children of the agent and the keeper that ended and were not reaped.
    fn zombies(&self) -> Result<Vec<String>> {
        let parents = [self.agent()?.pid, self.keeper()?.pid];
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
            if let [state, parent, ..] = fields[..]
                && state == "Z"
                && parent.parse().is_ok_and(|parent| parents.contains(&parent))
            {
                found.push(format!("zombie {stat}"));
            }
        }
        Ok(found)
    }

    /// Waits until nothing is left of instances that were deleted.
    ///
    /// # Errors
    /// Something stays.
    pub fn ensure_clean(&self) -> Result<()> {
        let clean =
            within(Duration::from_secs(20), "nothing is left", || Ok(self.leftovers()?.is_empty().then_some(())));
        if clean.is_ok() {
            return Ok(());
        }
        match self.leftovers()?[..] {
            [] => Ok(()),
            ref left => bail!("left behind:\n    {}", left.join("\n    ")),
        }
    }

    /// Ends everything and shows that nothing is left.
    ///
    /// # Errors
    /// Something is left.
    pub fn stop(mut self) -> Result<()> {
        self.empty()?;
        let clean = self.ensure_clean();
        self.end();
        clean?;
        until("no loop device is left", || Ok(self.loop_devices().is_empty().then_some(())))
    }

    /// The agent last: until then it would replace the keeper.
    fn end(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        let _ = self.controller.kill();
        let _ = self.controller.wait();
        for keeper in self.keepers() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(keeper.pid), nix::sys::signal::SIGKILL);
        }
        for process in machine::in_cgroup(&format!("/{}/instances/", self.cgroup)) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), nix::sys::signal::SIGKILL);
        }
        self.remove_groups();
        let _ = fs::remove_dir_all(&self.work);
    }

    fn remove_groups(&self) {
        for top in self.hierarchies() {
            let _ = until("the cgroups are gone", || {
                remove_group(&top);
                Ok((!top.exists()).then_some(()))
            });
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.end();
    }
}

/// Removes a cgroup and those below it, as far as nothing is in them.
fn remove_group(group: &Path) {
    for child in fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_group(&child.path());
    }
    let _ = fs::remove_dir(group);
}

fn run(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program).args(words).output().with_context(|| format!("start {program}"))?;
    ensure!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn sha256(text: &str) -> Result<String> {
    let printed = run("sh", &["-c", &format!("printf %s '{text}' | sha256sum")])?;
    printed.split_whitespace().next().map(str::to_owned).context("sha256sum printed nothing")
}
