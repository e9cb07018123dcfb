//! The pure core in a small world: launches, heat, drains, silence and restarts, each told as a story.

mod acting;
mod cooling;
mod images;
mod lifecycle;
mod limits;
mod network;
mod node_loss;
mod world;

use roost_model::{Command, Idempotency, Reply, view};
use roost_types::allocation::Strain;
use roost_types::image::{RootfsFormat, Startup};
use roost_types::instance::{CreateInstance, PatchInstance};
use roost_types::node::PatchNode;
use roost_types::operation::Progress;
use roost_types::placement::{Constraints, Filter};
use roost_types::{
    AllocationReport, AllocationState, Arch, Code, Desired, Eligibility, EventKind, Image, ImageDigest, InstanceState,
    MemoryBytes, MilliCelsius, NodeLossPolicy, OperationStatus, SnapshotState, SyncRequest, ThermalState, Timestamp,
};
use world::{World, name};

fn events(world: &World, kind: EventKind) -> Vec<String> {
    let all = world.cluster.events_after(0, usize::MAX);
    all.iter().filter(|event| event.kind == kind).map(|event| event.message.clone()).collect()
}

#[test]
fn a_launch_is_placed_at_once_and_done_when_it_runs() {
    let mut world = World::new(1);
    let operation = world.launch_named("web");
    assert_eq!(world.operation(operation).status, OperationStatus::Running);
    assert_eq!(world.instance("web").state, InstanceState::Starting);
    world.run(1);
    assert_eq!(world.operation(operation).status, OperationStatus::Succeeded);
    let web = world.instance("web");
    assert_eq!((web.state, web.desired), (InstanceState::Running, Desired::Running));
    assert!(web.address.is_some() && web.node.is_some());
    world.check();
}

#[test]
fn stop_start_restart_and_delete_each_end_when_the_node_says_so() {
    let mut world = World::new(2);
    world.launch_named("web");
    world.run(1);
    for (command, state) in [
        (Command::StopInstance { instance: "web".into(), timeout_seconds: None }, InstanceState::Stopped),
        (Command::StartInstance { instance: "web".into() }, InstanceState::Running),
        (Command::RestartInstance { instance: "web".into() }, InstanceState::Running),
    ] {
        let Reply::Instance { operation, .. } = world.must(command) else { panic!() };
        assert!(!world.operation(operation).status.is_final());
        world.run(1);
        assert_eq!(world.operation(operation).status, OperationStatus::Succeeded);
        assert_eq!(world.instance("web").state, state);
    }
    let Reply::Instance { operation, .. } = world.must(Command::DeleteInstance { instance: "web".into() }) else {
        panic!()
    };
    world.run(1);
    assert_eq!(world.operation(operation).status, OperationStatus::Succeeded);
    assert_eq!(world.cluster.find_instance("web").unwrap_err().code, Code::NotFound);
    assert!(world.cluster.nodes().all(|node| world.cluster.allocations_on(node.id).next().is_none()));
}

#[test]
fn the_same_request_with_the_same_key_launches_once() {
    let mut world = World::new(3);
    let request = || Box::new(CreateInstance { name: Some("web".into()), ..CreateInstance::of_image("busybox") });
    let key = |print: &str| Some(Idempotency { key: "k".into(), fingerprint: print.into() });
    let first = world.must(Command::CreateInstance { request: request(), idempotency: key("a") });
    assert_eq!(world.must(Command::CreateInstance { request: request(), idempotency: key("a") }), first);
    let other = world.ask(Command::CreateInstance { request: request(), idempotency: key("b") }).unwrap_err();
    assert_eq!(other.code, Code::IdempotencyMismatch);
    let second = world.ask(Command::CreateInstance { request: request(), idempotency: None }).unwrap_err();
    assert_eq!((second.code, second.field.as_deref()), (Code::NameTaken, Some("name")));
}

#[test]
fn what_no_board_can_hold_is_refused_with_the_dimension() {
    let mut world = World::new(4);
    let request = CreateInstance {
        cpu_millis: Some(100),
        memory_bytes: Some(MemoryBytes::mib(4096)),
        ..CreateInstance::of_image("busybox")
    };
    let problem = world.launch(request).unwrap_err();
    assert_eq!((problem.code, problem.field.as_deref()), (Code::TooLarge, Some("memory_bytes")));
    assert!(problem.detail.contains("928 MiB"), "{}", problem.detail);
    assert_eq!(world.cluster.instances().count(), 0);
}

#[test]
fn a_port_is_refused_only_when_it_is_taken_wherever_it_could_run() {
    let mut world = World::new(5);
    let request = |node: Option<&str>| CreateInstance {
        publish: vec!["8080:80".parse().unwrap()],
        constraints: Constraints { node: node.map(str::to_owned), ..Constraints::default() },
        ..CreateInstance::of_image("busybox")
    };
    for _ in 0..6 {
        world.launch(request(None)).unwrap();
    }
    let problem = world.launch(request(None)).unwrap_err();
    assert_eq!((problem.code, problem.field.as_deref()), (Code::PortTaken, Some("publish")));
    assert_eq!(world.launch(request(Some("n01"))).unwrap_err().code, Code::PortTaken);
}

#[test]
fn a_hot_shelf_is_left_one_instance_at_a_time_and_filled_again_when_it_has_cooled() {
    let mut world = World::new(6);
    for instance in ["a", "b", "c"] {
        let constraints = Constraints { node: Some("n01".into()), ..Constraints::default() };
        let request = CreateInstance {
            name: Some(instance.into()),
            constraints: if instance == "c" { Constraints::default() } else { constraints },
            ..CreateInstance::of_image("busybox")
        };
        world.launch(request).unwrap();
    }
    world.run(1);
    let n01 = world.cluster.find_node("n01").unwrap().id;
    let Reply::Instance { .. } = world.must(Command::DeleteInstance { instance: "b".into() }) else { panic!() };
    world.run(1);
    world.launch_named("free");
    world.run(1);
    if world.node_of("free") != n01 {
        world.must(Command::MoveInstance { instance: "free".into(), to: Some("n01".into()) });
        world.run(1);
    }
    assert_eq!(world.node_of("free"), n01);
    world.inlets[0] = 41;
    world.run(3);
    assert_eq!(
        view::node(&world.cluster, world.cluster.node(n01).unwrap(), world.now).thermal.state,
        ThermalState::Hot
    );
    assert_ne!(world.node_of("free"), n01, "it was free to go to a cooler board");
    assert_eq!(world.node_of("a"), n01, "its constraint keeps it");
    let moved = events(&world, EventKind::InstanceMoved);
    assert!(moved.last().unwrap().contains("inlet 41.0 °C ≥ hot 35.0 °C"), "{moved:?}");

    let constraints = Constraints { node: Some("n02".into()), ..Constraints::default() };
    let request = CreateInstance { name: Some("late".into()), constraints, ..CreateInstance::of_image("busybox") };
    let operation = world.launch(request).unwrap();
    world.run(1);
    assert_eq!(world.operation(operation).status, OperationStatus::Pending);
    let why = view::placement(&world.cluster, "late").unwrap();
    assert_eq!(why.filtered_by.get(&Filter::Thermal), Some(&1));
    let hot = why.filtered.iter().find(|node| node.filter == Filter::Thermal).unwrap();
    assert!(hot.detail.contains("41.0 °C") && hot.detail.contains("old"), "{}", hot.detail);
    world.inlets[0] = 34;
    world.run(5);
    assert_eq!(world.instance("late").state, InstanceState::Pending, "34 °C is inside the hysteresis");
    world.inlets[0] = 24;
    world.run(5);
    assert_eq!(world.instance("late").state, InstanceState::Running);
    world.check();
}

#[test]
fn half_of_the_rack_hot_at_once_is_a_cooling_failure_and_moves_nothing() {
    let mut world = World::new(7);
    world.launch_named("web");
    world.run(1);
    let before = world.node_of("web");
    world.inlets = [41, 41, 24];
    world.run(3);
    assert_eq!(world.node_of("web"), before);
    assert_eq!(events(&world, EventKind::BrakeEngaged).len(), 1);
    assert!(world.cluster.alerts().any(|alert| alert.key == "rack/heat" && alert.resolved_at.is_none()));
}

#[test]
fn a_board_that_will_be_hot_is_relieved_before_it_is() {
    let mut world = World::new(17);
    world.launch_named("web");
    world.run(1);
    let from = world.node_of("web");
    for tenths in (600..=795).step_by(5) {
        world.boards.get_mut(&from).unwrap().soc = MilliCelsius(tenths * 100);
        world.run(1);
    }
    assert_ne!(world.node_of("web"), from);
    let moved = events(&world, EventKind::InstanceMoved);
    assert!(moved[0].contains("≥ hot 80.0 °C in 2 s"), "{moved:?}");
    let hot = events(&world, EventKind::NodeThermalChanged).into_iter().any(|event| event.contains("is hot"));
    assert!(!hot, "it was relieved too late");
    world.check();
}

#[test]
fn in_a_rack_that_is_hot_all_over_boards_far_from_hot_still_take_work() {
    let mut world = World::new(18);
    world.inlets = [37; 3];
    world.run(3);
    assert_eq!(events(&world, EventKind::BrakeEngaged).len(), 1);
    world.launch_named("first");
    world.run(1);
    assert_eq!(world.instance("first").state, InstanceState::Running);
    for board in world.boards.values_mut() {
        board.soc = MilliCelsius::whole(76);
    }
    world.run(1);
    world.launch_named("second");
    world.run(1);
    assert_eq!(world.instance("second").state, InstanceState::Pending);
    let why = view::placement(&world.cluster, "second").unwrap();
    assert_eq!(why.filtered_by.get(&Filter::Thermal), Some(&6), "{why:?}");
    assert_eq!(events(&world, EventKind::InstanceMoved).len(), 0);
}

#[test]
fn a_lost_hub_makes_every_zone_unknown_and_boards_are_judged_by_their_own_soc() {
    let mut world = World::new(8);
    world.must(Command::HubLost { hub: name("hub0"), reason: "the line closed".into() });
    world.must(Command::Tick);
    let rack = view::rack(&world.cluster, world.now);
    assert!(rack.zones.iter().all(|zone| zone.thermal == ThermalState::Unknown && zone.temperature.is_none()));
    assert_eq!(events(&world, EventKind::HubDisconnected).len(), 1);
    world.launch_named("web");
    assert!(world.instance("web").node.is_some());
}

#[test]
fn a_moving_instance_never_has_two_allocations_that_may_run() {
    let mut world = World::new(9);
    world.launch_named("web");
    world.run(1);
    let from = world.node_of("web");
    world.boards.get_mut(&from).unwrap().held = true;
    world.must(Command::MoveInstance { instance: "web".into(), to: None });
    for _ in 0..4 {
        world.run(1);
        world.check();
        assert_eq!(world.instance("web").state, InstanceState::Stopping, "the old node has not stopped it yet");
    }
    world.boards.get_mut(&from).unwrap().held = false;
    world.run(2);
    world.check();
    assert_eq!(world.instance("web").state, InstanceState::Running);
    assert_ne!(world.node_of("web"), from);
    assert!(world.cluster.allocations_on(from).next().is_none(), "nothing is left on the old node");
}

#[test]
fn a_report_of_an_older_wish_or_of_a_foreign_allocation_is_dropped() {
    let mut world = World::new(13);
    world.launch_named("web");
    world.run(1);
    let node = world.node_of("web");
    let allocation = world.instance("web").allocation.unwrap();
    world.boards.get_mut(&node).unwrap().held = true;
    world.must(Command::StopInstance { instance: "web".into(), timeout_seconds: None });
    let report = |generation, state| AllocationReport {
        id: allocation,
        generation,
        state,
        reason: "late".into(),
        restarts: 9,
        started_at: None,
        exit: None,
        strain: Strain::default(),
        snapshots: Vec::new(),
        restore: None,
    };
    let request = |world: &World, id, seq, report| SyncRequest {
        agent_id: world.cluster.live(id).unwrap().agent_id.clone(),
        boot_id: world.cluster.live(id).unwrap().boot_id.clone(),
        seq,
        allocations: vec![report],
        ..SyncRequest::default()
    };
    let stale = request(&world, node, 10_000, report(1, AllocationState::Failed));
    world.must(Command::Sync { node, request: Box::new(stale) });
    assert_eq!(world.instance("web").state, InstanceState::Stopping);
    let other = *world.boards.keys().find(|id| **id != node).unwrap();
    let foreign = request(&world, other, 10_000, report(u64::MAX, AllocationState::Failed));
    world.must(Command::Sync { node: other, request: Box::new(foreign) });
    assert_eq!(world.instance("web").state, InstanceState::Stopping);
    let late = request(&world, node, 9_999, report(u64::MAX, AllocationState::Failed));
    let Reply::Synced { stale, .. } = world.must(Command::Sync { node, request: Box::new(late) }) else { panic!() };
    assert!(stale, "an older request that arrives late is dropped");
}

#[test]
fn a_drain_empties_a_node_and_leaves_it_cordoned() {
    let mut world = World::new(14);
    for instance in ["a", "b", "c"] {
        world.launch_named(instance);
    }
    world.run(1);
    let node = world.node_of("a");
    let Reply::NodeOperation { operation, .. } = world.must(Command::DrainNode { node: node.to_string() }) else {
        panic!()
    };
    world.run(6);
    assert_eq!(world.operation(operation).status, OperationStatus::Succeeded);
    assert!(world.cluster.allocations_on(node).next().is_none());
    assert_eq!(world.cluster.node(node).unwrap().eligibility, Eligibility::Cordoned);
    let patch = PatchNode { eligibility: Some(Eligibility::Eligible), ..PatchNode::default() };
    world.must(Command::PatchNode { node: node.to_string(), patch, if_match: None });
    assert_eq!(world.cluster.node(node).unwrap().eligibility, Eligibility::Eligible);
}

#[test]
fn a_drain_ends_only_when_what_it_moved_runs_elsewhere() {
    let mut world = World::new(16);
    world.launch_named("a");
    world.run(1);
    let node = world.node_of("a");
    world.boards.iter_mut().filter(|(id, _)| **id != node).for_each(|(_, board)| board.held = true);
    let Reply::NodeOperation { operation, .. } = world.must(Command::DrainNode { node: node.to_string() }) else {
        panic!()
    };
    world.run(3);
    assert!(!world.operation(operation).status.is_final(), "it has stopped here and does not run there yet");
    world.boards.values_mut().for_each(|board| board.held = false);
    world.run(3);
    assert_eq!(world.operation(operation).status, OperationStatus::Succeeded);
    assert!(world.cluster.allocations_on(node).next().is_none());
}

#[test]
fn a_restarted_controller_knows_everything_durable_and_restarts_nothing() {
    let mut world = World::new(15);
    world.launch_named("web");
    world.run(1);
    let before = world.instance("web");
    world.restart_controller();
    world.run(2);
    let after = world.instance("web");
    assert_eq!((after.id, after.node, after.started_at), (before.id, before.node, before.started_at));
    assert_eq!(after.state, InstanceState::Running);
}

mod simulation {
    //! Any order of what can happen keeps the invariants, and when it stops, what is wanted becomes what is.

    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Act {
        Launch(u8),
        Stop(u8),
        Start(u8),
        Restart(u8),
        Delete(u8),
        Move(u8),
        Power(u8, bool),
        Cut(u8),
        Hold(u8, bool),
        Full(u8, bool),
        Rename(u8, u8),
        Snapshot(u8),
        Restore(u8),
        DropSnapshot(u8),
        Clone(u8, u8),
        Heat(u8, i32),
        Drain(u8),
        RestartController,
        Pass(u8),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (0..8u8).prop_map(Act::Launch),
            1 => (0..8u8).prop_map(Act::Stop),
            1 => (0..8u8).prop_map(Act::Start),
            1 => (0..8u8).prop_map(Act::Restart),
            1 => (0..8u8).prop_map(Act::Delete),
            2 => (0..8u8).prop_map(Act::Move),
            2 => (0..6u8, any::<bool>()).prop_map(|(n, on)| Act::Power(n, on)),
            1 => (0..6u8).prop_map(Act::Cut),
            2 => (0..6u8, any::<bool>()).prop_map(|(n, held)| Act::Hold(n, held)),
            1 => (0..6u8, any::<bool>()).prop_map(|(n, full)| Act::Full(n, full)),
            1 => (0..8u8, 0..8u8).prop_map(|(old, new)| Act::Rename(old, new)),
            3 => (0..8u8).prop_map(Act::Snapshot),
            2 => (0..8u8).prop_map(Act::Restore),
            1 => (0..8u8).prop_map(Act::DropSnapshot),
            2 => (0..8u8, 0..8u8).prop_map(|(from, to)| Act::Clone(from, to)),
            2 => (0..3u8, 20..50i32).prop_map(|(zone, celsius)| Act::Heat(zone, celsius)),
            1 => (0..6u8).prop_map(Act::Drain),
            1 => Just(Act::RestartController),
            4 => (1..12u8).prop_map(Act::Pass),
        ]
    }

    fn perform(world: &mut World, act: &Act) {
        let board = |world: &World, n: u8| *world.boards.keys().nth(usize::from(n)).unwrap();
        let instance = |n: u8| format!("i{n}");
        // A refusal is a good answer: what was asked may not fit the present state.
        let _ = match act {
            Act::Launch(n) => {
                let mut request = CreateInstance { name: Some(instance(*n)), ..CreateInstance::of_image("busybox") };
                // Some are bound to a board, some go elsewhere when theirs is silent.
                request.constraints.node = (*n >= 6).then(|| format!("n{n:02}", n = n - 5));
                request.node_loss = if *n % 2 == 0 { NodeLossPolicy::Keep } else { NodeLossPolicy::Replace };
                world.launch(request).map(|_| Reply::Done)
            }
            Act::Stop(n) => world.ask(Command::StopInstance { instance: instance(*n), timeout_seconds: None }),
            Act::Start(n) => world.ask(Command::StartInstance { instance: instance(*n) }),
            Act::Restart(n) => world.ask(Command::RestartInstance { instance: instance(*n) }),
            Act::Delete(n) => world.ask(Command::DeleteInstance { instance: instance(*n) }),
            Act::Move(n) => world.ask(Command::MoveInstance { instance: instance(*n), to: None }),
            Act::Drain(n) => world.ask(Command::DrainNode { node: board(world, *n).to_string() }),
            Act::Power(n, on) => {
                let id = board(world, *n);
                world.boards.get_mut(&id).unwrap().powered = *on;
                Ok(Reply::Done)
            }
            Act::Cut(n) => {
                let id = board(world, *n);
                node_loss::cut(world, id);
                Ok(Reply::Done)
            }
            Act::Hold(n, held) => {
                let id = board(world, *n);
                world.boards.get_mut(&id).unwrap().held = *held;
                Ok(Reply::Done)
            }
            Act::Full(n, full) => {
                let id = board(world, *n);
                world.boards.get_mut(&id).unwrap().full = *full;
                Ok(Reply::Done)
            }
            Act::Rename(old, new) => {
                let patch = PatchInstance { name: Some(instance(*new)), ..PatchInstance::default() };
                world.ask(Command::PatchInstance { instance: instance(*old), patch, if_match: None })
            }
            Act::Snapshot(n) => world.ask(Command::CreateSnapshot { instance: instance(*n), name: None }),
            Act::Restore(n) => world.ask(Command::RestoreSnapshot { instance: instance(*n), snapshot: "s1".into() }),
            Act::DropSnapshot(n) => {
                world.ask(Command::DeleteSnapshot { instance: instance(*n), snapshot: "s1".into() })
            }
            Act::Clone(from, to) => lifecycle::launch_from(world, &instance(*from), "s1", &instance(*to)),
            Act::Heat(zone, celsius) => {
                world.inlets[usize::from(*zone)] = *celsius;
                Ok(Reply::Done)
            }
            Act::RestartController => {
                world.restart_controller();
                Ok(Reply::Done)
            }
            Act::Pass(seconds) => {
                world.run(i64::from(*seconds));
                Ok(Reply::Done)
            }
        };
    }

    /// Seeds of one run; `cargo xtask test --soak` asks for the full figure.
    fn cases() -> u32 {
        if std::env::var_os("ROOST_SOAK").is_some() { 10_000 } else { 96 }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn invariants_hold_and_wishes_come_true(seed in any::<u64>(), acts in prop::collection::vec(act(), 1..40)) {
            let mut world = World::new(seed);
            for act in &acts {
                perform(&mut world, act);
                world.check();
            }
            for board in world.boards.values_mut() {
                (board.powered, board.held, board.full) = (true, false, false);
            }
            world.inlets = [24; 3];
            world.run(90);
            let nodes: Vec<_> = world.cluster.nodes().map(|node| node.id).collect();
            for node in nodes {
                let patch = PatchNode { eligibility: Some(Eligibility::Eligible), ..PatchNode::default() };
                world.must(Command::PatchNode { node: node.to_string(), patch, if_match: None });
            }
            world.run(30);
            world.check();
            for row in world.cluster.instances() {
                let shown = view::instance(&world.cluster, row);
                let wanted = match row.desired {
                    Desired::Running => InstanceState::Running,
                    Desired::Stopped => InstanceState::Stopped,
                    Desired::Deleted => panic!("{} should be gone", row.name),
                };
                if shown.state == InstanceState::Pending && shown.state_reason.contains("snapshot") {
                    // What it was to begin with was lost with its node; that is said, and nothing else can be done.
                    continue;
                }
                prop_assert_eq!(shown.state, wanted, "{}: {}", shown.name, shown.state_reason);
                let settled = row.snapshots.iter().all(|snapshot| snapshot.state == SnapshotState::Ready);
                prop_assert!(settled && row.restoring.is_none(), "{}: {:?}", row.name, row.snapshots);
            }
            let waits = |operation: &&std::sync::Arc<roost_types::Operation>| {
                operation.status == OperationStatus::Pending && world.cluster.pending().next().is_some()
            };
            let open = world.cluster.operations().filter(|op| !op.status.is_final() && !waits(op)).count();
            prop_assert_eq!(open, 0, "an operation never ended");
        }
    }
}

/// What an import would store.
fn imported(byte: u8, arch: Arch) -> Box<Image> {
    Box::new(Image {
        digest: ImageDigest::from_sha256(&[byte; 32]),
        aliases: vec!["alpine".into()],
        arch,
        format: RootfsFormat::Erofs,
        size_bytes: 1 << 20,
        init: None,
        startup: Startup { command: vec!["/bin/app".into()], ..Startup::default() },
        description: String::new(),
        created_at: Timestamp(0),
    })
}

#[test]
fn an_import_ends_with_its_image_and_a_cancelled_one_without() {
    let mut world = World::new(40);
    let begin = |world: &mut World| match world.must(Command::BeginImport { alias: "alpine".into() }) {
        Reply::Operation(id) => id,
        other => panic!("{other:?}"),
    };
    let id = begin(&mut world);
    let progress = Progress { done: 5, total: 9, unit: "bytes".into() };
    world.must(Command::ImportProgress { operation: id, progress: progress.clone() });
    assert_eq!((world.operation(id).status, world.operation(id).progress), (OperationStatus::Running, progress));
    world.must(Command::FinishImport { operation: id, outcome: Ok(imported(1, Arch::Armhf)) });
    assert_eq!(world.operation(id).status, OperationStatus::Succeeded);
    assert!(world.cluster.find_image("alpine").is_ok());

    let id = begin(&mut world);
    world.must(Command::CancelOperation { operation: id });
    let late = Command::FinishImport { operation: id, outcome: Ok(imported(2, Arch::Armhf)) };
    assert_eq!(world.ask(late).unwrap_err().code, Code::Conflict);
    assert_eq!(world.cluster.find_image("alpine").unwrap().digest, ImageDigest::from_sha256(&[1; 32]));

    let id = begin(&mut world);
    world.must(Command::Started { version: "next".into() });
    assert_eq!(world.operation(id).status, OperationStatus::Failed);
}

#[test]
fn what_an_image_says_of_its_command_reaches_a_node_that_knows_of_it() {
    let mut world = World::new(42);
    let mut image = imported(1, Arch::Armhf);
    (image.startup.user, image.startup.workdir, image.startup.stop_signal) = ("app:5".into(), "/srv".into(), Some(3));
    world.must(Command::AddImage { image });
    let request = |name: &str, command: Option<Vec<String>>| CreateInstance {
        name: Some(name.into()),
        command,
        ..CreateInstance::of_image("alpine")
    };
    world.launch(request("app", None)).unwrap();
    world.run(1);
    assert_eq!(world.instance("app").state, InstanceState::Pending, "no agent here says that it knows of users");
    let why = roost_model::view::placement(&world.cluster, "app").unwrap().filtered.remove(0).detail;
    assert!(why.contains("earlier release: upgrade it"), "{why}");

    let able = world.cluster.find_node("n04").unwrap().id;
    world.has_feature(able, "run_as");
    world.launch(request("other", Some(vec!["/bin/other".into()]))).unwrap();
    world.run(2);
    for (name, command) in [("app", "/bin/app"), ("other", "/bin/other")] {
        let allocation = world.instance(name).allocation.unwrap();
        let row = world.cluster.allocation(allocation).unwrap();
        let spec = &row.spec;
        assert_eq!((row.node, spec.command[0].as_str()), (able, command));
        assert_eq!((spec.user.as_str(), spec.workdir.as_str(), spec.stop_signal), ("app:5", "/srv", Some(3)));
    }
}

#[test]
fn an_alias_stands_for_one_image_per_instruction_set_and_the_node_decides() {
    let mut world = World::new(41);
    for image in [imported(1, Arch::Amd64), imported(2, Arch::Armhf)] {
        world.must(Command::AddImage { image });
    }
    assert_eq!(world.cluster.find_image("alpine").unwrap_err().code, Code::Conflict);
    world.launch(CreateInstance { name: Some("app".into()), ..CreateInstance::of_image("alpine") }).unwrap();
    let taken = ImageDigest::from_sha256(&[2; 32]).to_string();
    assert_eq!(world.instance("app").image_digest, taken, "every node of this world is armhf");
    world.run(1);
    assert_eq!(world.instance("app").state, InstanceState::Running);

    // A newer image of one instruction set takes the alias from the older of the same, and from no other.
    world.must(Command::AddImage { image: imported(3, Arch::Armhf) });
    let stands_for: Vec<_> =
        world.cluster.find_images("alpine").unwrap().iter().map(|row| row.digest.clone()).collect();
    assert_eq!(stands_for, [3, 1].map(|byte| ImageDigest::from_sha256(&[byte; 32])));
    assert_eq!(world.instance("app").image_digest, taken, "what runs is not exchanged");
    let delete = Command::DeleteImage { image: ImageDigest::from_sha256(&[1; 32]).to_string() };
    world.must(delete);
    assert!(world.cluster.find_image("alpine").is_ok());
    world.check();
}
