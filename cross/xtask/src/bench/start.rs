//! What a container costs to start: ours, crun's, and the bare system calls'.

use std::path::Path;
use std::process::{Command, Stdio};
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

/// Containers started and kept running, to see how many a second.
const MANY: usize = 200;

/// Measures all, one after the other.
pub fn figures(work: &Path) -> Result<Vec<Figure>> {
    let rootfs = work.join("rootfs");
    make_rootfs(&rootfs)?;
    let ours = example(&[])?;
    let floor = floor(work, &rootfs)?;
    let bundle = bundle(work, &rootfs)?;
    let started = crun_run(&bundle)?;
    let figure = |what: &str, of: fn(&Cost) -> &Vec<f64>, target| Figure {
        what: what.to_owned(),
        unit: "ms",
        ours: median(of(&ours)),
        peers: vec![("raw system calls", median(of(&floor))), ("crun run", median(of(&started)))],
        target,
    };
    let mut figures = vec![
        figure("container start to exec and end, processor time", |cost| &cost.cpu, "R1: ≤ 1.5 × raw, ≤ 0.3 × crun"),
        figure("container start, wall (ours to exec; peers to the end)", |cost| &cost.wall, "–"),
    ];
    figures.extend(execs(&bundle)?);
    figures.push(many(&bundle)?);
    Ok(figures)
}

/// `true` in a container that runs already.
fn execs(bundle: &str) -> Result<Vec<Figure>> {
    let (ours, theirs) = (example(&["exec"])?, crun_exec(bundle)?);
    let figure = |what: &str, of: fn(&Cost) -> &Vec<f64>, target| Figure {
        what: what.to_owned(),
        unit: "ms",
        ours: median(of(&ours)),
        peers: vec![("crun exec", median(of(&theirs)))],
        target,
    };
    Ok(vec![
        figure("exec of true in a running container, processor time", |cost| &cost.cpu, "R6: ≤ 0.5 × the best"),
        figure("exec of true in a running container, wall", |cost| &cost.wall, "–"),
    ])
}

/// Containers a second, two at a time, kept running.
fn many(bundle: &str) -> Result<Figure> {
    let count = MANY.to_string();
    let ours = run_example(&["many", &count])?;
    let name = |number: usize| format!("roost-bench-many-{number}");
    let began = Instant::now();
    let half = |first: usize| -> Result<()> {
        (first..MANY)
            .step_by(2)
            .try_for_each(|number| crun(&format!("run --detach --bundle {} {}", resident(bundle), name(number))))
    };
    let started = std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        half(0).and(other.join().unwrap_or_else(|_| bail!("a thread panicked")))
    });
    #[expect(clippy::cast_precision_loss, reason = "some hundred containers")]
    let theirs = MANY as f64 / began.elapsed().as_secs_f64();
    (0..MANY).for_each(|number| drop(crun(&format!("delete --force {}", name(number)))));
    started?;
    Ok(Figure {
        what: format!("{MANY} containers started and kept running, two at a time (ours with an address)"),
        unit: "a second",
        ours: ours.trim().parse().context("a rate")?,
        peers: vec![("crun run --detach", theirs)],
        target: "R2: ≥ 180, ≥ 5 × crun; ≥ 100 with an address",
    })
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

fn parse(text: &str, skip: usize) -> Result<Cost> {
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

fn example(arguments: &[&str]) -> Result<Cost> {
    parse(&run_example(arguments)?, 0)
}

/// What the agent's example prints.
fn run_example(arguments: &[&str]) -> Result<String> {
    let program = repo::target_dir().join("release/examples/container_cost");
    let run = Command::new(program).args(arguments).output().context("run container_cost")?;
    ensure!(run.status.success(), "container_cost failed: {}", String::from_utf8_lossy(&run.stderr));
    Ok(String::from_utf8_lossy(&run.stdout).into_owned())
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
    parse(&String::from_utf8_lossy(&run.stdout), WARM_UP)
}

/// Some versions of crun refuse hybrid cgroups: it runs in a mount namespace without the unified hierarchy.
const WITHOUT_UNIFIED: &str = "umount /sys/fs/cgroup/unified 2>/dev/null; exec";

/// A bundle for crun whose container has what ours has.
fn bundle(work: &Path, rootfs: &Path) -> Result<String> {
    let bundle = work.join("bundle");
    std::fs::create_dir_all(&bundle)?;
    let made = Command::new("crun").arg("spec").current_dir(&bundle).status().context("run crun")?;
    ensure!(made.success(), "crun spec failed");
    configure(&bundle.join("config.json"), rootfs, &["true"])?;
    // A second one, whose command stays.
    let resident = work.join("resident");
    std::fs::create_dir_all(&resident)?;
    std::fs::copy(bundle.join("config.json"), resident.join("config.json"))?;
    configure(&resident.join("config.json"), rootfs, &["sleep", "1000"])?;
    Ok(bundle.display().to_string())
}

/// The bundle beside this one whose command stays.
fn resident(bundle: &str) -> String {
    Path::new(bundle).with_file_name("resident").display().to_string()
}

fn crun_run(bundle: &str) -> Result<Cost> {
    without_wrapper(|run| format!("crun run --bundle {bundle} roost-bench-{run}"))
}

fn crun_exec(bundle: &str) -> Result<Cost> {
    let name = "roost-bench-resident";
    crun(&format!("run --detach --bundle {} {name}", resident(bundle)))?;
    let cost = without_wrapper(|_| format!("crun exec {name} /bin/true"));
    crun(&format!("delete --force {name}"))?;
    cost
}

/// The wrapper's own cost is measured with `true` in crun's place and taken off.
fn without_wrapper(command: impl Fn(usize) -> String) -> Result<Cost> {
    let wrapper = timed(|_| format!("{WITHOUT_UNIFIED} /bin/true"))?;
    let mut cost = timed(|run| format!("{WITHOUT_UNIFIED} {}", command(run)))?;
    let (wall, cpu) = (median(&wrapper.wall), median(&wrapper.cpu));
    cost.wall.iter_mut().for_each(|value| *value -= wall);
    cost.cpu.iter_mut().for_each(|value| *value -= cpu);
    Ok(cost)
}

/// One call of crun that is not timed by itself. What it starts keeps no pipe of ours open.
fn crun(arguments: &str) -> Result<()> {
    let script = format!("{WITHOUT_UNIFIED} crun {arguments}");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    ensure!(command.status().context("run unshare")?.success(), "{script}");
    Ok(())
}

fn configure(path: &Path, rootfs: &Path, command: &[&str]) -> Result<()> {
    let mut config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!(command);
    config["root"]["path"] = rootfs.display().to_string().into();
    config["linux"]["resources"] = serde_json::json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 256}});
    // What ours has too: a private uid range, a cgroup namespace and a deny list.
    let namespaces = config["linux"]["namespaces"].as_array_mut().context("crun spec wrote no namespaces")?;
    for kind in ["user", "cgroup"] {
        if !namespaces.iter().any(|namespace| namespace["type"] == kind) {
            namespaces.push(serde_json::json!({"type": kind}));
        }
    }
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
