//! The real firmware in simavr, read over its pty with this crate.
//!
//! Needs avr-gcc, the Arduino core and simavr. Where they are missing this says so and passes, except when `CI=true`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver as Events};
use std::thread;
use std::time::{Duration, Instant};

use roost_protocol::{Event, Frame, Query, Reading, Receiver};

/// Built once for all tests, which run at the same time.
static BUILD: LazyLock<Option<PathBuf>> = LazyLock::new(build);

/// `make firmware simulator` into the target directory; `None` where the tools are missing.
fn build() -> Option<PathBuf> {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hub");
    let made = Command::new("make")
        .args(["-C", concat!(env!("CARGO_MANIFEST_DIR"), "/.."), "firmware", "simulator"])
        .arg(format!("BUILD={}", build.display()))
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
struct Hub {
    child: Child,
    stdin: ChildStdin,
    link: PathBuf,
}

impl Hub {
    fn start(build: &Path, name: &str, options: &[&str]) -> Self {
        let link = build.join(format!("{name}-{}", std::process::id()));
        let mut child = Command::new(build.join("roost-hub-sim"))
            .arg("--link")
            .arg(&link)
            .args(options)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the simulator was just built");
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let deadline = Instant::now() + Duration::from_secs(5);
        while !link.exists() {
            assert!(Instant::now() < deadline, "no link {}", link.display());
            thread::sleep(Duration::from_millis(10));
        }
        Self { child, stdin, link }
    }

    fn set(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").expect("the simulator reads");
    }

    /// Open the line; what comes is handed over by a thread that ends with the line.
    fn open(&self) -> (File, Events<Event>) {
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
        (port, events)
    }

    fn stop(self) {
        let Self { mut child, stdin, link } = self;
        drop(stdin);
        let status = child.wait().expect("the simulator ends");
        assert!(status.success(), "{status}");
        assert!(!link.is_symlink(), "{} is left", link.display());
    }
}

/// The first event that `wanted` takes, within five seconds. A fault is a failure.
fn wait_for<T>(events: &Events<Event>, what: &str, mut wanted: impl FnMut(Frame) -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match events.recv_timeout(left).unwrap_or_else(|_| panic!("{what} did not come")) {
            Event::Frame(frame) => {
                if let Some(found) = wanted(frame) {
                    return found;
                }
            }
            Event::Fault(fault) => panic!("{fault} while waiting for {what}"),
        }
    }
}

fn reading_of(probe: u8, temperature: Option<i16>, humidity: Option<u16>) -> impl FnMut(Frame) -> Option<Reading> {
    move |frame| match frame {
        Frame::Reading(r) => {
            (r.probe == probe && r.temperature_centi == temperature && r.humidity_centi == humidity).then_some(r)
        }
        Frame::Hello(_) | Frame::Ack(_) | Frame::Query(_) => None,
    }
}

#[test]
fn what_the_chips_feel_comes_out_of_the_line() {
    let Some(build) = BUILD.as_deref() else { return };
    let mut hub = Hub::start(build, "eight", &["--probes", "8"]);
    let (mut port, events) = hub.open();
    for probe in 1..=8 {
        wait_for(&events, "a reading of each probe", reading_of(probe, Some(2200), Some(4500)));
    }
    hub.set("probe 2 4105 8012");
    hub.set("probe 3 -4000 0");
    hub.set("probe 4 12500 10000");
    wait_for(&events, "the new value", reading_of(2, Some(4105), Some(8012)));
    wait_for(&events, "the lowest value", reading_of(3, Some(-4000), Some(0)));
    wait_for(&events, "the highest value", reading_of(4, Some(12_500), Some(10_000)));
    hub.set("probe 2 fail");
    wait_for(&events, "empty fields of a failed chip", reading_of(2, None, None));
    hub.set("probe 2 2500 5000");
    wait_for(&events, "the chip that is back", reading_of(2, Some(2500), Some(5000)));

    port.write_all(b"noise $Q,1*0000\r\n\x00\xff").expect("the line takes bytes");
    port.write_all(&Frame::Query(Query { seq: 77 }).line()).expect("the line takes a query");
    let ack = wait_for(&events, "the acknowledgement", |frame| match frame {
        Frame::Ack(ack) => Some(ack),
        Frame::Hello(_) | Frame::Reading(_) | Frame::Query(_) => None,
    });
    assert_eq!(ack.seq, 77);
    let hello = wait_for(&events, "the hello", |frame| match frame {
        Frame::Hello(hello) => Some(hello),
        Frame::Ack(_) | Frame::Reading(_) | Frame::Query(_) => None,
    });
    assert_eq!((hello.version, hello.capabilities.as_str()), (roost_protocol::VERSION, "sht31+mux"));
    hub.stop();
}

#[test]
fn two_chips_without_a_multiplexer_are_probes_1_and_2() {
    let Some(build) = BUILD.as_deref() else { return };
    let mut hub = Hub::start(build, "direct", &["--probes", "2", "--direct"]);
    hub.set("probe 2 3000 6000");
    let (_port, events) = hub.open();
    wait_for(&events, "probe 1", reading_of(1, Some(2200), Some(4500)));
    wait_for(&events, "probe 2", reading_of(2, Some(3000), Some(6000)));
    hub.stop();
}
