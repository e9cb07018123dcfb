//! What containers cost, through a real keeper. Run by `cargo xtask bench` as root.
//!
//! | argument | prints |
//! |---|---|
//! | none, or `starts` | a line `WALL_US CPU_US` for each start of `true` in a container of its own: from the request to the executed command, and the processor time of keeper and container until it has ended and its groups are gone |
//! | `exec` | the same for each `true` executed in one running container, until its end is told |
//! | `many N` | how many containers a second were started and kept running, two at a time |

#[path = "../tests/runtime/rig.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod rig;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use roost_agent::runtime::Runtime;

/// Runs that are not counted.
const WARM_UP: usize = 3;
/// Runs that are.
const RUNS: usize = 30;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "keeper") {
        return roost_agent::runtime::linux::keeper_main(arguments.into_iter().skip(1));
    }
    surroundings().expect("namespaces of its own need root");
    match arguments.first().and_then(|first| first.to_str()) {
        None | Some("starts") => rig::run(|rig| Box::pin(starts(rig)), &[]),
        Some("exec") => rig::run(|rig| Box::pin(execs(rig)), &[]),
        Some("many") => rig::run(|rig| Box::pin(many(rig)), &[]),
        Some(other) => panic!("nothing is measured by the name of {other}"),
    }
    rig::remove_image();
    ExitCode::SUCCESS
}

/// A network namespace of its own, and a `/run` in memory as every board has it.
fn surroundings() -> nix::Result<()> {
    use nix::mount::{MsFlags, mount};
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET | nix::sched::CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>)
}

async fn starts(rig: &rig::Rig) {
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
        // The keeper does one thing after the other: when it answers, it has cleared the container's groups away.
        rig.runtime.list().await.expect("a list");
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

async fn execs(rig: &rig::Rig) {
    let keeper = rig.runtime.keeper_pid().await.expect("a keeper");
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    for run in 0..WARM_UP + RUNS {
        let before = on_cpu_us(keeper) + containers_us(rig);
        let asked = Instant::now();
        let (_, code) = rig.exec(spec.id, &["true"]).await;
        let wall = asked.elapsed();
        assert_eq!(code, 0, "true is true");
        let cpu = on_cpu_us(keeper) + containers_us(rig) - before;
        if run >= WARM_UP {
            println!("{} {cpu}", wall.as_micros());
        }
    }
}

async fn many(rig: &rig::Rig) {
    let count: usize = std::env::args().nth(2).and_then(|text| text.parse().ok()).expect("many N");
    let began = Instant::now();
    let half = || async {
        for _ in 0..count / 2 {
            rig.start(&rig.spec(&["sleep", "1000"])).await;
        }
    };
    tokio::join!(half(), half());
    #[expect(clippy::cast_precision_loss, reason = "some hundred containers")]
    let rate = (count / 2 * 2) as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.1}");
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
    let unified =
        ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(|root| Path::new(root).join(&parent).join("cpu.stat"));
    let text = unified.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok()).unwrap_or(0)
}
