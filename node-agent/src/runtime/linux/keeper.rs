//! The keeper: one small single-threaded process per node that makes, holds and reaps containers.
//!
//! The agent decides, the keeper does. It is the parent of every container it starts, so that no exit code is lost while
//! the agent is away; it outlives the agent, and the containers outlive it: a new keeper adopts them by their state
//! files. One loop over `poll(2)`:
//!
//! ```text
//! listener ─▶ connection ─▶ Call ─▶ Reply          first process's pidfd ─▶ exit ─▶ Event, waiting stops and deletes
//! output FIFOs ─▶ log                              exec's channel, pidfd ─▶ Reply with its pipes, Event
//! ```
//! No tenant can make it wait: what runs inside a container is only ever waited for by `poll`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use roost_types::AllocationId;
use roost_types::size::Resources;
use roost_types::sync::NodeNetwork;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::child::note;
use super::container::{self, Container, Tools};
use super::execs::{Execs, Progress};
use super::quota;
use super::state::Saved;
use super::sys;
use super::wire::{self, Call, Context, Event, Failure, Message, Reply, Request, StartCall};
use crate::runtime::{ContainerState, ContainerStatus};

/// How often what cannot be polled is tried again, in milliseconds: busy cgroups, dying processes,
/// throttled logs.
const RETRY_MS: i64 = 10;

/// Number of a connection.
pub type ConnectionId = u64;

/// Somebody who waits for a container to be gone.
struct Waiter {
    connection: ConnectionId,
    seq: u64,
    id: AllocationId,
    delete: bool,
}

/// The keeper and all it holds.
pub struct Keeper {
    tools: Tools,
    listener: OwnedFd,
    connections: BTreeMap<ConnectionId, OwnedFd>,
    next_connection: ConnectionId,
    containers: BTreeMap<AllocationId, Container>,
    execs: Execs,
    waiters: Vec<Waiter>,
    buffer: Box<[u8]>,
}

/// What became readable.
#[derive(Clone, Copy)]
enum Source {
    Listener,
    Connection(ConnectionId),
    Exit(AllocationId),
    Output(AllocationId),
    Exec(u64),
}

impl Keeper {
    /// A keeper that holds nothing yet and listens on `listener`.
    #[must_use]
    pub fn new(tools: Tools, listener: OwnedFd) -> Self {
        Self {
            tools,
            listener,
            connections: BTreeMap::new(),
            next_connection: 1,
            containers: BTreeMap::new(),
            execs: Execs::default(),
            waiters: Vec::new(),
            buffer: vec![0; wire::MAX_MESSAGE].into_boxed_slice(),
        }
    }

    /// Adopts what is there and serves until something fails that nothing works without.
    ///
    /// # Errors
    /// That.
    pub fn run(mut self) -> Result<(), Failure> {
        self.adopt_all()?;
        loop {
            self.turn()?;
        }
    }

    fn adopt_all(&mut self) -> Result<(), Failure> {
        let saved = Saved::read_all(&self.tools.paths).step(|| "read the containers' state files")?;
        for saved in saved {
            let id = saved.id;
            let container = Container::adopt(saved, &self.tools.paths)?;
            if container.running.is_none() {
                container::clean_up(id, &mut self.tools);
            }
            self.containers.insert(id, container);
        }
        Ok(())
    }

    /// Waits for something and deals with all that happened.
    fn turn(&mut self) -> Result<(), Failure> {
        for source in self.wait()? {
            match source {
                Source::Listener => self.accept(),
                Source::Connection(connection) => self.serve_connection(connection),
                Source::Exit(id) => self.note_exit(id),
                Source::Output(id) => {
                    if let Some(container) = self.containers.get_mut(&id) {
                        container.drain(sys::unix_ms(), &mut self.buffer);
                    }
                }
                Source::Exec(exec) => self.advance_exec(exec),
            }
        }
        let now = sys::unix_ms();
        for container in self.containers.values_mut() {
            container.kill_if_due(now);
        }
        self.tools.images.unmount_idle(now);
        self.settle_waiters();
        Ok(())
    }

    /// Waits until something is readable or due.
    fn wait(&mut self) -> Result<Vec<Source>, Failure> {
        let (timeout, throttled) = self.due(sys::unix_ms());
        let watched = self.watched(&throttled);
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let timeout = timeout.map(|ms| Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::step("wait for events", &error.into())),
        }
        let ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(watched.iter().zip(ready).filter_map(|((source, _), ready)| ready.then_some(*source)).collect())
    }

    /// After how many milliseconds something is to be done unasked, and whose output has to wait until then.
    fn due(&mut self, now: i64) -> (Option<i64>, Vec<AllocationId>) {
        let dying = self.execs.reap_dying();
        let mut due: Option<i64> = (dying || !self.waiters.is_empty()).then_some(RETRY_MS);
        let mut sooner = |ms: i64| due = Some(due.map_or(ms, |other| other.min(ms)).max(0));
        let mut throttled = Vec::new();
        if let Some(at) = self.tools.images.next_unmount() {
            sooner(at - now);
        }
        for (&id, container) in &mut self.containers {
            if container.running.is_some() && !container.may_log(now) {
                throttled.push(id);
                sooner(RETRY_MS);
            }
            if let Some(at) = container.running.as_ref().and_then(|running| running.kill_at) {
                sooner(at - now);
            }
        }
        (due, throttled)
    }

    fn watched(&self, throttled: &[AllocationId]) -> Vec<(Source, BorrowedFd<'_>)> {
        let mut all = vec![(Source::Listener, self.listener.as_fd())];
        all.extend(self.connections.iter().map(|(&connection, fd)| (Source::Connection(connection), fd.as_fd())));
        for (&id, container) in &self.containers {
            let Some(running) = &container.running else { continue };
            all.push((Source::Exit(id), running.pidfd.as_fd()));
            if !throttled.contains(&id) {
                all.extend(running.output.iter().map(|fifo| (Source::Output(id), fifo.as_fd())));
            }
        }
        all.extend(self.execs.watched().map(|(exec, fd)| (Source::Exec(exec), fd)));
        all
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = rustix::net::accept_with(&self.listener, flags) else { return };
        let root = rustix::net::sockopt::socket_peercred(&socket).is_ok_and(|peer| peer.uid.is_root());
        if root {
            self.connections.insert(self.next_connection, socket);
            self.next_connection += 1;
        }
    }

    fn serve_connection(&mut self, connection: ConnectionId) {
        let Some(socket) = self.connections.get(&connection) else { return };
        match wire::receive::<Request>(socket, &mut self.buffer) {
            Ok(Some((request, _))) => self.serve_request(connection, request),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(None) => self.disconnect(connection),
            Err(error) => {
                note(&format!("drop a connection: {error}"));
                self.disconnect(connection);
            }
        }
    }

    /// The user of every process that the connection started went away with it.
    fn disconnect(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
        self.waiters.retain(|waiter| waiter.connection != connection);
        self.execs.kill_of(connection);
    }

    fn serve_request(&mut self, connection: ConnectionId, request: Request) {
        let seq = request.seq;
        let result = match request.call {
            Call::Hello { version: _ } => Ok(Reply::Hello { version: wire::VERSION, pid: std::process::id() }),
            Call::List => Ok(Reply::List(self.list())),
            Call::EnsureNetwork(network) => self.ensure_network(&network).map(|()| Reply::Done),
            Call::Start(call) => self.start(&call),
            Call::Limit { id, resources } => self.limit(id, &resources).map(|()| Reply::Done),
            Call::Stop { id, grace_ms } => {
                return self.stop(Waiter { connection, seq, id, delete: false }, grace_ms);
            }
            Call::Delete { id } => return self.stop(Waiter { connection, seq, id, delete: true }, 0),
            Call::Exec { id, command, env, tty } => {
                let Some(container) = self.containers.get(&id) else {
                    return self.reply(connection, seq, Err(Failure::NoContainer(id)), &[]);
                };
                match self.execs.begin(container, &self.tools, (connection, seq), &command, env, tty) {
                    Ok(()) => return,
                    Err(failure) => Err(failure),
                }
            }
            Call::ExecSignal { exec, signal } => self.execs.signal(connection, exec, signal).map(|()| Reply::Done),
            Call::Stats { id } => self.stats(id),
        };
        self.reply(connection, seq, result, &[]);
    }

    /// A bridge that was made anew has none of its ports.
    fn ensure_network(&mut self, network: &NodeNetwork) -> Result<(), Failure> {
        self.tools.netlink.ensure_network(network)?;
        let running = self.containers.iter().filter(|(_, container)| container.running.is_some());
        for (id, _) in running {
            self.tools.netlink.attach(&super::plan::veth_name(*id))?;
        }
        Ok(())
    }

    fn list(&self) -> Vec<ContainerStatus> {
        self.containers
            .values()
            .map(|container| ContainerStatus { id: container.id(), state: container.saved.phase.clone() })
            .collect()
    }

    fn start(&mut self, call: &StartCall) -> Result<Reply, Failure> {
        let id = call.spec.id;
        let before = self.containers.get(&id).map(|container| &container.saved);
        if let Some(Saved { phase: ContainerState::Running { epoch, pid, started_at }, .. }) = before {
            return if *epoch == call.spec.epoch {
                Ok(Reply::Started { pid: *pid, at: *started_at })
            } else {
                Err(Failure::Unsupported(format!("the container still runs with epoch {epoch}: stop it first")))
            };
        }
        let container = Container::start(call, before, &mut self.tools)?;
        let ContainerState::Running { pid, started_at, .. } = container.saved.phase else {
            return Err(Failure::NotRunning);
        };
        self.containers.insert(id, container);
        Ok(Reply::Started { pid, at: started_at })
    }

    fn limit(&self, id: AllocationId, resources: &Resources) -> Result<(), Failure> {
        let container = self.containers.get(&id).ok_or(Failure::NoContainer(id))?;
        if container.running.is_none() {
            return Err(Failure::NotRunning);
        }
        self.tools.cgroups.limit(&id.to_string(), resources)?;
        let uid_base = container.saved.uid_base;
        if uid_base > 0 {
            quota::limit(&self.tools.paths.instance(id), uid_base, resources.disk_bytes.0)?;
        }
        Ok(())
    }

    fn stop(&mut self, waiter: Waiter, grace_ms: u64) {
        match self.containers.get_mut(&waiter.id) {
            Some(container) => container.ask_to_stop(Duration::from_millis(grace_ms)),
            None if waiter.delete => {}
            None => return self.reply(waiter.connection, waiter.seq, Err(Failure::NoContainer(waiter.id)), &[]),
        }
        self.waiters.push(waiter);
        self.settle_waiters();
    }

    /// Answers those whose container has ended (or is gone).
    fn settle_waiters(&mut self) {
        for waiter in std::mem::take(&mut self.waiters) {
            let running = self.containers.get(&waiter.id).is_some_and(|container| container.running.is_some());
            let result = if running {
                None
            } else if waiter.delete {
                self.delete(waiter.id).transpose()
            } else {
                Some(Ok(Reply::Done))
            };
            match result {
                Some(result) => self.reply(waiter.connection, waiter.seq, result, &[]),
                None => self.waiters.push(waiter),
            }
        }
    }

    /// Removes what is left of a container that does not run; none while the kernel has not let go of a group.
    fn delete(&mut self, id: AllocationId) -> Result<Option<Reply>, Failure> {
        self.tools.netlink.unplug(&super::plan::veth_name(id))?;
        if !self.tools.cgroups.remove(&id.to_string())? {
            for pid in self.tools.cgroups.processes(&id.to_string()) {
                let _ = sys::kill(pid, libc::SIGKILL);
            }
            return Ok(None);
        }
        self.containers.remove(&id);
        for path in [self.tools.paths.scratch(id), self.tools.paths.instance(id)] {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::step(format!("remove {}", path.display()), &error));
                }
                _ => {}
            }
        }
        Ok(Some(Reply::Done))
    }

    fn stats(&self, id: AllocationId) -> Result<Reply, Failure> {
        let container = self.containers.get(&id).ok_or(Failure::NoContainer(id))?;
        if container.running.is_none() {
            return Err(Failure::NotRunning);
        }
        let usage = self.tools.cgroups.usage(&id.to_string());
        Ok(Reply::Stats { cpu_usec: usage.cpu_usec, memory_bytes: usage.memory_bytes, pids: usage.pids })
    }

    fn note_exit(&mut self, id: AllocationId) {
        let Some(container) = self.containers.get_mut(&id) else { return };
        if let Some(exit) = container.note_exit(&self.tools, &mut self.buffer) {
            self.send_event(None, &Event::Exited { id, exit });
            container::clean_up(id, &mut self.tools);
        }
    }

    fn advance_exec(&mut self, exec: u64) {
        match self.execs.advance(exec) {
            Progress::Waiting => {}
            Progress::Started { owner: (connection, seq), fds } => {
                let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
                self.reply(connection, seq, Ok(Reply::Exec { exec }), &borrowed);
            }
            Progress::Failed { owner: (connection, seq), failure } => self.reply(connection, seq, Err(failure), &[]),
            Progress::Ended { connection, exit } => {
                self.send_event(Some(connection), &Event::ExecExited { exec, exit });
            }
        }
    }

    fn reply(&mut self, connection: ConnectionId, seq: u64, result: Result<Reply, Failure>, fds: &[BorrowedFd<'_>]) {
        self.send_to(connection, &Message::Reply { seq, result }, fds);
    }

    fn send_event(&mut self, only: Option<ConnectionId>, event: &Event) {
        let all: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for connection in all {
            if only.is_none_or(|only| only == connection) {
                self.send_to(connection, &Message::Event(event.clone()), &[]);
            }
        }
    }

    /// An agent that does not read is cut off, never waited for; it comes back and lists.
    fn send_to(&mut self, connection: ConnectionId, message: &Message, fds: &[BorrowedFd<'_>]) {
        let Some(socket) = self.connections.get(&connection) else { return };
        if let Err(error) = wire::send(socket, message, fds) {
            note(&format!("cut off an agent: {error}"));
            self.disconnect(connection);
        }
    }
}
