//! A process in a running container, with its standard streams spliced to a stream.

use bytes::Bytes;
use roost_types::AllocationId;
use roost_types::stream::{Resize, Signal, StreamEnd, channel};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::pipe::Pipe;
use super::{MAX_DATA, Socket, StreamError};
use crate::runtime::{ExecControl, ExecPlan, ExecSession, Runtime};

/// Messages for standard input that may wait while the process does not read.
const STDIN_QUEUE: usize = 16;
/// End of transmission: what closing standard input means to a terminal.
const EOT: &[u8] = &[4];

/// What to run.
pub(super) struct Wish {
    pub command: Vec<String>,
    pub env: Vec<String>,
    pub tty: Option<Resize>,
    pub stdin: bool,
    pub user: Option<String>,
    pub workdir: Option<String>,
}

pub(super) async fn serve<R: Runtime>(
    runtime: &R,
    socket: &mut Socket,
    id: AllocationId,
    wish: Wish,
) -> Result<StreamEnd, StreamError> {
    let (tty, stdin) = (wish.tty, wish.stdin);
    let plan = ExecPlan { command: wish.command, env: wish.env, tty, user: wish.user, workdir: wish.workdir };
    converse(runtime.exec(id, &plan).await?, socket, tty.is_some(), stdin).await
}

/// Splices the standard streams of a process to the stream until the process has ended.
pub(super) async fn converse(
    session: ExecSession,
    socket: &mut Socket,
    terminal: bool,
    stdin: bool,
) -> Result<StreamEnd, StreamError> {
    let ExecSession { stdin: input, stdout, stderr, control, mut exit } = session;
    let pipe = |what, fd| Pipe::new(fd).map_err(|source| StreamError::Process(what, source));
    let stdout = pipe("standard output", stdout)?;
    let stderr = stderr.map(|fd| pipe("standard error", fd)).transpose()?;
    let input = stdin.then(|| pipe("standard input", input).map(|pipe| Feeder::start(pipe, terminal))).transpose()?;
    let mut hands = Hands { input, waiting: None, control, terminal };
    let (mut out, mut err) = (vec![0; MAX_DATA.min(16 << 10)], vec![0; 4 << 10]);
    let (mut out_open, mut err_open, mut status) = (true, stderr.is_some(), None);
    let mut probe = probes();
    // Output is read to its end even after the process ended, but a child that outlives it may keep it open for ever.
    while status.is_none() || ((out_open || err_open) && !terminal) {
        tokio::select! {
            biased;
            n = stdout.read(&mut out), if out_open => {
                let n = n.map_err(|source| StreamError::Process("standard output", source))?;
                out_open = n > 0;
                if n > 0 { socket.send(channel::STDOUT, &out[..n]).await?; }
            }
            n = read_from(stderr.as_ref(), &mut err), if err_open => {
                let n = n.map_err(|source| StreamError::Process("standard error", source))?;
                err_open = n > 0;
                if n > 0 { socket.send(channel::STDERR, &err[..n]).await?; }
            }
            ended = &mut exit, if status.is_none() => status = Some(ended.ok()),
            () = tokio::time::sleep(LINGER), if status.is_some() => break,
            () = hands.pass_on(), if hands.waiting.is_some() => {}
            message = socket.receive(), if hands.waiting.is_none() => hands.take(message?, &stdout).await,
            _ = probe.tick() => socket.probe().await?,
        }
    }
    drop(hands);
    Ok(match status.flatten() {
        Some(exit) => StreamEnd { exit: Some(exit), ..StreamEnd::default() },
        None => StreamEnd { error: Some("the process's status was lost".to_owned()), ..StreamEnd::default() },
    })
}

/// When to try the connection.
pub(super) fn probes() -> tokio::time::Interval {
    let mut probes = tokio::time::interval_at(tokio::time::Instant::now() + PROBE_INTERVAL, PROBE_INTERVAL);
    probes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    probes
}

/// How often the connection is tried. While a process does not read its input nothing is received, so nothing else would
/// tell that the user has gone.
const PROBE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(2);
/// How long output may be silent after the process ended.
const LINGER: std::time::Duration = std::time::Duration::from_millis(200);

async fn read_from(pipe: Option<&Pipe>, buffer: &mut [u8]) -> std::io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read(buffer).await,
        None => Ok(0),
    }
}

/// Writes what arrives to the process. Standard input is closed when the sender is dropped and all is written, or at
/// once when the feeder is: somebody else may hold the pipe's other end and never read.
pub(super) struct Feeder {
    queue: Option<mpsc::Sender<Bytes>>,
    task: AbortHandle,
}

impl Feeder {
    pub(super) fn start(pipe: Pipe, terminal: bool) -> Self {
        let (queue, mut arriving) = mpsc::channel::<Bytes>(STDIN_QUEUE);
        let task = tokio::spawn(async move {
            while let Some(data) = arriving.recv().await {
                if pipe.write_all(&data).await.is_err() {
                    return;
                }
            }
            if terminal {
                // The process may be gone already; then nobody misses it.
                let _ = pipe.write_all(EOT).await;
            }
        });
        Self { queue: Some(queue), task: task.abort_handle() }
    }

    /// Queues what waits, once there is room; drops it when standard input is closed. Safe to cancel.
    pub(super) async fn pass_on(&self, waiting: &mut Option<Bytes>) {
        if let Some(queue) = &self.queue
            && let Ok(room) = queue.reserve().await
            && let Some(data) = waiting.take()
        {
            room.send(data);
        }
        *waiting = None;
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the user can do to the process.
struct Hands {
    input: Option<Feeder>,
    /// For standard input, until there is room in its queue. Nothing more is received before: a process may read no
    /// further until what it wrote is taken from it, so that must go on meanwhile.
    waiting: Option<Bytes>,
    control: mpsc::Sender<ExecControl>,
    terminal: bool,
}

impl Hands {
    /// Queues what waits for standard input, once there is room. Safe to cancel.
    async fn pass_on(&mut self) {
        match &self.input {
            Some(input) => input.pass_on(&mut self.waiting).await,
            // What arrives for a standard input that nobody opened is dropped.
            None => self.waiting = None,
        }
    }

    async fn take(&mut self, (on, data): (u8, Bytes), terminal: &Pipe) {
        match on {
            channel::STDIN => self.waiting = Some(data),
            channel::STDIN_CLOSE => {
                if let Some(input) = &mut self.input {
                    input.queue = None;
                }
            }
            channel::RESIZE if self.terminal => {
                if let Ok(Resize { cols, rows }) = serde_json::from_slice(&data) {
                    let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
                    if let Err(error) = tcsetwinsize(terminal.fd(), size) {
                        tracing::debug!(%error, "cannot resize a terminal");
                    }
                }
            }
            channel::SIGNAL => {
                if let Ok(Signal { signal: signal @ 1..=64 }) = serde_json::from_slice(&data) {
                    // It fails when the process has ended, which the loop learns by itself.
                    let _ = self.control.send(ExecControl::Signal(signal)).await;
                }
            }
            _ => tracing::debug!(channel = on, "a message on a channel that exec does not use"),
        }
    }
}
