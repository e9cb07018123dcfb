//! What a container costs to start: ours, crun's, and the bare system calls'.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use super::stats::{Figure, median};
use crate::repo;

/// Runs of each peer that are counted, after three that are not.
const RUNS: usize = 30;
const WARM_UP: usize = 3;
/// System calls that crun's filter refuses: the same kind and about the same number as ours.
const REFUSED: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "finit_module",
    "init_module",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "migrate_pages",
    "move_pages",
    "open_by_handle_at",
    "perf_event_open",
    "ptrace",
    "quotactl",
    "reboot",
    "request_key",
    "settimeofday",
    "swapoff",
    "swapon",
    "userfaultfd",
    "vhangup",
];

/// Wall and processor time of runs, in milliseconds.
struct Cost {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

/// Measures all, one after the other.
pub fn figures(work: &Path) -> Result<Vec<Figure>> {
    let rootfs = work.join("rootfs");
    make_rootfs(&rootfs)?;
    let ours = ours()?;
    let floor = floor(work, &rootfs)?;
    let crun = crun(work, &rootfs)?;
    let figure = |what: &str, of: fn(&Cost) -> &Vec<f64>, target| Figure {
        what: what.to_owned(),
        unit: "ms",
        ours: median(of(&ours)),
        peers: vec![("raw system calls", median(of(&floor))), ("crun run", median(of(&crun)))],
        target,
    };
    Ok(vec![
        figure("container start to exec and end, processor time", |cost| &cost.cpu, "R1: ≤ 1.5 × raw, ≤ 0.3 × crun"),
        figure("container start, wall (ours to exec; peers to the end)", |cost| &cost.wall, "–"),
    ])
}

fn make_rootfs(rootfs: &Path) -> Result<()> {
    for name in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
        std::fs::create_dir_all(rootfs.join(name))?;
    }
    std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).context("busybox-static is not installed")?;
    for applet in ["true", "sh", "sleep"] {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet))?;
    }
    Ok(())
}

fn parse(output: &[u8], skip: usize) -> Result<Cost> {
    let text = String::from_utf8_lossy(output);
    let mut cost = Cost { wall: Vec::new(), cpu: Vec::new() };
    for line in text.lines().skip(skip) {
        let mut numbers = line.split_whitespace().map(str::parse::<f64>);
        let (Some(Ok(wall)), Some(Ok(cpu))) = (numbers.next(), numbers.next()) else { bail!("not figures: {line}") };
        cost.wall.push(wall / 1000.0);
        cost.cpu.push(cpu / 1000.0);
    }
    ensure!(cost.wall.len() >= 20, "only {} runs", cost.wall.len());
    Ok(cost)
}

fn ours() -> Result<Cost> {
    let run = Command::new(repo::target_dir().join("release/examples/start_cost")).output()?;
    ensure!(run.status.success(), "start_cost failed: {}", String::from_utf8_lossy(&run.stderr));
    parse(&run.stdout, 0)
}

fn floor(work: &Path, rootfs: &Path) -> Result<Cost> {
    let program = work.join("floor");
    let source = repo::root().join("cross/xtask/src/bench/floor.c");
    let built = Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source).status().context("run cc")?;
    ensure!(built.success(), "the floor does not compile");
    let scratch = work.join("floor-work");
    std::fs::create_dir_all(&scratch)?;
    let runs = (RUNS + WARM_UP).to_string();
    let run = Command::new(&program).arg(rootfs).arg(&scratch).arg(runs).output()?;
    ensure!(run.status.success(), "the floor failed: {}", String::from_utf8_lossy(&run.stderr));
    parse(&run.stdout, WARM_UP)
}

/// crun in a mount namespace without the unified hierarchy: some versions refuse hybrid cgroups. The wrapper's own cost
/// is measured with `true` in crun's place and taken off.
fn crun(work: &Path, rootfs: &Path) -> Result<Cost> {
    let bundle = work.join("bundle");
    std::fs::create_dir_all(&bundle)?;
    let made = Command::new("crun").arg("spec").current_dir(&bundle).status().context("run crun")?;
    ensure!(made.success(), "crun spec failed");
    configure(&bundle.join("config.json"), rootfs)?;
    let unified = "umount /sys/fs/cgroup/unified 2>/dev/null; exec";
    let wrapper = timed(|_| format!("{unified} /bin/true"))?;
    let bundle = bundle.display().to_string();
    let mut cost = timed(|run| format!("{unified} crun run --bundle {bundle} roost-bench-{run}"))?;
    let (wall, cpu) = (median(&wrapper.wall), median(&wrapper.cpu));
    cost.wall.iter_mut().for_each(|value| *value -= wall);
    cost.cpu.iter_mut().for_each(|value| *value -= cpu);
    Ok(cost)
}

fn configure(path: &Path, rootfs: &Path) -> Result<()> {
    let mut config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!(["true"]);
    config["root"]["path"] = rootfs.display().to_string().into();
    config["linux"]["resources"] = serde_json::json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 256}});
    // What ours has too: a private uid range, a cgroup namespace and a deny list.
    let namespaces = config["linux"]["namespaces"].as_array_mut().context("crun spec wrote no namespaces")?;
    namespaces.extend([serde_json::json!({"type": "user"}), serde_json::json!({"type": "cgroup"})]);
    let range = serde_json::json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    config["linux"]["uidMappings"] = range.clone();
    config["linux"]["gidMappings"] = range;
    config["linux"]["seccomp"] = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": REFUSED, "action": "SCMP_ACT_ERRNO"}],
    });
    Ok(std::fs::write(path, serde_json::to_string(&config)?)?)
}

fn timed(script: impl Fn(usize) -> String) -> Result<Cost> {
    let mut cost = Cost { wall: Vec::new(), cpu: Vec::new() };
    for run in 0..RUNS + WARM_UP {
        let before = children_ms()?;
        let began = Instant::now();
        let ended = Command::new("unshare").args(["-m", "sh", "-c", &script(run)]).output().context("run unshare")?;
        ensure!(ended.status.success(), "{}: {}", script(run), String::from_utf8_lossy(&ended.stderr));
        if run >= WARM_UP {
            cost.wall.push(began.elapsed().as_secs_f64() * 1000.0);
            cost.cpu.push(children_ms()? - before);
        }
    }
    Ok(cost)
}

/// Processor time of every child that was waited for, in milliseconds.
fn children_ms() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let ms = |time: nix::sys::time::TimeVal| {
        #[expect(clippy::cast_precision_loss, reason = "times of minutes")]
        let ms = time.tv_sec() as f64 * 1000.0 + time.tv_usec() as f64 / 1000.0;
        ms
    };
    Ok(ms(usage.user_time()) + ms(usage.system_time()))
}
