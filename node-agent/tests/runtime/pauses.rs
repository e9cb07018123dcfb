//! Containers that are paused while their files are copied, and those who may die meanwhile.

use std::time::Duration;

use roost_agent::runtime::{Runtime, RuntimeError};
use roost_types::AllocationId;

use crate::rig::{Case, Rig};

/// Every case.
pub const ALL: &[(&str, Case)] = &[
    ("a_paused_container_does_nothing_until_it_is_thawed", |rig| {
        Box::pin(a_paused_container_does_nothing_until_it_is_thawed(rig))
    }),
    ("a_system_container_is_paused_whole", |rig| Box::pin(a_system_container_is_paused_whole(rig))),
    ("an_agent_that_dies_leaves_nothing_paused", |rig| Box::pin(an_agent_that_dies_leaves_nothing_paused(rig))),
    ("a_keeper_that_dies_leaves_nothing_paused_and_that_is_told", |rig| {
        Box::pin(a_keeper_that_dies_leaves_nothing_paused_and_that_is_told(rig))
    }),
    ("what_is_paused_can_be_stopped", |rig| Box::pin(what_is_paused_can_be_stopped(rig))),
    ("what_does_not_run_is_not_paused", |rig| Box::pin(what_does_not_run_is_not_paused(rig))),
];

const TICKS: &str = "while true; do echo tick; sleep 0.01; done";

async fn ticks(rig: &Rig, id: AllocationId) -> usize {
    // What was written is on its way for a moment.
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.log(id).await.lines().count()
}

async fn ticks_on(rig: &Rig, id: AllocationId) {
    let before = ticks(rig, id).await;
    for _ in 0..100 {
        if ticks(rig, id).await > before {
            return;
        }
    }
    panic!("it stands still after {before} ticks");
}

async fn stands_still(rig: &Rig, id: AllocationId) {
    let before = ticks(rig, id).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ticks(rig, id).await, before, "it went on");
}

async fn a_paused_container_does_nothing_until_it_is_thawed(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", TICKS]);
    rig.start(&spec).await;
    ticks_on(rig, spec.id).await;
    rig.runtime.freeze(spec.id).await.expect("it is paused");
    stands_still(rig, spec.id).await;
    rig.runtime.thaw(spec.id).await.expect("it goes on");
    ticks_on(rig, spec.id).await;
    assert!(matches!(rig.runtime.thaw(spec.id).await, Err(RuntimeError::NotFrozen)));
}

async fn a_system_container_is_paused_whole(rig: &Rig) {
    let mut spec = rig.spec(&["/bin/init"]);
    spec.system = true;
    rig.start(&spec).await;
    rig.wait_for_log(spec.id, "booted").await;
    rig.runtime.freeze(spec.id).await.expect("it is paused");
    let group = rig.cgroup_dir("unified", spec.id);
    let events = std::fs::read_to_string(group.join("cgroup.events")).expect("cgroup.events");
    assert!(events.contains("frozen 1"), "{events}");
    rig.runtime.thaw(spec.id).await.expect("it goes on");
    // Its root may divide the group it was given, and must not be able to pause or wake the whole of it.
    let (said, code) = rig.exec(spec.id, &["sh", "-c", "echo 1 > /sys/fs/cgroup/cgroup.freeze"]).await;
    assert_ne!(code, 0, "the container paused itself: {said}");
}

async fn an_agent_that_dies_leaves_nothing_paused(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", TICKS]);
    rig.start(&spec).await;
    rig.runtime.freeze(spec.id).await.expect("it is paused");
    stands_still(rig, spec.id).await;
    rig.runtime.disconnect();
    ticks_on(rig, spec.id).await;
}

async fn a_keeper_that_dies_leaves_nothing_paused_and_that_is_told(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", TICKS]);
    rig.start(&spec).await;
    rig.runtime.freeze(spec.id).await.expect("it is paused");
    rig.kill_keeper().await;
    let thawed = loop {
        match rig.runtime.thaw(spec.id).await {
            Err(RuntimeError::Step { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => break other,
        }
    };
    assert!(matches!(thawed, Err(RuntimeError::NotFrozen)), "{thawed:?}");
    ticks_on(rig, spec.id).await;
}

async fn what_is_paused_can_be_stopped(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", &format!("trap 'echo asked; exit 0' TERM; {TICKS}")]);
    rig.start(&spec).await;
    ticks_on(rig, spec.id).await;
    rig.runtime.freeze(spec.id).await.expect("it is paused");
    rig.runtime.stop(spec.id, Duration::from_secs(10)).await.expect("it stops");
    assert!(rig.log(spec.id).await.ends_with("asked\n"), "it was killed and not asked");
    assert!(matches!(rig.runtime.thaw(spec.id).await, Err(RuntimeError::NotFrozen)));
}

async fn what_does_not_run_is_not_paused(rig: &Rig) {
    let spec = rig.spec(&["true"]);
    assert!(matches!(rig.runtime.freeze(spec.id).await, Err(RuntimeError::NoContainer(_))));
    rig.start(&spec).await;
    rig.exit_of(spec.id).await;
    assert!(matches!(rig.runtime.freeze(spec.id).await, Err(RuntimeError::NotRunning)));
}
