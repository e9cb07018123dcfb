//! What the controller does against heat that moving work does not cure, and what it asks a person first.

use roost_model::{Cluster, Command, Config, HubNews, ProbeValues, Reply};
use roost_types::instance::CreateInstance;
use roost_types::node::PowerAction;
use roost_types::{
    ActingMode, ActionKind, AlertState, Code, EventKind, InstanceState, MilliCelsius, MilliPercent, NodeId, NodeStatus,
    OperationStatus, PowerState,
};

use crate::world::{World, config, name};
use crate::{events, node_loss};

/// Launches on one node, with a priority.
fn launch(world: &mut World, instance: &str, node: &str, priority: i8) {
    let mut request = CreateInstance { name: Some(instance.into()), priority, ..CreateInstance::of_image("busybox") };
    request.constraints.node = Some(node.into());
    world.launch(request).unwrap();
    world.run(1);
}

fn node_id(cluster: &Cluster, node: &str) -> NodeId {
    cluster.find_node(node).unwrap().id
}

fn set_soc(world: &mut World, node: &str, celsius: i32) {
    let id = node_id(&world.cluster, node);
    world.boards.get_mut(&id).unwrap().soc = MilliCelsius::whole(celsius);
}

fn state(world: &World, instance: &str) -> InstanceState {
    world.instance(instance).state
}

/// The driver of the shell: switches the relay, waits for the confirmation, tells the end.
fn serve_power_orders(world: &mut World) {
    let orders: Vec<_> = world.cluster.power_orders().collect();
    for (operation, node, action) in orders {
        let row = world.cluster.node(node).unwrap().clone();
        world.must(Command::SwitchRelay { node: row.name.clone(), on: true });
        world.run(2);
        if world.relays != 0 {
            world.boards.get_mut(&node).unwrap().powered = false;
        }
        world.run(6);
        let confirmed = world.cluster.power_of(&row.name, world.now) == Some(PowerState::Off);
        let doubt = world.cluster.doubt_of_power(&row.name, world.now);
        let outcome = if confirmed { Ok(()) } else { Err(doubt) };
        world.must(Command::FinishPower { operation, node, action, outcome });
    }
}

fn hasty() -> Config {
    let second = std::time::Duration::from_secs(1);
    Config { halt_after: second, halt_dwell: 3 * second, move_pause: second, ..config() }
}

fn hasty_world(seed: u64) -> World {
    World::with(hasty(), seed)
}

#[test]
fn on_a_critical_board_the_least_important_stops_first_and_goes_on_when_it_has_cooled() {
    let mut world = hasty_world(70);
    for (instance, priority) in [("vital", 50), ("batch", -10), ("web", 0)] {
        launch(&mut world, instance, "n01", priority);
    }
    set_soc(&mut world, "n01", 97);
    world.run(2);
    assert_eq!(
        [state(&world, "batch"), state(&world, "web"), state(&world, "vital")],
        [InstanceState::Pending, InstanceState::Running, InstanceState::Running]
    );
    let halted = events(&world, EventKind::InstanceHalted);
    assert!(
        halted.len() == 1
            && ["halted batch (priority -10) on n01", "SoC 97.0 °C ≥ critical 95.0 °C", "zone shelf-1 inlet 24.0 °C"]
                .iter()
                .all(|words| halted[0].contains(words)),
        "{halted:?}"
    );
    world.run(4);
    assert_eq!((state(&world, "web"), state(&world, "vital")), (InstanceState::Pending, InstanceState::Running));

    // Below critical nothing more is stopped, though it is hot.
    set_soc(&mut world, "n01", 90);
    world.run(10);
    assert_eq!(state(&world, "vital"), InstanceState::Running);
    set_soc(&mut world, "n01", 45);
    world.run(5);
    for instance in ["vital", "batch", "web"] {
        assert_eq!(state(&world, instance), InstanceState::Running, "{instance}");
    }
    world.check();
}

#[test]
fn what_is_halted_and_not_bound_to_its_board_goes_on_elsewhere() {
    let mut world = hasty_world(71);
    world.launch_named("free");
    world.run(1);
    let (from, board) = (world.node_of("free"), world.instance("free").node.unwrap());
    set_soc(&mut world, board.as_str(), 97);
    world.run(8);
    assert!(state(&world, "free") == InstanceState::Running && world.node_of("free") != from);
    world.check();
}

#[test]
fn a_user_may_stop_what_is_halted() {
    let mut world = hasty_world(72);
    launch(&mut world, "web", "n01", 0);
    set_soc(&mut world, "n01", 97);
    world.run(3);
    assert_eq!(state(&world, "web"), InstanceState::Pending);
    world.must(Command::StopInstance { instance: "web".into(), timeout_seconds: None });
    set_soc(&mut world, "n01", 45);
    world.run(5);
    assert_eq!(state(&world, "web"), InstanceState::Stopped);
}

#[test]
fn an_idle_board_that_stays_critical_loses_its_power_with_two_witnesses() {
    let mut world = hasty_world(73);
    launch(&mut world, "web", "n01", 0);
    set_soc(&mut world, "n01", 97);
    world.run(8);
    assert_eq!(world.cluster.power_orders().count(), 1, "nothing runs on it and it is critical all the same");
    serve_power_orders(&mut world);
    assert_eq!(world.relays, 1, "its relay, and no other");
    let id = node_id(&world.cluster, "n01");
    assert_eq!(world.cluster.live(id).unwrap().status, NodeStatus::Down);
    let told = events(&world, EventKind::NodePowerChanged);
    assert!(told[0].contains("SoC 97.0 °C ≥ critical 95.0 °C") && told[1].contains("off, confirmed"), "{told:?}");
}

#[test]
fn a_relay_that_cuts_nothing_leaves_the_power_unknown() {
    let mut world = hasty_world(74);
    world.stuck_relays = true;
    set_soc(&mut world, "n01", 97);
    world.run(8);
    serve_power_orders(&mut world);
    let id = node_id(&world.cluster, "n01");
    assert_eq!(world.cluster.live(id).unwrap().status, NodeStatus::Ready);
    let alert = world.cluster.alerts().find(|alert| alert.key == "power/n01").unwrap();
    assert!(alert.message.contains("unknown: relay hub0:1 is still off"), "{}", alert.message);

    // It switches, and the board speaks on: the wrong board hangs on it.
    let mut world = hasty_world(75);
    world.must(Command::SwitchRelay { node: name("n01"), on: true });
    world.run(2);
    assert_eq!(world.cluster.power_of(&name("n01"), world.now), Some(PowerState::Unknown));
    assert!(world.cluster.doubt_of_power(&name("n01"), world.now).contains("perhaps it cuts another board"));
}

#[test]
fn a_lying_probe_stops_nothing_however_hot_it_says_it_is() {
    let mut world = hasty_world(76);
    launch(&mut world, "web", "n01", 0);
    world.inlets[0] = 120;
    world.run(30);
    assert_eq!(state(&world, "web"), InstanceState::Running, "its own sensor says 45 °C");
    assert!(events(&world, EventKind::InstanceHalted).is_empty() && world.cluster.power_orders().next().is_none());
    // One that the board's own sensor bears out is another matter.
    set_soc(&mut world, "n01", 85);
    world.run(4);
    assert_eq!(state(&world, "web"), InstanceState::Pending);
}

#[test]
fn a_restarted_controller_takes_back_no_power_that_it_did_not_see_switched() {
    let mut world = hasty_world(77);
    let begin = Command::BeginPower { node: "n02".into(), action: PowerAction::Off, despite_condensation: false };
    let Reply::NodeOperation { operation, .. } = world.must(begin.clone()) else { panic!() };
    assert_eq!(world.ask(begin.clone()).unwrap_err().code, Code::Conflict);
    world.restart_controller();
    world.must(Command::Started { version: "0".into() });
    let ended = world.operation(operation);
    assert_eq!((ended.status, ended.error.unwrap().code), (OperationStatus::Failed, Code::PowerUnknown));
    world.must(begin);
}

#[test]
fn a_damp_board_is_switched_on_only_when_a_person_insists() {
    let mut world = World::new(78);
    let id = node_id(&world.cluster, "n01");
    node_loss::cut(&mut world, id);
    let probe =
        ProbeValues { number: 1, temperature: Some(MilliCelsius::whole(15)), humidity: Some(MilliPercent::whole(95)) };
    let news = HubNews { probes: vec![probe], ..HubNews::default() };
    world.must(Command::HubReport { hub: name("hub0"), news: Box::new(news) });
    world.must(Command::Tick);
    let on = |despite_condensation| Command::BeginPower {
        node: "n01".into(),
        action: PowerAction::On,
        despite_condensation,
    };
    let refused = world.ask(on(false)).unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(
        ["15.0 °C", "14.2 °C", "16.2 °C", "despite_condensation"].iter().all(|words| refused.detail.contains(words)),
        "{}",
        refused.detail
    );
    world.must(on(true));
}

fn recommending(seed: u64) -> World {
    let mut config = hasty();
    config.rack.mode = ActingMode::Recommend;
    World::with(config, seed)
}

#[test]
fn in_mode_recommend_nothing_is_done_before_a_person_approves_it() {
    let mut world = recommending(80);
    world.launch_named("web");
    world.run(1);
    let (from, board) = (world.node_of("web"), world.instance("web").node.unwrap());
    set_soc(&mut world, board.as_str(), 85);
    world.run(10);
    assert_eq!(world.node_of("web"), from);
    let actions = world.cluster.actions();
    assert_eq!(actions.len(), 1, "{actions:?}");
    assert_eq!((actions[0].kind, actions[0].subject.as_str()), (ActionKind::Move, "/v1/instances/web"));
    let words = [format!("proposed: move web away from {board}"), "≥ hot 80.0 °C".into(), "inlet 24.0 °C".into()];
    assert!(words.iter().all(|words| actions[0].message.contains(words)), "{}", actions[0].message);
    let alert = world.cluster.alerts().find(|alert| alert.key == format!("action/{}", actions[0].id)).unwrap().clone();
    assert_eq!(alert.state, AlertState::Firing);

    world.must(Command::ApproveAction { action: actions[0].id });
    world.run(3);
    assert_ne!(world.node_of("web"), from);
    assert!(world.cluster.actions().is_empty());
    assert_eq!(world.cluster.alerts().find(|other| other.id == alert.id).unwrap().state, AlertState::Resolved);
    let moved = events(&world, EventKind::InstanceMoved);
    assert!(moved.len() == 1 && moved[0].contains("approved: move web away"), "{moved:?}");
    let again = world.ask(Command::ApproveAction { action: actions[0].id }).unwrap_err();
    assert_eq!(again.code, Code::NotFound);
}

#[test]
fn a_proposal_that_is_no_longer_of_use_expires() {
    let mut world = recommending(81);
    world.launch_named("web");
    world.run(1);
    let board = world.instance("web").node.unwrap();
    set_soc(&mut world, board.as_str(), 85);
    world.run(5);
    let action = world.cluster.actions().remove(0);
    set_soc(&mut world, board.as_str(), 45);
    world.run(10);
    assert!(world.cluster.actions().is_empty());
    assert_eq!(world.ask(Command::ApproveAction { action: action.id }).unwrap_err().code, Code::NotFound);
    let (proposed, expired) = (events(&world, EventKind::ActionProposed), events(&world, EventKind::ActionExpired));
    assert_eq!((proposed.len(), expired.len()), (1, 1), "{proposed:?} {expired:?}");
    assert!(events(&world, EventKind::InstanceMoved).is_empty());
}

#[test]
fn halts_and_cuts_wait_for_a_person_too_and_fans_do_not() {
    let mut world = recommending(82);
    launch(&mut world, "web", "n01", 0);
    set_soc(&mut world, "n01", 97);
    world.run(8);
    let kinds = |world: &World| world.cluster.actions().iter().map(|action| action.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&world), [ActionKind::Halt]);
    assert_eq!(state(&world, "web"), InstanceState::Running);
    assert_eq!(world.cluster.wish_of_hub(&name("hub0")).fans[0], (1, 10_000));
    let id = world.cluster.actions()[0].id;
    world.must(Command::ApproveAction { action: id });
    world.run(6);
    assert_eq!((kinds(&world), state(&world, "web")), (vec![ActionKind::CutPower], InstanceState::Pending));
    assert!(world.cluster.power_orders().next().is_none());
    let id = world.cluster.actions()[0].id;
    world.must(Command::ApproveAction { action: id });
    assert_eq!(world.cluster.power_orders().count(), 1);
}

#[test]
fn a_rack_does_not_set_everything_in_motion_at_once() {
    let mut world = World::with(Config { move_pause: std::time::Duration::from_secs(20), ..hasty() }, 83);
    for instance in ["a", "b"] {
        world.launch_named(instance);
    }
    world.run(1);
    let boards = ["a", "b"].map(|instance| world.instance(instance).node.unwrap());
    for board in &boards {
        set_soc(&mut world, board.as_str(), 85);
    }
    world.run(15);
    assert_eq!(events(&world, EventKind::InstanceMoved).len(), 1);
    world.run(10);
    assert_eq!(events(&world, EventKind::InstanceMoved).len(), 2);
}
