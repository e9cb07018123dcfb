//! Streams to a WebSocket server, with real processes behind pipes.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, Stream, StreamExt};
use roost_types::stream::{Resize, StreamEnd, StreamKind, StreamRequest, channel};
use roost_types::sync::NodeNetwork;
use roost_types::{AllocationId, AllocationSpec, ExitStatus, FileRequest, InstanceStats, StreamId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Streams, serve};
use crate::clock;
use crate::controller::Controller;
use crate::runtime::{
    ContainerStatus, ExecControl, ExecPlan, ExecSession, LogChunk, Runtime, RuntimeError, RuntimeEvent, Started,
};
use crate::testing::{Scratch, allocation};

/// Runs commands as plain processes of this machine.
struct Processes;

impl Runtime for Processes {
    async fn list(&self) -> Result<Vec<ContainerStatus>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn ensure_network(&self, _: &NodeNetwork) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn start(&self, _: &AllocationSpec, _: &Path, _: &NodeNetwork) -> Result<Started, RuntimeError> {
        Err(RuntimeError::NotRunning)
    }

    async fn limit(&self, _: AllocationId, _: &roost_types::size::Resources) -> Result<(), RuntimeError> {
        Ok(())
    }

    fn counters(&self, _: AllocationId) -> Option<roost_allocation::Counters> {
        None
    }

    async fn stop(&self, _: AllocationId, _: Duration) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn delete(&self, _: AllocationId) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn freeze(&self, _: AllocationId) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn thaw(&self, _: AllocationId) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn exec(&self, _: AllocationId, plan: &ExecPlan) -> Result<ExecSession, RuntimeError> {
        let mut command = Command::new(&plan.command[0]);
        command.args(&plan.command[1..]).envs(plan.env.iter().filter_map(|pair| pair.split_once('=')));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| RuntimeError::Command { code: 127, message: e.to_string() })?;
        let (control, mut asked) = mpsc::channel(1);
        let (ended, exit) = oneshot::channel();
        let stdin = OwnedFd::from(child.stdin.take().unwrap());
        let stdout = OwnedFd::from(child.stdout.take().unwrap());
        let stderr = Some(OwnedFd::from(child.stderr.take().unwrap()));
        tokio::spawn(async move {
            let code = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status.code().unwrap_or(128);
                }
                match asked.try_recv() {
                    Ok(ExecControl::Signal(_)) | Err(mpsc::error::TryRecvError::Disconnected) => child.kill().unwrap(),
                    Err(mpsc::error::TryRecvError::Empty) => {}
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            let _ = ended.send(ExitStatus { code, oom_killed: false, at: clock::now() });
        });
        Ok(ExecSession { stdin, stdout, stderr, control, exit })
    }

    async fn files(&self, _: AllocationId, _: &FileRequest) -> Result<ExecSession, RuntimeError> {
        Err(RuntimeError::NotRunning)
    }

    async fn attach(&self, _: AllocationId, _: u32) -> Result<OwnedFd, RuntimeError> {
        Err(RuntimeError::NotRunning)
    }

    async fn resize_console(&self, _: AllocationId, _: Resize) -> Result<(), RuntimeError> {
        Err(RuntimeError::NotRunning)
    }

    async fn logs(
        &self,
        _: AllocationId,
        tail: Option<u32>,
        _: bool,
    ) -> Result<mpsc::Receiver<LogChunk>, RuntimeError> {
        let (lines, receiver) = mpsc::channel(4);
        for n in 0..tail.unwrap_or(2) {
            let chunk = LogChunk { stderr: n % 2 == 1, bytes: format!("line {n}\n").into_bytes() };
            lines.send(chunk).await.unwrap();
        }
        Ok(receiver)
    }

    async fn stats(&self, _: AllocationId) -> Result<InstanceStats, RuntimeError> {
        Ok(InstanceStats::default())
    }

    async fn next_event(&self) -> RuntimeEvent {
        std::future::pending().await
    }
}

/// Has the agent dial a stream of this kind; returns the controller's side of it.
async fn dialled(kind: StreamKind, layer: &Path) -> WebSocketStream<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let controller = Controller::new(&format!("http://{}", listener.local_addr().unwrap()), "s3cret").unwrap();
    let layer = layer.to_owned();
    let layer_dir = Arc::new(move |_: AllocationId| layer.clone());
    let streams = Arc::new(Streams { runtime: Arc::new(Processes), controller, layer_dir });
    let request = StreamRequest { id: StreamId::mint(1, [2; 10]), allocation: allocation(1), kind };
    let path = format!("/agent/v1/streams/{}", request.id);
    tokio::spawn(serve(streams, request));
    let (stream, _) = listener.accept().await.unwrap();
    #[expect(clippy::result_large_err, reason = "the type is the library's")]
    let check = move |request: &Request, response: Response| {
        assert_eq!(request.uri().path(), path);
        assert_eq!(request.headers()["authorization"], "Bearer s3cret");
        Ok(response)
    };
    tokio_tungstenite::accept_hdr_async(stream, check).await.unwrap()
}

fn exec(command: &[&str], stdin: bool) -> StreamKind {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    let env = BTreeMap::from([("GREETING".to_owned(), "hi".to_owned())]);
    StreamKind::Exec { command, env, tty: None, stdin, user: None, workdir: None }
}

/// Everything on each channel, and how it ended.
async fn collect(
    socket: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
) -> (BTreeMap<u8, Vec<u8>>, StreamEnd) {
    let mut seen: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("silent for 10 s");
        let Message::Binary(message) = next.unwrap().unwrap() else { continue };
        if message[0] == channel::END {
            return (seen, serde_json::from_slice(&message[1..]).unwrap());
        }
        seen.entry(message[0]).or_default().extend_from_slice(&message[1..]);
    }
}

#[tokio::test]
async fn a_process_gets_its_input_and_its_output_and_status_come_back() {
    let script = "read line; echo \"$GREETING $line\"; cat >&2; exit 7";
    let mut socket = dialled(exec(&["sh", "-c", script], true), Path::new("/nonexistent")).await;
    socket.send(Message::Binary(b"\0there\nto err".to_vec().into())).await.unwrap();
    socket.send(Message::Binary(vec![channel::STDIN_CLOSE].into())).await.unwrap();
    let (seen, end) = collect(&mut socket).await;
    assert_eq!(seen[&channel::STDOUT], b"hi there\n");
    assert_eq!(seen[&channel::STDERR], b"to err");
    assert_eq!(end.exit.unwrap().code, 7);
}

#[tokio::test]
async fn an_echo_of_more_than_every_buffer_does_not_wait_for_itself() {
    let socket = dialled(exec(&["cat"], true), Path::new("/nonexistent")).await;
    let (mut sink, mut stream) = socket.split();
    let pieces: Vec<Vec<u8>> = (0..512).map(|n| vec![n as u8; 32 << 10]).collect();
    let sent = pieces.concat();
    let sending = async move {
        for piece in pieces {
            sink.send(Message::Binary([vec![channel::STDIN], piece].concat().into())).await.unwrap();
        }
        sink.send(Message::Binary(vec![channel::STDIN_CLOSE].into())).await.unwrap();
        sink
    };
    let (_sink, (seen, end)) = tokio::join!(sending, collect(&mut stream));
    assert!(seen[&channel::STDOUT] == sent, "{} of {} bytes, or others", seen[&channel::STDOUT].len(), sent.len());
    assert_eq!(end.exit.unwrap().code, 0);
}

#[tokio::test]
async fn much_output_arrives_whole_and_without_input_standard_input_is_empty() {
    let mut socket =
        dialled(exec(&["sh", "-c", "cat; head -c 1000000 /dev/zero"], false), Path::new("/nonexistent")).await;
    let (seen, end) = collect(&mut socket).await;
    assert_eq!(seen[&channel::STDOUT].len(), 1_000_000);
    assert_eq!(end.exit.unwrap().code, 0);
}

#[tokio::test]
async fn a_command_that_is_not_there_has_the_shells_code_and_a_signal_arrives() {
    let mut socket = dialled(exec(&["/no/such/command"], false), Path::new("/nonexistent")).await;
    let (_, end) = collect(&mut socket).await;
    assert_eq!(end.exit.unwrap().code, 127);
    assert!(end.error.is_some());

    let mut socket = dialled(exec(&["sleep", "600"], false), Path::new("/nonexistent")).await;
    let signal = [&[channel::SIGNAL], br#"{"signal":9}"#.as_slice()].concat();
    socket.send(Message::Binary(signal.into())).await.unwrap();
    assert_eq!(collect(&mut socket).await.1.exit.unwrap().code, 128);
}

/// Waits until a process has ended.
async fn ends(pid: &str) {
    let is_over = || std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    for _ in 0..1000 {
        if is_over() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("process {pid} outlives its user");
}

/// Starts a command that says its pid and reads nothing, and sends it more than all buffers hold.
async fn blocked(script: &str) -> (WebSocketStream<TcpStream>, String) {
    let mut socket = dialled(exec(&["sh", "-c", script], true), Path::new("/nonexistent")).await;
    let said = loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(said) if said[0] == channel::STDOUT => break said,
            _ => {}
        }
    };
    let pid = String::from_utf8_lossy(&said[1..]).trim().to_owned();
    for _ in 0..64 {
        let piece = Message::Binary(vec![channel::STDIN; 32 << 10].into());
        if tokio::time::timeout(Duration::from_millis(200), socket.send(piece)).await.is_err() {
            break;
        }
    }
    (socket, pid)
}

#[tokio::test]
async fn a_command_that_reads_nothing_ends_with_its_user() {
    let (socket, pid) = blocked("echo $$; exec sleep 600").await;
    drop(socket);
    ends(&pid).await;
}

#[tokio::test]
async fn users_that_vanish_leave_no_task() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (before, mut users) = (tasks(), Vec::new());
    for _ in 0..20 {
        // A child that outlives the command holds its standard streams and never reads.
        users.push(blocked("sleep 600 & echo $$ $!; exec sleep 600").await);
    }
    let (sockets, said): (Vec<_>, Vec<_>) = users.into_iter().unzip();
    drop(sockets);
    let (commands, children): (Vec<_>, Vec<_>) = said.iter().filter_map(|said| said.split_once(' ')).unzip();
    for command in commands {
        ends(command).await;
    }
    for _ in 0..500 {
        if tasks() <= before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = tasks();
    for child in children {
        let pid = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    assert!(left <= before, "{left} tasks, {before} before");
}

#[tokio::test]
async fn logs_come_on_their_channels() {
    let kind = StreamKind::Logs { follow: false, tail: Some(3) };
    let (seen, end) = collect(&mut dialled(kind, Path::new("/nonexistent")).await).await;
    assert_eq!(seen[&channel::STDOUT], b"line 0\nline 2\n");
    assert_eq!(seen[&channel::STDERR], b"line 1\n");
    assert_eq!(end, StreamEnd::default());
}

#[tokio::test]
async fn a_layer_travels_in_bounded_messages() {
    let (from, to) = (Scratch::new("stream-from"), Scratch::new("stream-to"));
    std::fs::write(from.path().join("data"), vec![9; 300_000]).unwrap();
    let (seen, end) = collect(&mut dialled(StreamKind::ExportLayer { snapshot: None }, from.path()).await).await;
    assert_eq!(end, StreamEnd::default());
    crate::layers::import(to.path(), seen[&channel::STDOUT].as_slice(), 300_000).unwrap();
    assert_eq!(std::fs::read(to.path().join("data")).unwrap(), vec![9; 300_000]);

    let (_, end) =
        collect(&mut dialled(StreamKind::ExportLayer { snapshot: None }, Path::new("/nonexistent")).await).await;
    assert!(end.error.unwrap().contains("/nonexistent"));
}
