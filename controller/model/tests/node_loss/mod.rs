//! What becomes of instances whose node is silent, or has no power any more.

use roost_model::{Command, Reply};
use roost_types::instance::CreateInstance;
use roost_types::node::PowerAction;
use roost_types::placement::Constraints;
use roost_types::{Desired, EventKind, InstanceState, MemoryBytes, NodeId, NodeStatus, OperationStatus};

use crate::events;
use crate::world::World;

/// The board's power goes, and the driver confirms it.
pub fn cut(world: &mut World, node: NodeId) {
    world.boards.get_mut(&node).unwrap().powered = false;
    let begin = Command::BeginPower { node: node.to_string(), action: PowerAction::Off, despite_condensation: false };
    let Reply::NodeOperation { operation, .. } = world.must(begin) else { panic!() };
    world.must(Command::FinishPower { operation, node, action: PowerAction::Off, outcome: Ok(()) });
    world.run(1);
}

/// Its power is back and its agent starts.
fn restore(world: &mut World, node: NodeId) {
    world.boards.get_mut(&node).unwrap().powered = true;
    world.introduce(node);
    world.run(1);
    world.check();
}

fn pinned(world: &mut World, name: &str, node: &str) {
    let constraints = Constraints { node: Some(node.into()), ..Constraints::default() };
    let request = CreateInstance { name: Some(name.into()), constraints, ..CreateInstance::of_image("busybox") };
    world.launch(request).unwrap();
    world.run(1);
}

#[test]
fn a_silent_node_is_unreachable_then_down_and_keeps_what_it_has() {
    let mut world = World::new(10);
    world.launch_named("web");
    world.run(1);
    let node = world.node_of("web");
    world.boards.get_mut(&node).unwrap().powered = false;
    world.run(6);
    assert_eq!(world.instance("web").state, InstanceState::Unreachable);
    assert_eq!(world.cluster.live(node).unwrap().status, NodeStatus::Unreachable);
    world.run(30);
    assert_eq!(world.cluster.live(node).unwrap().status, NodeStatus::Down);
    assert_eq!(world.node_of("web"), node, "unknown is not dead");
    world.boards.get_mut(&node).unwrap().powered = true;
    world.run(1);
    assert_eq!(world.instance("web").state, InstanceState::Running);
}

#[test]
fn a_confirmed_power_cut_moves_what_the_node_had_and_its_return_cleans_up() {
    let mut world = World::new(11);
    world.launch_named("web");
    world.run(1);
    let node = world.node_of("web");
    world.boards.get_mut(&node).unwrap().powered = false;
    let begin = Command::BeginPower { node: node.to_string(), action: PowerAction::Off, despite_condensation: false };
    let Reply::NodeOperation { operation, .. } = world.must(begin) else { panic!() };
    world.must(Command::FinishPower { operation, node, action: PowerAction::Off, outcome: Ok(()) });
    world.run(1);
    assert_ne!(world.node_of("web"), node);
    assert_eq!(world.instance("web").state, InstanceState::Running);
    world.boards.get_mut(&node).unwrap().powered = true;
    world.introduce(node);
    world.run(1);
    world.check();
    assert!(world.cluster.allocations_on(node).next().is_none(), "the stale allocation is gone");
}

#[test]
fn most_nodes_silent_at_once_moves_nothing() {
    let mut world = World::new(12);
    let mut request = CreateInstance::of_image("busybox");
    request.name = Some("web".into());
    request.node_loss = roost_types::NodeLossPolicy::Replace;
    world.launch(request).unwrap();
    world.run(1);
    let node = world.node_of("web");
    for board in world.boards.values_mut().take(4) {
        board.powered = false;
    }
    world.boards.get_mut(&node).unwrap().powered = false;
    world.run(40);
    assert_eq!(world.node_of("web"), node);
    assert_eq!(events(&world, EventKind::BrakeEngaged).len(), 1);
}

#[test]
fn what_no_other_node_may_take_keeps_its_allocation_and_its_files() {
    let mut world = World::new(20);
    pinned(&mut world, "db", "n03");
    let (before, node) = (world.instance("db").allocation, world.node_of("db"));
    cut(&mut world, node);
    let waits = world.instance("db");
    assert_eq!((waits.state, waits.allocation), (InstanceState::Pending, before));
    assert!(waits.state_reason.starts_with("node n03 is lost; "), "{}", waits.state_reason);
    world.restart_controller();
    world.run(40);
    assert_eq!(world.instance("db").allocation, before, "a restarted controller knows it too");
    restore(&mut world, node);
    let back = world.instance("db");
    assert_eq!((back.state, back.allocation), (InstanceState::Running, before));
}

#[test]
fn a_stranded_instance_is_placed_elsewhere_as_soon_as_there_is_room() {
    let mut world = World::new(21);
    for n in 1..=6 {
        let half = CreateInstance {
            name: Some(format!("i{n}")),
            cpu_millis: Some(100),
            memory_bytes: Some(MemoryBytes::mib(600)),
            ..CreateInstance::of_image("busybox")
        };
        world.launch(half).unwrap();
    }
    world.run(1);
    let (node, before) = (world.node_of("i1"), world.instance("i1").allocation);
    cut(&mut world, node);
    assert_eq!((world.instance("i1").state, world.instance("i1").allocation), (InstanceState::Pending, before));
    let Reply::Instance { operation, .. } = world.must(Command::RestartInstance { instance: "i1".into() }) else {
        panic!()
    };
    assert_eq!(world.operation(operation).status, OperationStatus::Pending);
    world.must(Command::DeleteInstance { instance: "i2".into() });
    world.run(1);
    assert_eq!(world.instance("i1").state, InstanceState::Running);
    assert_ne!(world.instance("i1").allocation, before);
    assert_eq!(world.operation(operation).status, OperationStatus::Succeeded);
    restore(&mut world, node);
    assert!(world.cluster.allocations_on(node).next().is_none(), "what is stale there is gone");
}

#[test]
fn a_stranded_instance_is_stopped_at_once_and_starts_where_its_files_are() {
    let mut world = World::new(22);
    pinned(&mut world, "db", "n03");
    let (before, node) = (world.instance("db").allocation, world.node_of("db"));
    cut(&mut world, node);
    let Reply::Instance { operation, .. } =
        world.must(Command::StopInstance { instance: "db".into(), timeout_seconds: None })
    else {
        panic!()
    };
    assert_eq!(world.operation(operation).status, OperationStatus::Succeeded);
    assert_eq!(world.instance("db").state, InstanceState::Stopped);
    world.must(Command::StartInstance { instance: "db".into() });
    assert_eq!((world.instance("db").state, world.instance("db").desired), (InstanceState::Pending, Desired::Running));
    restore(&mut world, node);
    assert_eq!((world.instance("db").state, world.instance("db").allocation), (InstanceState::Running, before));
}

#[test]
fn a_move_to_a_node_that_is_lost_turns_back_to_the_files() {
    let mut world = World::new(23);
    world.launch_named("web");
    world.run(1);
    let (from, before) = (world.node_of("web"), world.instance("web").allocation);
    world.boards.get_mut(&from).unwrap().held = true;
    world.must(Command::MoveInstance { instance: "web".into(), to: None });
    let to = world.node_of("web");
    assert_ne!(to, from);
    cut(&mut world, to);
    assert_eq!(world.instance("web").allocation, before);
    world.boards.get_mut(&from).unwrap().held = false;
    world.run(1);
    world.check();
    assert_eq!(world.instance("web").state, InstanceState::Running);
}
