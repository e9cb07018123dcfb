//! Consoles of real containers that have their own init.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use roost_agent::runtime::{Runtime, RuntimeError};
use roost_types::AllocationId;
use roost_types::stream::Resize;

use crate::rig::Rig;

cases![
    a_console_shows_the_boot_takes_input_and_keeps_a_log,
    a_console_outlives_the_keeper_and_the_agent,
    only_an_init_has_a_console,
];

/// A shell of busybox's init on its console.
fn system(rig: &Rig) -> roost_types::AllocationSpec {
    let mut spec = rig.spec(&["/bin/init"]);
    spec.system = true;
    spec
}

/// Somebody attached.
struct Line {
    socket: std::fs::File,
    seen: String,
}

impl Line {
    async fn attach(rig: &Rig, id: AllocationId, lines: u32) -> Self {
        let socket: OwnedFd = rig.runtime.attach(id, lines).await.unwrap_or_else(|e| panic!("attach: {e:?}"));
        Self { socket: socket.into(), seen: String::new() }
    }

    fn types(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).expect("typing");
    }

    /// Waits until it has shown this, and forgets what came before.
    async fn shows(&mut self, part: &str) {
        let until = Instant::now() + Duration::from_secs(15);
        while Instant::now() < until {
            let mut buffer = [0; 4096];
            match rustix::io::read(&self.socket, &mut buffer) {
                Ok(n @ 1..) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..n])),
                Ok(_) => panic!("the console closed; it had shown {:?}", self.seen),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            if let Some(at) = self.seen.find(part) {
                self.seen.drain(..at + part.len());
                return;
            }
        }
        panic!("never shown: {part:?}; but {:?}", self.seen);
    }

    async fn closes(&mut self) {
        for _ in 0..1000 {
            if let Ok(0) = rustix::io::read(&self.socket, &mut [0; 4096]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the console stays open");
    }
}

async fn a_console_shows_the_boot_takes_input_and_keeps_a_log(rig: &Rig) {
    let spec = system(rig);
    rig.start(&spec).await;
    let mut line = Line::attach(rig, spec.id, 100).await;
    line.shows("booted\r\n").await;
    // The image's init has a shell for who presses Enter.
    line.shows("activate this console").await;
    line.types("\n");
    line.types("tty; echo $((6 * 7)) answers\n");
    line.shows("/dev/pts/0").await;
    line.shows("42 answers").await;
    rig.runtime.resize_console(spec.id, Resize { cols: 111, rows: 33 }).await.expect("resize");
    line.types("stty size\n");
    line.shows("33 111").await;
    // A second one sees what was and what comes, and may type.
    let mut second = Line::attach(rig, spec.id, 3).await;
    second.shows("33 111").await;
    second.types("echo from the $((1 + 1))nd\n");
    line.shows("from the 2nd").await;
    second.shows("from the 2nd").await;
    let log = rig.log(spec.id).await;
    assert!(log.contains("booted\n") && log.contains("from the 2nd\n"), "{log}");
    // The init's own end is the console's.
    drop(second);
    line.types("echo sleeps; sleep 100; echo not reached\n");
    line.shows("sleeps\r\n").await;
    // The shell takes keys itself until the command runs.
    tokio::time::sleep(Duration::from_millis(300)).await;
    line.types("\x03");
    tokio::time::sleep(Duration::from_millis(300)).await;
    line.types("echo interrupted $?\n");
    line.shows("interrupted 130").await;
    line.types("kill -USR2 1\n");
    line.closes().await;
}

async fn a_console_outlives_the_keeper_and_the_agent(rig: &Rig) {
    let spec = system(rig);
    let pid = rig.start(&spec).await;
    let mut line = Line::attach(rig, spec.id, 100).await;
    line.shows("activate this console").await;
    line.types("\n");
    line.types("while :; do echo tick; sleep 0.05; done &\n");
    line.shows("tick").await;
    rig.kill_keeper().await;
    line.closes().await;
    // The agent has to see it, too.
    tokio::time::sleep(Duration::from_millis(50)).await;
    // A new keeper is started by the next call, and finds the console with its holder.
    let mut line = Line::attach(rig, spec.id, 0).await;
    line.shows("tick").await;
    line.types("echo still $((40 + 2))\n");
    line.shows("still 42").await;
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "the container ended");
    rig.runtime.disconnect();
    line.types("echo again $((40 + 3))\n");
    line.shows("again 43").await;
    rig.runtime.stop(spec.id, Duration::ZERO).await.expect("stop");
    line.closes().await;
}

async fn only_an_init_has_a_console(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let refused = rig.runtime.attach(spec.id, 0).await;
    assert!(matches!(&refused, Err(RuntimeError::Unsupported(text)) if text.contains("exec")), "{refused:?}");
    rig.runtime.stop(spec.id, Duration::ZERO).await.expect("stop");
    assert!(matches!(rig.runtime.attach(spec.id, 0).await, Err(RuntimeError::NotRunning)));
}
