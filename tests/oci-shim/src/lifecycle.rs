//! The verbs that change a container.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use roost_agent::runtime::linux::LinuxRuntime;
use roost_agent::runtime::{ExecPlan, Runtime};
use roost_types::AllocationId;
use serde_json::{Value, json};

use crate::cli::{Create, Delete, Kill, Run, Update};
use crate::config::{self, Config};
use crate::node::{self, Node};
use crate::record::{Record, Status};
use crate::{groups, image, monitor, wanted};

/// How long a killed container may take to be seen dead, and its monitor to hand on the last output.
const END: Duration = Duration::from_secs(10);

/// Makes a container whose command waits.
///
/// # Errors
/// The config asks for what Roost does not have, or a step failed; nothing is left of it.
pub async fn create(node: &Node, options: &Create) -> Result<()> {
    make(node, options, false).await
}

/// Makes a container; in the foreground what is on its terminal is shown to the caller.
async fn make(node: &Node, options: &Create, foreground: bool) -> Result<()> {
    let bundle = options.bundle.canonicalize().with_context(|| format!("find {}", options.bundle.display()))?;
    let config: Config = config::read(&bundle.join("config.json"))?;
    let wanted = wanted::wanted(&config)?;
    let handed_over = wanted.terminal && !foreground;
    ensure!(handed_over == options.console_socket.is_some(), "--console-socket is for a terminal that is handed over");
    let rootfs = bundle.join(&config.root.path);
    ensure!(rootfs.is_dir(), "root.path: there is no directory {}", rootfs.display());
    node.prepare()?;
    let _lock = node.lock()?;
    let directory = node.container(&options.id)?;
    ensure!(!directory.exists(), "container with id exists: {}", options.id);
    fs::create_dir(&directory).with_context(|| format!("make {}", directory.display()))?;
    let record = Record {
        id: options.id.clone(),
        oci_version: config.oci_version,
        bundle,
        rootfs,
        annotations: config.annotations,
        created: jiff::Timestamp::now().to_string(),
        allocation: mint()?,
        terminal: wanted.terminal,
        console_socket: options.console_socket.as_deref().map(std::path::absolute).transpose()?,
        cgroups_path: wanted.cgroups_path.unwrap_or_else(|| PathBuf::from(&options.id)),
        resources: wanted.resources,
        monitor: 0,
        started: false,
        paused: false,
    };
    let made = hand_to_monitor(node, record, &directory).await;
    let made = made.and_then(|pid| options.pid_file.as_deref().map_or(Ok(()), |path| write_pid(path, &pid)));
    if made.is_err() {
        let _ = remove(node, &options.id).await;
    }
    made
}

/// Starts the container's monitor, which makes it; the pid of its first process.
async fn hand_to_monitor(node: &Node, mut record: Record, directory: &Path) -> Result<String> {
    record.write(node)?;
    let path = directory.join("monitor.sock");
    let listener = UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
    let mut monitor = Command::new("/proc/self/exe");
    monitor.arg("--root").arg(node.root()).arg("monitor").arg(&record.id);
    monitor.stdin(Stdio::from(OwnedFd::from(listener))).process_group(0);
    if record.console_socket.is_some() {
        // The caller's files are for the container's output, which goes to the terminal.
        monitor.stdout(Stdio::null()).stderr(Stdio::null());
    }
    record.monitor = monitor.spawn().context("start the container's monitor")?.id();
    record.write(node)?;
    monitor::ask(node, &record.id, "create").await
}

fn write_pid(path: &Path, pid: &str) -> Result<()> {
    fs::write(path, pid).with_context(|| format!("write {}", path.display()))
}

fn mint() -> Result<AllocationId> {
    let mut random = [0; 10];
    let mut source = fs::File::open("/dev/urandom").context("open /dev/urandom")?;
    std::io::Read::read_exact(&mut source, &mut random).context("read /dev/urandom")?;
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
    Ok(AllocationId::mint(now, random))
}

/// Lets a container's command begin.
///
/// # Errors
/// It does not wait for that.
pub async fn start(node: &Node, id: &str) -> Result<()> {
    // A create that is under way comes first.
    let _lock = node.lock()?;
    let mut record = Record::read(node, id)?;
    let runtime = node.runtime().await?;
    let (status, _) = record.status(&runtime).await?;
    ensure!(status == Status::Created, "cannot start a container that is {}", status.as_str());
    let root = Some("0:0".to_owned());
    let plan = ExecPlan { command: image::open_gate(), env: Vec::new(), tty: None, user: root, workdir: None };
    let session = runtime.exec(record.allocation, &plan).await.context("open the gate")?;
    let exit = session.exit.await.context("open the gate")?;
    ensure!(exit.code == 0, "the gate does not open");
    record.started = true;
    record.write(node)
}

/// Creates, starts and, unless detached, waits for the end; the code to end with.
///
/// # Errors
/// Those of the steps.
pub async fn run(node: &Node, options: &Run) -> Result<ExitCode> {
    let id = &options.create.id;
    make(node, &options.create, !options.detach).await?;
    let end = async {
        let waiting = monitor::ask(node, id, "wait");
        let starting = async {
            // The monitor listens; whether it hears of the waiting or of the end first makes no difference.
            tokio::task::yield_now().await;
            start(node, id).await
        };
        if options.detach {
            starting.await.map(|()| String::new())
        } else {
            tokio::try_join!(waiting, starting).map(|(code, ())| code)
        }
    };
    let ended = end.await;
    if ended.is_err() || !(options.detach || options.keep) {
        remove(node, id).await?;
    }
    let code = ended?;
    Ok(ExitCode::from(u8::try_from(code.parse::<i32>().unwrap_or(0) & 0xff).unwrap_or(u8::MAX)))
}

/// Sends a signal.
///
/// # Errors
/// There is nobody to send it to, or no such signal.
pub async fn kill(node: &Node, options: &Kill) -> Result<()> {
    let record = Record::read(node, &options.id)?;
    let signal = signal(&options.signal)?;
    let runtime = node.runtime().await?;
    let (status, pid) = record.status(&runtime).await?;
    ensure!(status != Status::Stopped, "container not running");
    let targets =
        if options.all { groups::processes(&node.cgroup_parent(), &record.allocation.to_string()) } else { vec![pid] };
    for target in targets {
        nix::sys::signal::kill(Pid::from_raw(target.cast_signed()), signal)
            .with_context(|| format!("send {} to process {target}", options.signal))?;
    }
    if signal == Some(Signal::SIGKILL) && status != Status::Paused {
        wait_for_end(&record, &runtime).await?;
    }
    Ok(())
}

async fn wait_for_end(record: &Record, runtime: &LinuxRuntime) -> Result<()> {
    let end = async {
        while record.status(runtime).await?.0 != Status::Stopped {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    tokio::time::timeout(END, end).await.context("the container does not end")?
}

/// `9`, `KILL` or `SIGKILL`; none for `0`, which only asks whether there is somebody to send one to.
fn signal(text: &str) -> Result<Option<Signal>> {
    let unknown = || format!("unknown signal {text:?}");
    if let Ok(number) = text.parse::<i32>() {
        return (number != 0).then(|| Signal::try_from(number)).transpose().with_context(unknown);
    }
    let name = text.to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    Signal::from_str(&name).map(Some).with_context(unknown)
}

/// Removes a container.
///
/// # Errors
/// It runs, or something of it stays.
pub async fn delete(node: &Node, options: &Delete) -> Result<()> {
    let record = match Record::read(node, &options.id) {
        Err(_) if options.force => return Ok(()),
        record => record?,
    };
    if !options.force {
        let (status, _) = record.status(&node.runtime().await?).await?;
        let may = matches!(status, Status::Created | Status::Stopped);
        ensure!(may, "cannot delete container {} that is not stopped: {}", record.id, status.as_str());
    }
    let _lock = node.lock()?;
    remove(node, &options.id).await
}

/// Ends what runs of a container and removes all of it; with the last one, the node.
async fn remove(node: &Node, id: &str) -> Result<()> {
    let record = Record::read(node, id)?;
    let runtime = node.runtime().await?;
    // One that never came to be cannot be stopped.
    let _ = runtime.stop(record.allocation, Duration::ZERO).await;
    if record.monitor != 0 && !node::wait_for_death(record.monitor, END) {
        node::kill(record.monitor)?;
    }
    runtime.delete(record.allocation).await.context("delete the container")?;
    groups::hide(&record.cgroups_path);
    let directory = node.container(id)?;
    fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    if node.containers().is_empty() {
        node.take_down(runtime).await?;
    }
    Ok(())
}

/// Pauses a container.
///
/// # Errors
/// It does not run.
pub async fn pause(node: &Node, id: &str) -> Result<()> {
    set_paused(node, id, Status::Running, "pause").await
}

/// Lets a paused container go on.
///
/// # Errors
/// It is not paused.
pub async fn resume(node: &Node, id: &str) -> Result<()> {
    set_paused(node, id, Status::Paused, "resume").await
}

async fn set_paused(node: &Node, id: &str, from: Status, verb: &str) -> Result<()> {
    let mut record = Record::read(node, id)?;
    let (status, _) = record.status(&node.runtime().await?).await?;
    ensure!(status == from, "cannot {verb} a container that is {}", status.as_str());
    monitor::ask(node, id, verb).await?;
    record.paused = from == Status::Running;
    record.write(node)
}

/// Puts other limits in force.
///
/// # Errors
/// The container does not run, or Roost has no such limit.
pub async fn update(node: &Node, options: &Update) -> Result<()> {
    let mut record = Record::read(node, &options.id)?;
    let runtime = node.runtime().await?;
    let (status, _) = record.status(&runtime).await?;
    ensure!(status != Status::Stopped, "cannot update a container that is {}", status.as_str());
    let asked: config::Resources = match &options.resources {
        Some(path) if path == Path::new("-") => config::read(Path::new("/dev/stdin"))?,
        Some(path) => config::read(path)?,
        None => serde_json::from_value(asked(options)?)?,
    };
    record.resources = wanted::limits(&asked, record.resources)?;
    runtime.limit(record.allocation, &record.resources).await.context("set the limits")?;
    record.write(node)
}

/// The flags of `update` as a config would have them.
fn asked(options: &Update) -> Result<Value> {
    let flags = [
        ("memory", "limit", options.memory.as_deref().map(bytes).transpose()?.map(Value::from)),
        ("pids", "limit", options.pids_limit.map(Value::from)),
        ("cpu", "quota", options.cpu_quota.map(Value::from)),
        ("cpu", "period", options.cpu_period.map(Value::from)),
    ];
    let mut asked = json!({});
    for (controller, name, value) in flags {
        if let Some(value) = value {
            asked[controller][name] = value;
        }
    }
    Ok(asked)
}

/// `10485760`, `10M`.
fn bytes(text: &str) -> Result<i64> {
    let units = [('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30)];
    let lower = text.to_ascii_lowercase();
    let unit = units.iter().find(|(suffix, _)| lower.ends_with(*suffix));
    let (number, factor) = unit.map_or((lower.as_str(), 1), |(_, factor)| (&lower[..lower.len() - 1], *factor));
    number.parse::<i64>().map(|number| number * factor).with_context(|| format!("--memory {text:?}"))
}
