//! The keeper: one small single-threaded process per node that makes, holds and reaps containers.
//!
//! The agent decides, the keeper does. It is the parent of every container it starts, so that no exit code is lost while
//! the agent is away; it outlives the agent, and the containers outlive it: a new keeper adopts them by their state
//! files. One loop over `poll(2)`:
//!
//! ```text
//! listener ─▶ connection ─▶ Call ─▶ Reply          first process's pidfd ─▶ exit ─▶ Event, waiting stops and deletes
//! output FIFOs, consoles ─▶ log, viewers           exec's channel, pidfd ─▶ Reply with its pipes, Event
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
use super::console::Part;
use super::container::{self, Container, Tools};
use super::execs::{Execs, Owner, Progress, Task};
use super::logs::Writer;
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

/// Somebody who waits for a container.
struct Waiter {
    connection: ConnectionId,
    seq: u64,
    id: AllocationId,
    until: Until,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Nothing of it runs.
    Stopped,
    /// Nothing of it is left.
    Deleted,
    /// All of it is paused.
    Frozen,
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
    /// Containers that are paused, and the connection at whose wish.
    frozen: BTreeMap<AllocationId, ConnectionId>,
    buffer: Box<[u8]>,
}

/// What became readable.
#[derive(Clone, Copy)]
enum Source {
    Listener,
    Connection(ConnectionId),
    Exit(AllocationId),
    Output(AllocationId),
    Console(AllocationId, Part),
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
            frozen: BTreeMap::new(),
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
        self.complete_logs();
        let saved = Saved::read_all(&self.tools.paths).step(|| "read the containers' state files")?;
        for saved in saved {
            let id = saved.id;
            let container = Container::adopt(saved, &mut self.tools)?;
            if container.running.is_none() {
                container::clean_up(id, &mut self.tools);
            } else if self.tools.cgroups.is_frozen(&id.to_string()) {
                // Whoever wanted it paused lost its keeper, and is told so.
                self.tools.cgroups.freeze(&id.to_string(), false)?;
            }
            self.containers.insert(id, container);
        }
        Ok(())
    }

    /// Brings to its log what an earlier keeper left on the way: it comes before all that is in the pipes.
    fn complete_logs(&mut self) {
        let paths = &self.tools.paths;
        let completed =
            self.tools.transit.complete(|id| paths.instance(id).exists().then(|| Writer::new(paths.log(id))));
        if let Err(error) = completed {
            note(&format!("complete a log: {error}"));
        }
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
                        container.drain(sys::unix_ms(), &mut self.tools.transit, &mut self.buffer);
                    }
                }
                Source::Console(id, part) => self.serve_console(id, part),
                Source::Exec(exec) => self.advance_exec(exec),
            }
        }
        let now = sys::unix_ms();
        for container in self.containers.values_mut() {
            container.kill_if_due(now);
            if let Ok(console) = container.console() {
                console.forget_gone();
            }
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
            watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = timeout.map(|ms| Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::step("wait for events", &error.into())),
        }
        let ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(watched.iter().zip(ready).filter_map(|((source, ..), ready)| ready.then_some(*source)).collect())
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

    fn watched(&self, throttled: &[AllocationId]) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut all = vec![(Source::Listener, self.listener.as_fd(), PollFlags::IN)];
        let connections = self.connections.iter();
        all.extend(connections.map(|(&connection, fd)| (Source::Connection(connection), fd.as_fd(), PollFlags::IN)));
        for (&id, container) in &self.containers {
            let Some(running) = &container.running else { continue };
            all.push((Source::Exit(id), running.pidfd.as_fd(), PollFlags::IN));
            let may_log = !throttled.contains(&id);
            if may_log {
                all.extend(running.output.iter().map(|fifo| (Source::Output(id), fifo.as_fd(), PollFlags::IN)));
            }
            let console = running.console.iter().flat_map(|console| console.watched(may_log));
            all.extend(console.map(|(part, fd, flags)| (Source::Console(id, part), fd, flags)));
        }
        all.extend(self.execs.watched().map(|(exec, fd)| (Source::Exec(exec), fd, PollFlags::IN)));
        all
    }

    fn serve_console(&mut self, id: AllocationId, part: Part) {
        let Some(container) = self.containers.get_mut(&id) else { return };
        if part == Part::Master {
            container.drain(sys::unix_ms(), &mut self.tools.transit, &mut self.buffer);
        }
        if let Ok(console) = container.console() {
            match part {
                Part::Master => console.type_on(),
                Part::Viewer(place) => console.serve_viewer(place),
            }
        }
    }

    fn attach(&mut self, connection: ConnectionId, seq: u64, id: AllocationId, lines: u32) {
        let paths = &self.tools.paths;
        let found = self.containers.get_mut(&id).ok_or(Failure::NoContainer(id));
        match found.and_then(|container| container.attach(paths, lines)) {
            Ok(socket) => self.reply(connection, seq, Ok(Reply::Done), &[socket.as_fd()]),
            Err(failure) => self.reply(connection, seq, Err(failure), &[]),
        }
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
        let paused: Vec<AllocationId> =
            self.frozen.iter().filter(|(_, owner)| **owner == connection).map(|(id, _)| *id).collect();
        for id in paused {
            if let Err(failure) = self.thaw(id) {
                note(&format!("let {id} go on: {failure:?}"));
            }
        }
    }

    fn freeze(&mut self, waiter: Waiter) -> Result<(), Failure> {
        let id = waiter.id;
        let container = self.containers.get(&id).ok_or(Failure::NoContainer(id))?;
        if container.running.is_none() {
            return Err(Failure::NotRunning);
        }
        self.tools.cgroups.freeze(&id.to_string(), true)?;
        self.frozen.insert(id, waiter.connection);
        self.waiters.push(waiter);
        Ok(())
    }

    /// Lets a container go on, if it was paused: one that has ended meanwhile did nothing more either.
    fn thaw(&mut self, id: AllocationId) -> Result<Reply, Failure> {
        self.frozen.remove(&id).ok_or(Failure::NotFrozen)?;
        if self.containers.get(&id).is_some_and(|container| container.running.is_some()) {
            self.tools.cgroups.freeze(&id.to_string(), false)?;
        }
        Ok(Reply::Done)
    }

    fn serve_request(&mut self, connection: ConnectionId, request: Request) {
        let seq = request.seq;
        let result = match request.call {
            Call::Hello { version: _ } => {
                Ok(Reply::Hello { version: wire::VERSION, minor: wire::MINOR, pid: std::process::id() })
            }
            Call::List => Ok(Reply::List(self.list())),
            Call::EnsureNetwork(network) => self.ensure_network(&network).map(|()| Reply::Done),
            Call::Start(call) => self.start(&call),
            Call::Limit { id, resources } => self.limit(id, &resources).map(|()| Reply::Done),
            Call::Stop { id, grace_ms } => {
                return self.stop(Waiter { connection, seq, id, until: Until::Stopped }, grace_ms);
            }
            Call::Delete { id } => return self.stop(Waiter { connection, seq, id, until: Until::Deleted }, 0),
            Call::Freeze { id } => match self.freeze(Waiter { connection, seq, id, until: Until::Frozen }) {
                Ok(()) => return self.settle_waiters(),
                Err(failure) => Err(failure),
            },
            Call::Thaw { id } => self.thaw(id),
            Call::Exec { id, command, env, tty, user, workdir } => {
                let task = Task::Command { command, env, tty, user, workdir };
                return self.begin_exec((connection, seq), id, &task);
            }
            Call::Files { id, request } => return self.begin_exec((connection, seq), id, &Task::Files(request)),
            Call::ExecSignal { exec, signal } => self.execs.signal(connection, exec, signal).map(|()| Reply::Done),
            Call::Attach { id, lines } => return self.attach(connection, seq, id, lines),
            Call::ConsoleSize { id, size } => {
                let found = self.containers.get_mut(&id).ok_or(Failure::NoContainer(id));
                found.and_then(|container| container.console()?.resize(size)).map(|()| Reply::Done)
            }
            Call::Image { digest, format, file } => match self.tools.images.open(&digest, format, &file, None) {
                Ok(root) => return self.reply(connection, seq, Ok(Reply::Done), &[root.as_fd()]),
                Err(failure) => Err(failure),
            },
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
            .map(|container| &container.saved)
            .map(|saved| ContainerStatus { id: saved.id, state: saved.phase.clone(), starts: saved.starts })
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
        let Saved { quota_id, uid_base, .. } = container.saved;
        let counted_as = if quota_id > 0 { quota_id } else { uid_base };
        if counted_as > 0 {
            quota::limit(&self.tools.paths.instance(id), counted_as, resources.disk_bytes.0)?;
        }
        Ok(())
    }

    fn stop(&mut self, waiter: Waiter, grace_ms: u64) {
        // What is paused can neither hear a signal nor, on version 1, die of one.
        match self.thaw(waiter.id) {
            Ok(_) | Err(Failure::NotFrozen) => {}
            Err(failure) => note(&format!("let {} go on: {failure:?}", waiter.id)),
        }
        match self.containers.get_mut(&waiter.id) {
            Some(container) => container.ask_to_stop(Duration::from_millis(grace_ms)),
            None if waiter.until == Until::Deleted => {}
            None => return self.reply(waiter.connection, waiter.seq, Err(Failure::NoContainer(waiter.id)), &[]),
        }
        self.waiters.push(waiter);
        self.settle_waiters();
    }

    /// Answers those whose container has ended (or is gone).
    fn settle_waiters(&mut self) {
        for waiter in std::mem::take(&mut self.waiters) {
            let running = self.containers.get(&waiter.id).is_some_and(|container| container.running.is_some());
            let result = match waiter.until {
                Until::Frozen if !running => {
                    self.frozen.remove(&waiter.id);
                    Some(Err(Failure::NotRunning))
                }
                Until::Frozen if !self.frozen.contains_key(&waiter.id) => Some(Err(Failure::NotFrozen)),
                Until::Frozen => self.tools.cgroups.is_frozen(&waiter.id.to_string()).then_some(Ok(Reply::Done)),
                Until::Stopped | Until::Deleted if running => None,
                Until::Stopped => Some(Ok(Reply::Done)),
                Until::Deleted => self.delete(waiter.id).transpose(),
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

    /// Answers at once only when it cannot be begun.
    fn begin_exec(&mut self, owner: Owner, id: AllocationId, task: &Task) {
        let begun = match self.containers.get(&id) {
            Some(container) => self.execs.begin(container, &self.tools, owner, task),
            None => Err(Failure::NoContainer(id)),
        };
        if let Err(failure) = begun {
            self.reply(owner.0, owner.1, Err(failure), &[]);
        }
    }

    fn note_exit(&mut self, id: AllocationId) {
        let Some(container) = self.containers.get_mut(&id) else { return };
        if let Some(exit) = container.note_exit(&mut self.tools, &mut self.buffer) {
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
