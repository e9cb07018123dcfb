//! Building the firmware, running it, and waiting for what it does.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver as Events};
use std::thread;
use std::time::{Duration, Instant};

use roost_protocol::{AckCode, Action, Event, Frame, Identity, Reading, Receiver};

/// How long anything may take: a chip that is new is found within a round of all places, 6 s, and a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// Built once for all tests, which run at the same time.
static BUILD: LazyLock<Option<PathBuf>> = LazyLock::new(|| make("uno", &["firmware", "simulator"]));

/// The directory with firmware and simulator; `None` where the tools are missing.
pub fn build() -> Option<&'static Path> {
    BUILD.as_deref()
}

/// Makes targets for a board in a directory of its own; `None` where the tools are missing.
pub fn make(board: &str, targets: &[&str]) -> Option<PathBuf> {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hub-{board}"));
    let made = Command::new("make")
        .args(["-C", concat!(env!("CARGO_MANIFEST_DIR"), "/..")])
        .args(targets)
        .arg(format!("BUILD={}", build.display()))
        .arg(format!("BOARD={board}"))
        .output();
    let problem = match made {
        Ok(output) if output.status.success() => return Some(build),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("cannot run make: {error}"),
    };
    assert!(problem.contains("is missing") || problem.contains("cannot run make"), "{problem}");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{problem}");
    eprintln!("SKIPPED: the firmware was not run: {problem}");
    None
}

/// A running simulator; ends with its standard input.
pub struct Hub {
    child: Child,
    stdin: ChildStdin,
    link: PathBuf,
    /// What the firmware does to pins and fans.
    board: Events<String>,
}

impl Hub {
    pub fn start(build: &Path, name: &str, options: &[&str]) -> Self {
        let link = build.join(format!("{name}-{}", std::process::id()));
        let mut child = Command::new(build.join("roost-hub-sim"))
            .arg("--link")
            .arg(&link)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the simulator was just built");
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (sender, board) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Nobody listens any more once the test is over.
                let _ = sender.send(line);
            }
        });
        let deadline = Instant::now() + PATIENCE;
        while !link.exists() {
            assert!(Instant::now() < deadline, "no link {}", link.display());
            thread::sleep(Duration::from_millis(10));
        }
        Self { child, stdin, link, board }
    }

    /// Tells the simulator what its chips feel.
    pub fn set(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").expect("the simulator reads");
    }

    /// Waits until the simulator says this line.
    pub fn board_says(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        while said.last().is_none_or(|line| line != wanted) {
            let left = deadline.saturating_duration_since(Instant::now());
            said.push(self.board.recv_timeout(left).unwrap_or_else(|_| panic!("no '{wanted}' in {said:?}")));
        }
    }

    /// Everything the simulator said and nobody waited for.
    pub fn board_said(&self) -> Vec<String> {
        self.board.try_iter().collect()
    }

    /// Opens the line; what comes is handed over by a thread that ends with the line.
    pub fn open(&self) -> Line {
        let port = OpenOptions::new().read(true).write(true).open(&self.link).expect("the line opens");
        let (sender, events) = mpsc::channel();
        let mut reader = port.try_clone().expect("the port is cloned");
        thread::spawn(move || {
            let mut receiver = Receiver::new();
            let mut bytes = [0; 256];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let mut wanted = true;
                receiver.feed(&bytes[..count], |event| wanted &= sender.send(event).is_ok());
                if !wanted {
                    return;
                }
            }
        });
        // An acknowledgement is believed only on a line that is trusted. Before, half a line may come.
        while !matches!(events.recv_timeout(PATIENCE).expect("a trusted frame"), Event::Frame(_)) {}
        Line { port, events }
    }

    pub fn stop(self) {
        let Self { mut child, stdin, link, board: _ } = self;
        drop(stdin);
        let status = child.wait().expect("the simulator ends");
        assert!(status.success(), "{status}");
        assert!(!link.is_symlink(), "{} is left", link.display());
    }
}

/// The host's end of an open line.
pub struct Line {
    port: File,
    events: Events<Event>,
}

impl Line {
    /// The first frame that `wanted` takes. A fault is a failure.
    pub fn wait_for<T>(&mut self, what: &str, wanted: impl FnMut(Frame) -> Option<T>) -> T {
        self.wait(what, false, wanted)
    }

    /// The first frame that `wanted` takes, of a hub that stops in the middle of a line.
    pub fn wait_over_faults<T>(&mut self, what: &str, wanted: impl FnMut(Frame) -> Option<T>) -> T {
        self.wait(what, true, wanted)
    }

    fn wait<T>(&mut self, what: &str, faults: bool, mut wanted: impl FnMut(Frame) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left).unwrap_or_else(|_| panic!("{what} did not come after {seen:#?}")) {
                Event::Frame(frame) => {
                    if let Some(found) = wanted(frame) {
                        return found;
                    }
                    seen.push(frame);
                }
                Event::Fault(fault) => assert!(faults, "{fault} while waiting for {what}"),
            }
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.port.write_all(bytes).expect("the line takes bytes");
    }

    /// Says a command and waits for its answer.
    pub fn command(&mut self, seq: u16, action: Action) -> AckCode {
        self.send(&Frame::Command(roost_protocol::Command { seq, action }).line());
        self.wait_for("the acknowledgement", |frame| match frame {
            Frame::Ack(ack) if ack.seq == seq => Some(ack.code),
            _ => None,
        })
    }

    /// Waits for a reading of a probe with these values.
    pub fn reading(&mut self, probe: u8, temperature: Option<i16>, humidity: Option<u16>) -> Reading {
        self.wait_for(&format!("{temperature:?} and {humidity:?} of probe {probe}"), |frame| match frame {
            Frame::Reading(r) => {
                (r.probe == probe && r.temperature_centi == temperature && r.humidity_centi == humidity).then_some(r)
            }
            _ => None,
        })
    }

    /// Waits until the hub says which probe is at a place that begins so.
    pub fn probe_at(&mut self, place: &str) -> Identity {
        self.wait_for(&format!("the probe at {place}"), |frame| match frame {
            Frame::Identity(identity) => identity.place.as_str().starts_with(place).then_some(identity),
            _ => None,
        })
    }
}
