//! The process that stands for the agent of one container: it starts it, hands its output on to whoever called
//! `create`, holds its pauses, and ends with it.
//!
//! Its standard input is the listening socket on which the other verbs speak to it, a line each way:
//! `create` → `ok PID` or `error TEXT` · `wait` → `exit CODE` · `pause`, `resume` → `ok` or `error TEXT`.

mod output;

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use anyhow::{Context, Result, bail};
use roost_agent::runtime::linux::LinuxRuntime;
use roost_agent::runtime::{Runtime, RuntimeEvent};
use roost_types::{AllocationId, AllocationSpec};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::config::{self, Config};
use crate::node::{self, Node};
use crate::record::Record;
use crate::wanted::{self, Wanted};
use crate::{groups, image};

/// Makes the container and serves until it ends.
///
/// # Errors
/// Said to `create` too.
pub async fn run(node: &Node, id: &str) -> Result<()> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("take over the socket")?;
    let listener = StdListener::from(socket);
    listener.set_nonblocking(true).context("make the socket non-blocking")?;
    let listener = UnixListener::from_std(listener).context("listen")?;
    let (mut caller, _) = listener.accept().await.context("wait for create")?;
    let made = make(node, id).await;
    let (container, pid) = match made {
        Ok(made) => made,
        Err(error) => {
            let _ = reply(&mut caller, &format!("error {error:#}")).await;
            return Err(error);
        }
    };
    reply(&mut caller, &format!("ok {pid}")).await?;
    drop(caller);
    container.serve(&listener).await
}

/// Asks a container's monitor something.
///
/// # Errors
/// It says so, or it is gone.
pub async fn ask(node: &Node, id: &str, question: &str) -> Result<String> {
    let path = node.container(id)?.join("monitor.sock");
    let mut stream = UnixStream::connect(&path).await.context("reach the container's monitor")?;
    stream.write_all(format!("{question}\n").as_bytes()).await.context("ask the container's monitor")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await.context("hear from the container's monitor")?;
    match answer.trim_end().split_once(' ').unwrap_or((answer.trim_end(), "")) {
        ("ok" | "exit", rest) => Ok(rest.to_owned()),
        ("error", text) => bail!("{text}"),
        _ => bail!("the container's monitor is gone"),
    }
}

struct Container {
    runtime: LinuxRuntime,
    allocation: AllocationId,
    output: output::Output,
}

async fn make(node: &Node, id: &str) -> Result<(Container, u32)> {
    let record = Record::read(node, id)?;
    let config: Config = config::read(&record.bundle.join("config.json"))?;
    let wanted = wanted::wanted(&config)?;
    let image = image::make(&record.rootfs, &node.container(id)?)?;
    let runtime = node.runtime().await?;
    let started = start(&runtime, &record, &wanted, &image).await;
    let shown = match &started {
        Ok(_) => groups::show(&node.cgroup_parent(), &record.allocation.to_string(), &record.cgroups_path),
        Err(_) => Ok(()),
    };
    let begun = match shown.and(started) {
        Ok(pid) => output::Output::begin(&runtime, &record).await.map(|output| (output, pid)),
        Err(error) => Err(error),
    };
    match begun {
        Ok((output, pid)) => Ok((Container { runtime, allocation: record.allocation, output }, pid)),
        Err(error) => {
            let _ = runtime.delete(record.allocation).await;
            Err(error)
        }
    }
}

async fn start(runtime: &LinuxRuntime, record: &Record, wanted: &Wanted, image: &Path) -> Result<u32> {
    let network = node::network();
    runtime.ensure_network(&network).await.context("make the node's network")?;
    let spec = spec(record, wanted, image)?;
    let started = runtime.start(&spec, image, &network).await.context("start the container")?;
    Ok(started.pid)
}

/// What an agent would be told.
fn spec(record: &Record, wanted: &Wanted, image: &Path) -> Result<AllocationSpec> {
    let id = record.allocation;
    let random = u32::from_be_bytes(*id.to_string().replace('-', "").as_bytes().last_chunk().context("an id")?);
    let [.., high, low] = random.to_be_bytes();
    let bytes = fs::metadata(image).with_context(|| format!("look at {}", image.display()))?.len();
    let digest = id.to_string().replace('-', "").repeat(2);
    let spec = serde_json::json!({
        "id": id, "instance": id, "name": wanted.host_name, "project": "default", "generation": 1,
        "desired": "running", "epoch": 1, "image": format!("sha256:{digest}"), "format": "erofs",
        "image_bytes": bytes, "command": image::behind_gate(&wanted.command), "system": wanted.terminal,
        "user": wanted.user, "workdir": wanted.workdir,
        "env": wanted.env, "resources": record.resources,
        "address": Ipv4Addr::new(10, 99, high, low), "uid_base": 65_536 * (16 + random % 16_384),
        "publish": [], "restart": "never", "seed_from": null,
    });
    serde_json::from_value(spec).context("make the allocation's spec")
}

impl Container {
    async fn serve(self, listener: &UnixListener) -> Result<()> {
        let mut waiting = Vec::new();
        let code = loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.context("accept a caller")?;
                    waiting.extend(self.answer(stream).await);
                }
                RuntimeEvent::Exited { id, exit } = self.runtime.next_event() => {
                    if id == self.allocation {
                        break exit.code;
                    }
                }
            }
        };
        self.output.finish(&self.runtime, self.allocation).await;
        for mut stream in waiting {
            // Whoever has gone away wants no answer.
            let _ = reply(&mut stream, &format!("exit {code}")).await;
        }
        Ok(())
    }

    /// Answers a caller, or gives back one that waits for the end.
    async fn answer(&self, stream: UnixStream) -> Option<UnixStream> {
        let mut stream = BufReader::new(stream);
        let mut question = String::new();
        stream.read_line(&mut question).await.ok()?;
        let mut stream = stream.into_inner();
        let done = match question.trim_end() {
            "wait" => return Some(stream),
            "pause" => self.runtime.freeze(self.allocation).await,
            "resume" => self.runtime.thaw(self.allocation).await,
            _ => return None,
        };
        let text = done.map_or_else(|error| format!("error {error:#}"), |()| "ok".to_owned());
        let _ = reply(&mut stream, &text).await;
        None
    }
}

async fn reply(stream: &mut UnixStream, text: &str) -> Result<()> {
    let line = format!("{}\n", text.replace('\n', " "));
    stream.write_all(line.as_bytes()).await.context("answer")
}
