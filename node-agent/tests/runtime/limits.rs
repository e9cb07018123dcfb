//! Limits beside a size, as the kernel reads them back, and what they do, on whichever version of control groups is here.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use roost_agent::runtime::linux::{cgroup_mode, probe};
use roost_agent::runtime::{Runtime, RuntimeError};
use roost_types::limits::Limits;
use roost_types::node::{CgroupMode, Feature};
use roost_types::size::Resources;
use roost_types::{AllocationId, AllocationSpec, MemoryBytes};

use crate::rig::Rig;

cases![
    memory_swap_and_weight_are_in_force_and_change_while_it_runs,
    traffic_with_the_disk_is_capped_or_refused,
    a_share_of_the_disk_is_given_or_refused,
    what_limits_do_is_counted,
];

fn with(spec: &AllocationSpec, limits: Limits) -> Resources {
    Resources { limits, ..spec.resources }
}

fn feature(rig: &Rig, name: &str) -> Feature {
    let features = probe(&rig.config.state_dir, &BTreeSet::new());
    features.into_iter().find(|feature| feature.name == name).expect("a feature")
}

/// What the kernel reads back: memory softly, swap (with memory on version 1), share of the processor.
fn in_force(rig: &Rig, id: AllocationId) -> [String; 3] {
    let read = |controller: &str, name: &str| rig.cgroup_file(controller, id, name);
    match cgroup_mode() {
        CgroupMode::V1 => [
            read("memory", "memory.soft_limit_in_bytes"),
            read("memory", "memory.memsw.limit_in_bytes"),
            read("cpu", "cpu.shares"),
        ],
        CgroupMode::V2 => [read("", "memory.high"), read("", "memory.swap.max"), read("", "cpu.weight")],
    }
}

async fn memory_swap_and_weight_are_in_force_and_change_while_it_runs(rig: &Rig) {
    for name in ["memory_high", "swap_limit", "cpu_weight"] {
        let feature = feature(rig, name);
        assert!(feature.supported, "this machine can: {feature:?}");
    }
    let mib = MemoryBytes::mib;
    let mut spec = rig.spec(&["sleep", "1000"]);
    let limits =
        Limits { memory_high_bytes: Some(mib(48)), swap_bytes: Some(mib(32)), cpu_weight: Some(50), ..Limits::NONE };
    spec.resources.limits = limits;
    rig.start(&spec).await;
    // The size gives 64 MiB; version 1 counts swap and memory together, and 1024 for a core.
    let expected = |high: u64, swap: u64, weight: u64| match cgroup_mode() {
        CgroupMode::V1 => [high << 20, (64 + swap) << 20, weight * 1024 / 100].map(|n| n.to_string()),
        CgroupMode::V2 => [high << 20, swap << 20, weight].map(|n| n.to_string()),
    };
    assert_eq!(in_force(rig, spec.id), expected(48, 32, 50));
    let other = Limits { memory_high_bytes: Some(mib(40)), swap_bytes: Some(mib(8)), cpu_weight: Some(200), ..limits };
    rig.runtime.limit(spec.id, &with(&spec, other)).await.expect("other limits");
    assert_eq!(in_force(rig, spec.id), expected(40, 8, 200));
    rig.runtime.limit(spec.id, &with(&spec, Limits::NONE)).await.expect("no limits");
    let [high, swap, weight] = in_force(rig, spec.id);
    assert_eq!([swap, weight], expected(0, 0, 25)[1..]);
    assert!(high == "max" || high.parse::<u64>().is_ok_and(|bytes| bytes > 1 << 60), "{high}");
}

async fn traffic_with_the_disk_is_capped_or_refused(rig: &Rig) {
    let feature = feature(rig, "io_limit");
    let limits = Limits { io_write_bytes_per_second: Some(MemoryBytes::mib(1)), ..Limits::NONE };
    let mut limited = rig.spec(&["sleep", "1000"]);
    limited.resources.limits = limits;
    if !feature.supported {
        let refused = rig.runtime.start(&limited, &rig.image, &rig.network).await;
        assert!(
            matches!(&refused, Err(RuntimeError::Unsupported(text)) if text.contains(&feature.advice)),
            "{refused:?}"
        );
        return;
    }
    rig.start(&limited).await;
    let write = ["dd", "if=/dev/zero", "of=/data", "bs=1M", "count=3", "oflag=direct"];
    let began = Instant::now();
    let (text, code) = rig.exec(limited.id, &write).await;
    assert_eq!(code, 0, "{text}");
    assert!(began.elapsed() > Duration::from_millis(1500), "3 MiB at 1 MiB a second in {:?}", began.elapsed());
    let written = rig.runtime.stats(limited.id).await.expect("stats").io.expect("disk traffic").write_bytes;
    assert!(written >= 3 << 20, "{written}");
    let caps = || match cgroup_mode() {
        CgroupMode::V1 => rig.cgroup_file("blkio", limited.id, "blkio.throttle.write_bps_device"),
        CgroupMode::V2 => rig.cgroup_file("", limited.id, "io.max"),
    };
    assert!(caps().contains("1048576"), "{}", caps());
    rig.runtime.limit(limited.id, &with(&limited, Limits::NONE)).await.expect("no cap");
    assert_eq!(caps(), "");

    // One that runs already is limited too, with all that runs in it.
    let later = rig.spec(&["sh", "-c", "sleep 1000 & exec sleep 1001"]);
    rig.start(&later).await;
    let end = Instant::now() + Duration::from_secs(20);
    while rig.runtime.stats(later.id).await.expect("stats").pids < 3 {
        assert!(Instant::now() < end, "the second sleep does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rig.runtime.limit(later.id, &with(&later, limits)).await.expect("a cap");
    let processes =
        rig.cgroup_file(if cgroup_mode() == CgroupMode::V1 { "blkio" } else { "" }, later.id, "cgroup.procs");
    assert_eq!(processes.lines().count(), 3, "the init and two that sleep: {processes}");
    let began = Instant::now();
    assert_eq!(rig.exec(later.id, &write).await.1, 0);
    assert!(began.elapsed() > Duration::from_millis(1500), "an exec is not limited: {:?}", began.elapsed());
}

async fn a_share_of_the_disk_is_given_or_refused(rig: &Rig) {
    let feature = feature(rig, "io_weight");
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let asked = with(&spec, Limits { io_weight: Some(50), ..Limits::NONE });
    let answer = rig.runtime.limit(spec.id, &asked).await;
    if feature.supported {
        answer.expect("a share");
    } else {
        assert!(matches!(&answer, Err(RuntimeError::Unsupported(text)) if text.contains("BFQ")), "{answer:?}");
        assert!(feature.advice.contains("BFQ"), "{feature:?}");
    }
}

/// Throttling and pressure, in stats and in what events are made of.
async fn what_limits_do_is_counted(rig: &Rig) {
    let mut spec = rig.spec(&["sh", "-c", "while :; do :; done"]);
    spec.resources.cpu_millis = 50;
    rig.start(&spec).await;
    let counters = || rig.runtime.counters(spec.id).expect("counters");
    for _ in 0..400 {
        if counters().throttled > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(counters().throttled > 0, "a fifth of a core is less than all of one: {:?}", counters());
    let stats = rig.runtime.stats(spec.id).await.expect("stats");
    assert!(stats.cpu.throttled_usec > Some(0) && stats.cpu.throttled_periods > Some(0), "{:?}", stats.cpu);
    assert_eq!(stats.memory.swap_bytes, Some(0));
    let told = std::path::Path::new("/proc/pressure/memory").exists();
    assert_eq!(told, counters().memory_pressure.is_some() && counters().io_pressure.is_some());
    assert_eq!(told, stats.pressure.is_some());
}
