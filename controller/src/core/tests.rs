use std::time::SystemTime;

use roost_model::{Cluster, Command, Config, Reply};
use roost_types::node::NodeFacts;
use roost_types::{Arch, Code, MemoryBytes, NodeId, SyncRequest};

use super::Core;
use crate::random::Seeds;
use crate::store::{Store, fill};
use crate::testing::TempDir;

async fn start(dir: &TempDir) -> (Core, tokio::task::JoinHandle<()>) {
    let store = Store::open(dir.path()).await.unwrap();
    start_over(store).await
}

async fn start_over(store: Store) -> (Core, tokio::task::JoinHandle<()>) {
    let cluster = Cluster::load(Config::default(), store.load().await.unwrap(), crate::clock::now());
    Core::start(cluster, store, Seeds::new().unwrap())
}

async fn register(core: &Core, name: &str) -> NodeId {
    match core.submit(Command::RegisterNode { name: name.parse().unwrap() }).await.unwrap().reply {
        Reply::Node(id) => id,
        other => panic!("{other:?}"),
    }
}

fn sync(node: NodeId, seq: u64, facts: Option<NodeFacts>) -> Command {
    let request = SyncRequest {
        boot_id: "boot".to_owned(),
        agent_id: "agent".to_owned(),
        seq,
        full: seq == 1,
        facts,
        ..SyncRequest::default()
    };
    Command::Sync { node, request: Box::new(request) }
}

fn facts() -> NodeFacts {
    NodeFacts {
        arch: Arch::Arm64,
        cpu_millis: 4000,
        memory_bytes: MemoryBytes::mib(1024),
        disk_bytes: MemoryBytes::mib(8192),
        kernel: "6.18".to_owned(),
        agent_version: "test".to_owned(),
        address: None,
        cgroup: roost_types::node::CgroupMode::V2,
        features: Vec::new(),
        images: Vec::new(),
    }
}

#[tokio::test]
async fn commands_that_wait_together_each_see_the_one_before_and_all_survive() {
    let dir = TempDir::new();
    let (core, owner) = start(&dir).await;
    let names = (0..200).map(|n| format!("n{}", n % 100));
    let all = futures_util::future::join_all(names.map(|name| {
        let core = core.clone();
        async move { register(&core, &name).await }
    }));
    let ids = all.await;
    assert_eq!(ids[..100], ids[100..], "a name registered twice is one node");
    drop(core);
    owner.await.unwrap();
    let (core, _owner) = start(&dir).await;
    assert_eq!(core.snapshot().nodes_after(None).map(|(id, _)| id).collect::<Vec<_>>().len(), 100);
}

#[tokio::test]
async fn an_idle_cluster_writes_nothing() {
    let dir = TempDir::new();
    let (core, _owner) = start(&dir).await;
    let node = register(&core, "n01").await;
    core.submit(sync(node, 1, Some(facts()))).await.unwrap();
    let written = || {
        let files = ["roost.db", "roost.db-wal"].map(|file| std::fs::metadata(dir.path().join(file)).unwrap());
        files.map(|file| (file.len(), file.modified().unwrap_or(SystemTime::UNIX_EPOCH)))
    };
    let before = written();
    for seq in 2..50 {
        core.submit(Command::Tick).await.unwrap();
        core.submit(sync(node, seq, None)).await.unwrap();
    }
    assert_eq!(written(), before);
}

#[tokio::test]
async fn a_full_store_refuses_changes_publishes_none_and_still_counts_heartbeats() {
    let dir = TempDir::new();
    let store = Store::open(dir.path()).await.unwrap();
    let pool = store.pool();
    let (core, _owner) = start_over(store).await;
    let node = register(&core, "n01").await;
    core.submit(sync(node, 1, Some(facts()))).await.unwrap();
    fill(&pool).await;

    let (mut number, mut refused) = (0, None);
    while refused.is_none() && number < 500 {
        number += 1;
        let name = format!("x{number}").parse().unwrap();
        refused = core.submit(Command::RegisterNode { name }).await.err();
    }
    assert_eq!(refused.expect("the store is full at some time").code, Code::StoreFull);
    assert!(core.snapshot().cluster.find_node(&format!("x{number}")).is_err(), "what was refused is not there");

    let seen = |core: &Core| core.snapshot().cluster.live(node).and_then(|live| live.last_seen).unwrap();
    let before = seen(&core);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    // Waits in one batch with what is refused, or alone: it counts either way.
    let register = Command::RegisterNode { name: "late".parse().unwrap() };
    let (heartbeat, late) = tokio::join!(core.submit(sync(node, 2, None)), core.submit(register));
    assert!(heartbeat.is_ok() && late.is_err());
    assert!(seen(&core) > before);
}

#[tokio::test]
async fn listeners_hear_only_of_their_own_node() {
    let dir = TempDir::new();
    let (core, _owner) = start(&dir).await;
    let (first, second) = (register(&core, "n01").await, register(&core, "n02").await);
    let (mine, other) = (core.listen_node(first), core.listen_node(second));
    let (heard, not_heard) = (mine.notified(), other.notified());
    core.wake_node(first);
    heard.await;
    assert!(tokio::time::timeout(std::time::Duration::from_millis(20), not_heard).await.is_err());
}
