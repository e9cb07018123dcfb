//! What a container costs to start: ours, crun's, and the bare system calls'.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use super::disk::Disk;
use super::stats::{Figure, median};
use crate::repo;

/// Runs of each peer that are counted, after three that are not.
const RUNS: usize = 30;
const WARM_UP: usize = 3;
/// Wall and processor time of runs, in milliseconds.
struct Cost {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

/// First host id of crun's and the floor's containers.
const OWNER: u32 = 100_000;
/// Containers started and kept running, to see how many a second.
const MANY: usize = 200;

/// Measures all, one after the other.
pub fn figures(work: &Path) -> Result<Vec<Figure>> {
    let rootfs = work.join("rootfs");
    make_rootfs(&rootfs)?;
    let ours = example(work, &["starts"])?;
    let floors = floors(work, &rootfs)?;
    let bundle = bundle(work, &rootfs)?;
    let started = crun_run(&bundle)?;
    let figure = |what: &str, of: fn(&Cost) -> &Vec<f64>, target| Figure {
        what: what.to_owned(),
        unit: "ms",
        ours: median(of(&ours)),
        peers: vec![
            ("raw system calls", median(of(&floors.bare))),
            ("the same with a cable, devices and an init", median(of(&floors.furnished))),
            ("crun run without them", median(of(&started))),
        ],
        target,
    };
    let mut figures = vec![
        figure("container start to exec and end, processor time", |cost| &cost.cpu, "R1: ≤ 1.5 × raw, ≤ 0.3 × crun"),
        figure("container start, wall (ours to exec; peers to the end)", |cost| &cost.wall, "–"),
    ];
    figures.extend(execs(work, &bundle)?);
    figures.push(many(work, &bundle)?);
    Ok(figures)
}

/// `true` in a container that runs already.
fn execs(work: &Path, bundle: &str) -> Result<Vec<Figure>> {
    let (ours, theirs) = (example(work, &["exec"])?, crun_exec(bundle)?);
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
fn many(work: &Path, bundle: &str) -> Result<Figure> {
    let count = MANY.to_string();
    let ours = run_example(work, &["many", &count])?;
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
        what: format!(
            "{MANY} containers started and kept running, two at a time (ours with an address, crun's without)"
        ),
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
    // It is the container's root's, whose ids begin there for crun and the floor.
    let owned = Command::new("chown").args(["-R", &format!("{OWNER}:{OWNER}")]).arg(rootfs).status()?;
    ensure!(owned.success(), "chown failed");
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

fn example(work: &Path, arguments: &[&str]) -> Result<Cost> {
    parse(&run_example(work, arguments)?, 0)
}

/// What the agent's example prints; its first argument says what is measured.
fn run_example(work: &Path, arguments: &[&str]) -> Result<String> {
    let disk = Disk::new(work, arguments[0])?;
    let mut example = Command::new(super::board_program("examples/container_cost"));
    let run = example.args(arguments).env("TMPDIR", disk.path()).output().context("run container_cost")?;
    ensure!(run.status.success(), "container_cost failed: {}", String::from_utf8_lossy(&run.stderr));
    Ok(String::from_utf8_lossy(&run.stdout).into_owned())
}

/// What the bare system calls cost: of a container as PEERS' row has it, and of one with what every instance has.
struct Floors {
    bare: Cost,
    furnished: Cost,
}

fn floors(work: &Path, rootfs: &Path) -> Result<Floors> {
    let program = work.join("floor");
    let source = repo::root().join("cross/xtask/src/bench/floor.c");
    let built = Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source).status().context("run cc")?;
    ensure!(built.success(), "the floor does not compile");
    let run = |name: &str, bridge: &str| -> Result<Cost> {
        let scratch = Disk::new(work, name)?;
        // In a network namespace of its own, with a bridge to hang on.
        let script = format!(
            "ip link add floor0 type bridge && ip addr add 10.99.0.1/24 dev floor0 && ip link set floor0 up && \
             exec {} {} {} {} {bridge}",
            program.display(),
            rootfs.display(),
            scratch.path().display(),
            RUNS + WARM_UP
        );
        let run = Command::new("unshare").args(["-n", "sh", "-c", &script]).output()?;
        ensure!(run.status.success(), "the floor failed: {}", String::from_utf8_lossy(&run.stderr));
        parse(&String::from_utf8_lossy(&run.stdout), WARM_UP)
    };
    Ok(Floors { bare: run("floor-bare", "")?, furnished: run("floor-furnished", "floor0")? })
}

/// Some versions of crun refuse hybrid cgroups: it runs in a mount namespace without the unified hierarchy.
const WITHOUT_UNIFIED: &str = "umount /sys/fs/cgroup/unified 2>/dev/null; exec";

/// crun with its state in memory, as ours has what need not survive.
const CRUN: &str = "crun --root /dev/shm/roost-bench-crun";

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
    without_wrapper(|run| format!("{CRUN} run --bundle {bundle} roost-bench-{run}"))
}

fn crun_exec(bundle: &str) -> Result<Cost> {
    let name = "roost-bench-resident";
    crun(&format!("run --detach --bundle {} {name}", resident(bundle)))?;
    let cost = without_wrapper(|_| format!("{CRUN} exec {name} /bin/true"));
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
    let script = format!("{WITHOUT_UNIFIED} {CRUN} {arguments}");
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
    // What ours has too: a private uid range, a cgroup namespace and the same system calls.
    let namespaces = config["linux"]["namespaces"].as_array_mut().context("crun spec wrote no namespaces")?;
    for kind in ["user", "cgroup"] {
        if !namespaces.iter().any(|namespace| namespace["type"] == kind) {
            namespaces.push(serde_json::json!({"type": kind}));
        }
    }
    let range = serde_json::json!([{"containerID": 0, "hostID": OWNER, "size": 65_536}]);
    config["linux"]["uidMappings"] = range.clone();
    config["linux"]["gidMappings"] = range;
    config["linux"]["seccomp"] = serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": allowed_calls()?, "action": "SCMP_ACT_ALLOW"}],
    });
    Ok(std::fs::write(path, serde_json::to_string(&config)?)?)
}

/// The system calls that our own `app` containers may make, from where they are listed.
fn allowed_calls() -> Result<Vec<String>> {
    let source = repo::root().join("node-agent/src/runtime/linux/seccomp/policy.rs");
    let text = std::fs::read_to_string(&source)?;
    let list = text.split_once("const APP: &[&str] = &[").and_then(|(_, rest)| rest.split_once("];"));
    let list = list.with_context(|| format!("{} has no list", source.display()))?.0;
    let names: Vec<String> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    ensure!(names.len() > 200, "only {} system calls in {}", names.len(), source.display());
    Ok(names)
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
