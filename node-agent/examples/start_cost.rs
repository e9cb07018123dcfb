//! What starting a container costs: `true` in a container of its own, through a real keeper, one line of figures a run.
//!
//! Run by `cargo xtask bench` as root. Each line is `WALL_US CPU_US`: from the request to the executed command, and the
//! processor time of keeper and container until it has ended.

#[path = "../tests/runtime/rig.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod rig;

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

/// Runs that are not counted.
const WARM_UP: usize = 3;
/// Runs that are.
const RUNS: usize = 30;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "keeper") {
        return roost_agent::runtime::linux::keeper_main(arguments.into_iter().skip(1));
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
    rig::run(|rig| Box::pin(measure(rig)));
    rig::remove_image();
    ExitCode::SUCCESS
}

async fn measure(rig: &rig::Rig) {
    use roost_agent::runtime::Runtime;
    let keeper = rig.runtime.keeper_pid().await.expect("a keeper");
    // Deleted at the end: a file system that looks for inodes that were not freed a moment ago is not what is measured.
    let mut started = Vec::new();
    for run in 0..WARM_UP + RUNS {
        let spec = rig.spec(&["true"]);
        let before = on_cpu_us(keeper) + containers_us(rig);
        let asked = Instant::now();
        rig.start(&spec).await;
        let wall = asked.elapsed();
        rig.exit_of(spec.id).await;
        let cpu = on_cpu_us(keeper) + containers_us(rig) - before;
        started.push(spec.id);
        if run >= WARM_UP {
            println!("{} {cpu}", wall.as_micros());
        }
    }
    for id in started {
        rig.runtime.delete(id).await.expect("delete");
    }
}

/// Processor time of a single-threaded process, in microseconds.
fn on_cpu_us(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("schedstat");
    let nanoseconds: u64 = text.split_whitespace().next().expect("a field").parse().expect("a number");
    nanoseconds / 1000
}

/// Processor time of every container there was, in microseconds.
fn containers_us(rig: &rig::Rig) -> u64 {
    let parent = rig.config.cgroup_parent.join("instances");
    let v1 = fs::read_to_string(std::path::Path::new("/sys/fs/cgroup/cpuacct").join(&parent).join("cpuacct.usage"));
    if let Ok(text) = v1 {
        return text.trim().parse::<u64>().expect("a number") / 1000;
    }
    let v2 = fs::read_to_string(std::path::Path::new("/sys/fs/cgroup").join(&parent).join("cpu.stat"));
    let text = v2.unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok()).unwrap_or(0)
}
