//! Limits of a running instance: changed, and what they do to it.

use roost_model::Command;
use roost_types::allocation::Strain;
use roost_types::instance::{CreateInstance, PatchInstance};
use roost_types::{AllocationReport, Code, EventKind, InstanceState, MemoryBytes, SyncRequest, Timestamp};

use crate::events;
use crate::world::World;

#[test]
fn a_running_instance_is_given_more_only_as_far_as_its_node_has_it() {
    let mut world = World::new(2);
    world.launch_named("web");
    world.run(1);
    let resize = |memory_bytes, cpu_millis| Command::PatchInstance {
        instance: "web".into(),
        patch: PatchInstance { memory_bytes, cpu_millis, ..PatchInstance::default() },
        if_match: None,
    };
    world.must(resize(Some(MemoryBytes::mib(100)), None));
    let web = world.instance("web");
    assert_eq!((web.size, web.cpu_millis, web.memory_bytes), (None, 250, MemoryBytes::mib(100)));
    let node = world.node_of("web");
    let allocation = world.cluster.allocations_on(node).next().unwrap();
    assert_eq!(allocation.spec.resources.memory_bytes, MemoryBytes::mib(100));
    assert_eq!(web.state, InstanceState::Running);
    // Another takes what is left of the node.
    let mut neighbour = CreateInstance::of_image("busybox");
    neighbour.name = Some("neighbour".into());
    neighbour.constraints.node = world.instance("web").node.map(|name| name.to_string());
    (neighbour.cpu_millis, neighbour.memory_bytes) = (Some(100), Some(MemoryBytes::mib(600)));
    world.launch(neighbour).unwrap();
    let problem = world.ask(resize(Some(MemoryBytes::mib(400)), None)).unwrap_err();
    assert_eq!((problem.code, problem.field.as_deref()), (Code::Conflict, Some("memory_bytes")));
    let problem = world.ask(resize(Some(MemoryBytes::mib(1 << 20)), None)).unwrap_err();
    assert_eq!((problem.code, problem.field.as_deref()), (Code::TooLarge, Some("memory_bytes")));
    let problem = world.ask(resize(None, Some(1))).unwrap_err();
    assert_eq!((problem.code, problem.field.as_deref()), (Code::InvalidField, Some("cpu_millis")));
    assert_eq!(world.instance("web").memory_bytes, MemoryBytes::mib(100));
    world.check();
}

#[test]
fn a_limit_is_only_promised_where_a_node_says_that_it_can() {
    let mut world = World::new(15);
    let limited = |name: &str| {
        let mut request = CreateInstance::of_image("busybox");
        request.name = Some(name.into());
        (request.limits.swap_bytes, request.limits.cpu_weight) = (Some(MemoryBytes::mib(32)), Some(50));
        request
    };
    let problem = world.launch(limited("web")).unwrap_err();
    assert_eq!((problem.code, problem.field.as_deref()), (Code::Conflict, Some("limits.swap_bytes")));
    assert!(problem.detail.contains("upgrade it"), "{}", problem.detail);
    let able = world.cluster.find_node("n03").unwrap().id;
    world.has_feature(able, "swap_limit");
    world.has_feature(able, "cpu_weight");
    world.launch(limited("web")).unwrap();
    world.run(1);
    assert_eq!(world.node_of("web"), able);
    let limits = |world: &World| world.cluster.allocations_on(able).next().unwrap().spec.resources.limits;
    assert_eq!((limits(&world).swap_bytes, limits(&world).cpu_weight), (Some(MemoryBytes::mib(32)), Some(50)));

    let patch = |text: &str| Command::PatchInstance {
        instance: "web".into(),
        patch: serde_json::from_str(&format!("{{\"limits\": {text}}}")).unwrap(),
        if_match: None,
    };
    let problem = world.ask(patch(r#"{"io_reads_per_second": 100}"#)).unwrap_err();
    assert_eq!((problem.code, problem.field.as_deref()), (Code::Conflict, Some("limits.io_reads_per_second")));
    let problem = world.ask(patch(r#"{"memory_high_bytes": 1}"#)).unwrap_err();
    assert_eq!((problem.code, problem.field.as_deref()), (Code::InvalidField, Some("limits.memory_high_bytes")));
    world.must(patch(r#"{"swap_bytes": null, "cpu_weight": 200}"#));
    assert_eq!((limits(&world).swap_bytes, limits(&world).cpu_weight), (None, Some(200)));
    assert_eq!(world.instance("web").limits, limits(&world));
    assert_eq!(world.instance("web").size, Some(roost_types::Size::Nano), "it is as large as before");
    let told = events(&world, EventKind::InstanceUpdated);
    assert_eq!(told, ["limits of instance web changed"]);
}

#[test]
fn what_its_limits_do_to_an_instance_is_an_event_once() {
    let mut world = World::new(14);
    world.launch_named("web");
    world.run(1);
    let node = world.node_of("web");
    let first = world.boards[&node].running.values().next().unwrap().clone();
    let mut suffer = |strain: Strain, started_at| {
        let live = world.cluster.live(node).unwrap();
        let (agent_id, boot_id, seq) = (live.agent_id.clone(), live.boot_id.clone(), live.last_seq + 1);
        let allocations = vec![AllocationReport { strain, started_at, ..first.clone() }];
        let request = SyncRequest { agent_id, boot_id, seq, allocations, ..SyncRequest::default() };
        world.must(Command::Sync { node, request: Box::new(request) });
        (events(&world, EventKind::InstanceOomKilled).len(), events(&world, EventKind::InstanceStrained).len())
    };
    let strain = |oom_kills, cpu_throttled| Strain { oom_kills, cpu_throttled, ..Strain::default() };
    assert_eq!(suffer(strain(0, true), first.started_at), (0, 1));
    assert_eq!(suffer(strain(2, true), first.started_at), (1, 1));
    assert_eq!(suffer(strain(2, false), first.started_at), (1, 2));
    let later = first.started_at.map(|at| Timestamp(at.0 + 1000));
    assert_eq!(suffer(strain(1, false), later), (2, 2), "a new start counts from zero");
    let told = events(&world, EventKind::InstanceOomKilled);
    assert!(told[0].contains("2 processes of instance web") && told[0].contains("64 MiB"), "{told:?}");
}
