//! What a keeper that is killed takes with it: nothing.
//!
//! `strace` kills it, at a system call that is chosen: what runs between two of them cannot be seen from outside.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use roost_agent::runtime::linux::LinuxRuntime;
use roost_agent::runtime::{ContainerState, ExecPlan, LogChunk, Runtime};
use roost_types::AllocationId;

use crate::rig::{Rig, repeated};

cases![
    no_line_is_lost_however_often_the_keeper_dies,
    last_words_without_a_keeper_are_kept,
    orphans_are_reaped,
    execs_whose_users_vanish_leave_nothing,
];

/// The calls that bring output from a container to its log.
const ON_THE_WAY: [&str; 5] = ["pwrite64", "splice", "pread64", "write", "ftruncate"];

/// A killer of the keeper; the same seed kills at the same calls.
struct Killer {
    random: u64,
    /// Not on the small machine of the rig.
    strace: bool,
}

impl Killer {
    fn new() -> Self {
        let seed = std::env::var("ROOST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_124);
        println!("    seed: ROOST_SEED={seed}");
        let strace = Command::new("strace").arg("--version").stdout(Stdio::null()).status().is_ok();
        assert!(strace || std::env::var_os("ROOST_SLOW").is_some(), "strace is installed");
        Self { random: seed, strace }
    }

    fn below(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % most
    }

    /// Kills the keeper and waits until it is gone.
    async fn kill(&mut self, rig: &Rig) {
        if !self.strace {
            tokio::time::sleep(Duration::from_millis(self.below(30))).await;
            rig.kill_keeper().await;
            return;
        }
        let pid = rig.keeper().await;
        let call = ON_THE_WAY[usize::try_from(self.below(5)).expect("small")];
        let inject = format!("inject={call}:signal=SIGKILL:when={}", 1 + self.below(40));
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-o", "/dev/null", "-p", &pid.to_string(), "-e", &format!("trace={call}"), "-e", &inject]);
        let mut strace = strace.spawn().expect("strace");
        let end = Instant::now() + Duration::from_secs(20);
        while strace.try_wait().expect("strace").is_none() {
            assert!(Instant::now() < end, "the keeper makes call {inject}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while Path::new(&format!("/proc/{pid}/exe")).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn no_line_is_lost_however_often_the_keeper_dies(rig: &Rig) {
    let (mut killer, kills) = (Killer::new(), repeated(20, 300));
    let ends = Arc::new(AtomicBool::new(false));
    let mut followers = Vec::new();
    for stream in [1, 1, 2] {
        // As fast as it can: the keeper lets it have its share.
        let spec = rig.spec(&["sh", "-c", &format!("i=0; while :; do echo $i >&{stream}; i=$((i+1)); done")]);
        rig.start(&spec).await;
        let log = rig.runtime.logs(spec.id, None, true).await.expect("a log");
        let seen = Arc::new(AtomicU64::new(0));
        followers.push((spec.id, seen.clone(), tokio::spawn(count_up(log, seen, ends.clone()))));
    }
    for kill in 0..kills {
        killer.kill(rig).await;
        let lost = followers.iter().find(|(_, _, follower)| follower.is_finished());
        assert!(lost.is_none(), "a line is lost or doubled by kill {kill}");
    }
    rig.keeper().await;
    for (id, seen, _) in &followers {
        // What the last keeper left behind arrives, and the container goes on.
        let before = seen.load(Ordering::Relaxed);
        let end = Instant::now() + Duration::from_secs(20);
        while seen.load(Ordering::Relaxed) <= before {
            assert!(Instant::now() < end, "{id} says nothing more");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    ends.store(true, Ordering::Relaxed);
    let mut lines = 0;
    for (_, seen, follower) in followers {
        follower.await.expect("no line is lost or doubled");
        lines += seen.load(Ordering::Relaxed);
    }
    println!("    soak: lines followed while the keeper was killed {kills} times, lost or doubled: 0 of {lines}");
}

/// Follows a log whose lines are the natural numbers.
async fn count_up(mut log: tokio::sync::mpsc::Receiver<LogChunk>, seen: Arc<AtomicU64>, ends: Arc<AtomicBool>) {
    let (mut next, mut line) = (0_u64, Vec::new());
    while !ends.load(Ordering::Relaxed) {
        let Ok(Some(chunk)) = tokio::time::timeout(Duration::from_millis(100), log.recv()).await else { continue };
        for byte in chunk.bytes {
            if byte == b'\n' {
                let text = String::from_utf8_lossy(&line).into_owned();
                assert_eq!(text.parse(), Ok(next), "line {next} is {text:?}");
                next += 1;
                line.clear();
            } else {
                line.push(byte);
            }
        }
        seen.store(next, Ordering::Relaxed);
    }
}

async fn last_words_without_a_keeper_are_kept(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", "sleep 1; seq 1 5000; exit 3"]);
    let pid = rig.start(&spec).await;
    // The agent lives and holds on to what is in the pipe.
    let keeper = rig.runtime.keeper_pid().await.expect("a keeper");
    signal(keeper, Signal::SIGSTOP);
    // Its parent is stopped and reaps nobody.
    while !fs::read_to_string(format!("/proc/{pid}/stat")).expect("its state").contains(") Z ") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    signal(keeper, Signal::SIGKILL);
    let state = state_after(rig, spec.id).await;
    assert!(matches!(state, ContainerState::Exited { .. }), "{state:?}");
    let expected: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    assert_eq!(rig.log(spec.id).await, expected);
}

fn signal(pid: u32, signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal).expect("a signal");
}

async fn state_after(rig: &Rig, id: AllocationId) -> ContainerState {
    rig.keeper().await;
    let list = rig.runtime.list().await.expect("a list");
    list.into_iter().find(|container| container.id == id).expect("known").state
}

/// Both inits: the tiny one of app containers, and an image's own.
async fn orphans_are_reaped(rig: &Rig) {
    let many = repeated(300, 10_000);
    let app = rig.spec(&["sleep", "1000"]);
    let mut system = rig.spec(&["/bin/init"]);
    system.system = true;
    for mut spec in [app, system] {
        // An init reaps when it is given the processor, and that of the image looks only once a second.
        spec.resources.pids = many + 64;
        rig.start(&spec).await;
        if spec.system {
            rig.wait_for_log(spec.id, "booted").await;
        }
        let before = rig.runtime.stats(spec.id).await.expect("stats").pids;
        // Each child's parent ends at once: nobody but the init is left to reap it.
        let script = format!("i=0; while [ $i -lt {many} ]; do (true &); i=$((i+1)); done");
        let (text, code) = rig.exec(spec.id, &["sh", "-c", &script]).await;
        assert_eq!((text.as_str(), code), ("", 0));
        let end = Instant::now() + Duration::from_secs(5);
        while rig.runtime.stats(spec.id).await.expect("stats").pids != before {
            assert!(Instant::now() < end, "zombies are left after 5 s");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!("    soak: zombies of {many} orphans, init of {}: 0", if spec.system { "the image" } else { "ours" });
    }
}

async fn execs_whose_users_vanish_leave_nothing(rig: &Rig) {
    let many = repeated(60, 1000);
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let agent = LinuxRuntime::connect(rig.config.clone()).await.expect("an agent");
    let keeper = agent.keeper_pid().await.expect("a keeper");
    let held = |pid: &str| fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").count();
    let (ours, theirs) = (held("self"), held(&keeper.to_string()));
    for n in 0..many {
        let command: &[&str] = if n % 4 == 0 {
            // A child in the background keeps the pipes open.
            &["sh", "-c", "sleep 1000 & exec sleep 1000"]
        } else {
            &["sleep", "1000"]
        };
        let plan = ExecPlan { command: command.iter().map(ToString::to_string).collect(), ..ExecPlan::default() };
        let session = agent.exec(spec.id, &plan).await.expect("exec");
        drop(session);
        // They may not be more than the container may have processes.
        if n % 8 == 7 {
            until_alone(&agent, spec.id).await;
        }
    }
    until_alone(&agent, spec.id).await;
    assert!(held(&keeper.to_string()) <= theirs, "the keeper holds on to {}", held(&keeper.to_string()));
    assert!(held("self") <= ours, "the agent holds on to {}", held("self"));
    println!("    soak: descriptors and processes left by {many} execs whose users vanished: 0");
}

/// Waits until only the init and its command are left.
async fn until_alone(runtime: &LinuxRuntime, id: AllocationId) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let pids = runtime.stats(id).await.expect("stats").pids;
        if pids == 2 {
            return;
        }
        assert!(Instant::now() < end, "{pids} processes are left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
