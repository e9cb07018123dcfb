//! A `roost dev` and the command line to it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roost_types::{Image, Instance, Node, NodeStatus};
use serde::Deserialize;

use crate::api::Api;
use crate::machine::{self, Process};
use crate::traces::Traces;
use crate::{until, within};

/// The first start compiles the firmware and builds an image.
const READY_WITHIN: Duration = Duration::from_secs(240);

/// A rack in a box of the test's own.
#[derive(Debug)]
pub struct Rack {
    /// The running supervisor; none between a stop or kill and the next start.
    dev: Option<Child>,
    boards: u32,
    time_scale: u32,
    environment: Vec<(String, String)>,
    /// More flags of `roost dev`.
    flags: Vec<String>,
    state: PathBuf,
    port: u16,
    traces: Option<Traces>,
    /// Its API.
    pub api: Api,
}

#[derive(Deserialize)]
struct Access {
    url: String,
    token: String,
}

/// How a verb of the command line ended.
#[derive(Debug)]
pub struct Said {
    /// Exit status.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Rack {
    /// Starts a rack of so many boards on a free port and waits until it is ready. Thermal states dwell `time_scale`
    /// times shorter than on a real rack.
    ///
    /// # Errors
    /// It does not get ready; the end of what it said is in the message.
    pub fn start(name: &str, boards: u32, time_scale: u32) -> Result<Self> {
        Self::start_with(name, boards, time_scale, &[])
    }

    /// The same with these variables in its environment, and so in that of its agents.
    ///
    /// # Errors
    /// As [`Rack::start`].
    pub fn start_with(name: &str, boards: u32, time_scale: u32, environment: &[(&str, &str)]) -> Result<Self> {
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self::start_as(name, boards, time_scale, Vec::new(), environment)
    }

    /// The same with more flags of `roost dev`.
    ///
    /// # Errors
    /// As [`Rack::start`].
    pub fn start_flagged(name: &str, boards: u32, time_scale: u32, flags: &[&str]) -> Result<Self> {
        let flags = flags.iter().map(ToString::to_string).collect();
        Self::start_as(name, boards, time_scale, flags, Vec::new())
    }

    fn start_as(
        name: &str,
        boards: u32,
        time_scale: u32,
        flags: Vec<String>,
        environment: Vec<(String, String)>,
    ) -> Result<Self> {
        let state = std::env::temp_dir().join(format!("roost-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&state).with_context(|| format!("make {}", state.display()))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let api = Api::new("", "")?;
        let mut rack = Self { dev: None, boards, time_scale, environment, flags, state, port, traces: None, api };
        rack.start_again()?;
        Ok(rack)
    }

    /// Whether it was started and neither stopped nor killed since.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.dev.is_some()
    }

    /// Starts it with the state it has.
    ///
    /// # Errors
    /// It runs already, or does not get ready.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.dev.is_none(), "the rack runs");
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let began = Instant::now();
        let mut command = self.command();
        command.args(["dev", "--no-install", "--rack", &self.boards.to_string()]);
        command.args(["--time-scale", &self.time_scale.to_string()]);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]).arg("--state").arg(self.state.join("rack"));
        command.args(&self.flags).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        self.dev = Some(command.spawn().context("start roost dev")?);
        let url = format!("http://127.0.0.1:{}", self.port);
        let probe = Api::new(&url, "")?;
        within(READY_WITHIN, "the API answers", || self.answers(&probe, "/healthz"))?;
        crate::figure("roost dev to the API's first answer", began.elapsed());
        within(READY_WITHIN, "the controller is ready", || self.answers(&probe, "/readyz"))?;
        let text = fs::read_to_string(self.context_file()).context("read the rack's context")?;
        let access: Access = serde_yaml::from_str(&text).context("parse the rack's context")?;
        ensure!(access.url == url, "the context's url is {}, not {url}", access.url);
        self.api = Api::new(&access.url, &access.token)?;
        self.traces = Traces::of(&self.state.join("rack"));
        ensure!(self.traces.is_some(), "the rack says nowhere below /run/roost-dev that it is there");
        within(READY_WITHIN, "the first image is there and every board is ready", || self.is_up())?;
        crate::figure("roost dev to every board ready", began.elapsed());
        Ok(())
    }

    fn is_up(&self) -> Result<Option<()>> {
        let images: Vec<Image> = self.api.list("/v1/images")?;
        let nodes: Vec<Node> = self.api.list("/v1/nodes")?;
        let ready = nodes.iter().filter(|node| node.status == NodeStatus::Ready).count();
        Ok((!images.is_empty() && ready >= self.boards as usize).then_some(()))
    }

    fn answers(&mut self, api: &Api, path: &str) -> Result<Option<()>> {
        let dev = self.dev.as_mut().context("the rack does not run")?;
        if let Some(status) = dev.try_wait()? {
            self.dev = None;
            bail!("roost dev ended with {status}:\n{}", self.said());
        }
        Ok(api.anonymous(path).is_ok_and(|answer| answer.status == 200).then_some(()))
    }

    fn log_path(&self) -> PathBuf {
        self.state.join("dev.log")
    }

    fn context_file(&self) -> PathBuf {
        self.state.join("rack/context.yaml")
    }

    /// The end of what `roost dev` and its parts wrote.
    #[must_use]
    pub fn said(&self) -> String {
        let mut text = tail(&self.log_path());
        for entry in fs::read_dir(self.state.join("rack/log")).into_iter().flatten().flatten() {
            text.push_str(&tail(&entry.path()));
        }
        text
    }

    /// Lines of the parts' logs that say a person must act: there is nothing in a rack in a box for one to do.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        let logs = fs::read_dir(self.state.join("rack/log")).into_iter().flatten().flatten();
        let lines = logs.flat_map(|log| {
            let text = fs::read_to_string(log.path()).unwrap_or_default();
            let name = log.file_name().to_string_lossy().into_owned();
            let is_one = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at");
            text.lines().filter(is_one).map(|line| format!("{name}: {line}")).collect::<Vec<_>>()
        });
        lines.collect()
    }

    /// Whether any part's log has this text.
    #[must_use]
    pub fn has_logged(&self, text: &str) -> bool {
        let logs = fs::read_dir(self.state.join("rack/log")).into_iter().flatten().flatten();
        logs.map(|log| log.path())
            .chain([self.log_path()])
            .any(|path| fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text)))
    }

    /// `roost`, with this rack as its context and nothing of the user's configuration.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.env("ROOST_CONTEXT", self.context_file());
        command.env("XDG_CONFIG_HOME", self.state.join("config")).env("XDG_STATE_HOME", self.state.join("home"));
        command
    }

    /// Runs a verb of the command line.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn run(&self, words: &[&str]) -> Result<Said> {
        said(self.command().args(words))
    }

    /// Runs a verb that must succeed with `input` as its standard input, and gives back what it printed.
    ///
    /// # Errors
    /// It fails, or does not end within [`crate::PATIENCE`].
    pub fn fed(&self, words: &[&str], input: Vec<u8>) -> Result<Vec<u8>> {
        let mut command = self.command();
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut roost = command.spawn().context("start roost")?;
        let (mut to, mut from) = (roost.stdin.take().context("no input")?, roost.stdout.take().context("no output")?);
        // A verb that ends without reading breaks the pipe; its exit status tells.
        let feeder = thread::spawn(move || to.write_all(&input).is_ok());
        let reader = thread::spawn(move || {
            let mut printed = Vec::new();
            from.read_to_end(&mut printed).map(|_| printed)
        });
        let ended = until(&format!("roost {} has ended", words.join(" ")), || Ok(roost.try_wait()?));
        if ended.is_err() {
            roost.kill()?;
            roost.wait()?;
        }
        let took_all = feeder.join().unwrap_or_default();
        let printed = reader.join().map_err(|_| anyhow!("the reader panicked"))??;
        let status = ended.with_context(|| format!("it had printed {} bytes", printed.len()))?;
        ensure!(status.success() && took_all, "roost {}: {status}, all input taken: {took_all}", words.join(" "));
        Ok(printed)
    }

    /// Runs a verb that must succeed and gives back what it printed.
    ///
    /// # Errors
    /// It fails.
    pub fn roost(&self, words: &[&str]) -> Result<String> {
        let said = self.run(words)?;
        ensure!(said.code == 0, "roost {}: {} {}{}", words.join(" "), said.code, said.stdout, said.stderr);
        Ok(said.stdout)
    }

    /// What a board has on its disk.
    #[must_use]
    pub fn disk_of(&self, board: &str) -> PathBuf {
        self.state.join("rack/boards").join(board)
    }

    /// An empty directory of this name for a test's own files; gone with the rack.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn scratch(&self, name: &str) -> Result<PathBuf> {
        let path = self.state.join("scratch").join(name);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }

    /// Beginning of the path of every cgroup of the rack.
    ///
    /// # Errors
    /// It never ran.
    pub fn cgroup(&self) -> Result<String> {
        Ok(self.traces.as_ref().context("the rack never ran")?.cgroup())
    }

    /// Whether it has a way out, and with it a table of rules of its own.
    ///
    /// # Errors
    /// It never ran.
    pub fn has_way_out(&self) -> Result<bool> {
        Ok(self.traces.as_ref().context("the rack never ran")?.has_way_out())
    }

    /// Runs a program in a board's network namespace; its exit code and output.
    ///
    /// # Errors
    /// The rack never ran, or the program cannot be started.
    pub fn on_board(&self, board: &str, words: &[&str]) -> Result<Said> {
        let netns = self.traces.as_ref().context("the rack never ran")?.netns(board);
        said(Command::new("ip").args(["netns", "exec", &netns]).args(words))
    }

    /// Runs a program with all privileges in the network namespace of an instance's first process, as nobody inside can.
    ///
    /// # Errors
    /// It has no process, or the program cannot be started.
    pub fn in_netns_of(&self, instance: &Instance, words: &[&str]) -> Result<Said> {
        let first = machine::container(instance)?.into_iter().next().context("the instance has no process")?;
        said(Command::new("nsenter").args(["-t", &first.pid.to_string(), "-n"]).args(words))
    }

    /// Deletes every instance and gives every board back to the scheduler.
    ///
    /// # Errors
    /// Something cannot be done.
    pub fn empty(&self) -> Result<()> {
        let instances: Vec<Instance> = self.api.list("/v1/instances")?;
        for instance in &instances {
            self.roost(&["delete", "--no-wait", &instance.id.to_string()])?;
        }
        until("every instance is gone", || Ok(self.api.list::<Instance>("/v1/instances")?.is_empty().then_some(())))
    }

    /// Everything that `dev` started, except containers and what keeps them.
    ///
    /// # Errors
    /// It does not run.
    pub fn parts(&self) -> Result<Vec<Process>> {
        let dev = self.dev.as_ref().context("the rack does not run")?;
        let below = descendants(i32::try_from(dev.id())?);
        Ok(below.into_iter().filter(|process| !lives_on(process)).collect())
    }

    /// Kills everything that `dev` started, and `dev` itself, at once; containers and what keeps them live on.
    ///
    /// # Errors
    /// It does not run, or something survives.
    pub fn kill_all_but_containers(&mut self) -> Result<()> {
        let dev = self.dev.as_ref().context("the rack does not run")?;
        // What `dev` starts dies with it; stopped first, it cannot start anything anew.
        kill(Pid::from_raw(i32::try_from(dev.id())?), Signal::SIGSTOP)?;
        let victims = self.parts()?;
        ensure!(victims.len() > self.boards as usize, "found only {} processes to kill", victims.len());
        for victim in &victims {
            // Gone already is as good.
            let _ = kill(Pid::from_raw(victim.pid), Signal::SIGKILL);
        }
        let mut dev = self.dev.take().context("the rack does not run")?;
        dev.kill()?;
        dev.wait()?;
        until("all that was killed is gone", || Ok(victims.iter().all(|victim| !victim.is_alive()).then_some(())))
    }

    /// Interrupts it as Ctrl-C does, and shows that nothing is left of it but its state.
    ///
    /// # Errors
    /// It does not end well, or something is left.
    pub fn interrupt(&mut self) -> Result<()> {
        let mut dev = self.dev.take().context("the rack does not run")?;
        let pid = i32::try_from(dev.id())?;
        // Not all of them are in cgroups of the rack: the controller and the simulator are only below `dev`.
        let below = descendants(pid);
        kill(Pid::from_raw(pid), Signal::SIGINT)?;
        let ended = until("roost dev has ended", || Ok(dev.try_wait()?));
        if ended.is_err() {
            dev.kill()?;
            dev.wait()?;
        }
        let status = ended?;
        ensure!(status.success(), "roost dev ended with {status}:\n{}", self.said());
        let alive = || below.iter().filter(|process| process.is_alive()).map(Process::command_line).collect::<Vec<_>>();
        let gone = until("all that dev started is gone", || Ok(alive().is_empty().then_some(())));
        ensure!(gone.is_ok(), "these outlived roost dev:\n    {}", alive().join("\n    "));
        self.traces.as_ref().context("the rack never ran")?.ensure_none()
    }

    /// Interrupts it if it runs, takes away what outlives it, shows that nothing is left, and removes its state.
    ///
    /// # Errors
    /// Something is left.
    pub fn stop(mut self) -> Result<()> {
        self.take_away()
    }

    fn take_away(&mut self) -> Result<()> {
        if !self.state.exists() {
            return Ok(());
        }
        let ended = if self.dev.is_some() { self.interrupt() } else { Ok(()) };
        // Also the containers of a rack that was killed, or that did not end well.
        let state = self.state.join("rack");
        if state.exists() {
            self.roost(&["dev", "--clean", "--state", &state.display().to_string()])?;
        }
        if let Some(traces) = &self.traces {
            traces.ensure_none()?;
        }
        fs::remove_dir_all(&self.state).with_context(|| format!("remove {}", self.state.display()))?;
        ended
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        if let Err(error) = self.take_away() {
            eprintln!("{error:#}");
        }
    }
}

/// Runs a program with nothing to read and keeps what it said.
fn said(command: &mut Command) -> Result<Said> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The `roost` program: `ROOST_BIN`, or the one beside the test program.
pub(crate) fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("ROOST_BIN") {
        return program.into();
    }
    let me = std::env::current_exe().unwrap_or_default();
    let beside = me.parent().and_then(Path::parent).unwrap_or(Path::new("")).join("roost");
    assert!(beside.exists(), "{} is not there: `cargo build --workspace` makes it", beside.display());
    beside
}

/// Every process below this one.
fn descendants(root: i32) -> Vec<Process> {
    let all = machine::processes();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|process| process.parent() == Some(parent)) {
            parents.push(process.pid);
            found.push(process.clone());
        }
    }
    found
}

/// Containers and their keepers outlive the agent.
fn lives_on(process: &Process) -> bool {
    process.file("cgroup").contains("/instances/") || process.command_line().contains("keeper")
}

pub(crate) fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(15)..];
    if last.is_empty() { String::new() } else { format!("    {}:\n    | {}\n", path.display(), last.join("\n    | ")) }
}
