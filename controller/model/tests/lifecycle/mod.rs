//! Names, snapshots and restores.

use roost_model::{Command, Reply};
use roost_types::instance::{CreateInstance, PatchInstance};
use roost_types::{
    Code, Desired, EventKind, InstanceState, OperationId, OperationStatus, Problem, Snapshot, SnapshotSource,
    SnapshotState,
};

use crate::world::World;
use crate::{events, node_loss};

/// Asks for an instance that begins with a snapshot.
pub fn launch_from(world: &mut World, from: &str, snapshot: &str, to: &str) -> Result<Reply, Problem> {
    let source = SnapshotSource { instance: from.into(), snapshot: snapshot.into() };
    let request = CreateInstance { name: Some(to.into()), source: Some(source), ..CreateInstance::of_image("") };
    world.launch(request).map(|_| Reply::Done)
}

fn snapshot(world: &mut World, instance: &str, name: Option<&str>) -> OperationId {
    let command = Command::CreateSnapshot { instance: instance.into(), name: name.map(str::to_owned) };
    let Reply::Snapshot { operation, .. } = world.must(command) else { panic!() };
    operation
}

fn snapshots(world: &World, instance: &str) -> Vec<Snapshot> {
    world.cluster.find_instance(instance).unwrap().snapshots.clone()
}

fn restore(world: &mut World, instance: &str, snapshot: &str) -> OperationId {
    let command = Command::RestoreSnapshot { instance: instance.into(), snapshot: snapshot.into() };
    let Reply::Instance { operation, .. } = world.must(command) else { panic!() };
    operation
}

fn rename(world: &mut World, old: &str, new: &str) -> Result<Reply, Problem> {
    let patch = PatchInstance { name: Some(new.into()), ..PatchInstance::default() };
    world.ask(Command::PatchInstance { instance: old.into(), patch, if_match: None })
}

#[test]
fn a_renamed_instance_is_found_by_its_new_name_only_and_runs_on() {
    let mut world = World::new(30);
    world.launch_named("web");
    world.launch_named("db");
    world.run(1);
    let before = world.instance("web");
    let taken = rename(&mut world, "web", "db").unwrap_err();
    assert_eq!((taken.code, taken.field.as_deref()), (Code::NameTaken, Some("name")));
    let bad = rename(&mut world, "web", "No Good").unwrap_err();
    assert_eq!((bad.code, bad.field.as_deref()), (Code::InvalidName, Some("name")));
    rename(&mut world, "web", "shop").unwrap();
    assert_eq!(world.cluster.find_instance("web").unwrap_err().code, Code::NotFound);
    assert_eq!(world.instance("shop").state, InstanceState::Running, "a new name does not disturb it");
    world.run(1);
    let after = world.instance("shop");
    assert_eq!((after.id, after.allocation), (before.id, before.allocation));
    let spec = &world.cluster.allocation(before.allocation.unwrap()).unwrap().spec;
    assert_eq!(spec.name.as_str(), "shop", "the host name inside follows at the next start");
    assert_eq!(events(&world, EventKind::InstanceRenamed), ["instance web is called shop now"]);
    assert_eq!(events(&world, EventKind::InstanceUpdated).len(), 0);
    world.launch_named("web");
    world.run(1);
    assert_eq!(world.instance("web").state, InstanceState::Running, "the old name is free");
    world.restart_controller();
    assert_eq!(world.instance("shop").id, before.id);
}

#[test]
fn a_snapshot_is_made_while_the_instance_runs_and_deleted_when_the_node_says_so() {
    let mut world = World::new(31);
    world.launch_named("web");
    world.run(1);
    let made = [snapshot(&mut world, "web", None), snapshot(&mut world, "web", Some("before"))];
    assert!(snapshots(&world, "web").iter().all(|snapshot| snapshot.state == SnapshotState::Making));
    assert_eq!(world.instance("web").state, InstanceState::Running);
    world.run(1);
    for operation in made {
        assert_eq!(world.operation(operation).status, OperationStatus::Succeeded);
    }
    let names: Vec<_> = snapshots(&world, "web").iter().map(|s| (s.name.to_string(), s.state)).collect();
    assert_eq!(names, [("s1".into(), SnapshotState::Ready), ("before".into(), SnapshotState::Ready)]);
    let taken = Command::CreateSnapshot { instance: "web".into(), name: Some("before".into()) };
    assert_eq!(world.ask(taken).unwrap_err().code, Code::NameTaken);

    let delete = Command::DeleteSnapshot { instance: "web".into(), snapshot: "s1".into() };
    let Reply::Snapshot { operation, .. } = world.must(delete) else { panic!() };
    assert_eq!(snapshots(&world, "web")[0].state, SnapshotState::Deleting);
    world.run(1);
    assert_eq!(world.operation(operation).status, OperationStatus::Succeeded);
    assert_eq!(snapshots(&world, "web").len(), 1);
    assert_eq!(events(&world, EventKind::SnapshotCreated).len(), 2);
    assert_eq!(events(&world, EventKind::SnapshotDeleted), ["snapshot s1 of instance web was deleted"]);
}

#[test]
fn a_snapshot_that_cannot_be_made_fails_with_the_reason_and_is_forgotten() {
    let mut world = World::new(32);
    world.launch_named("web");
    world.run(1);
    let node = world.node_of("web");
    world.boards.get_mut(&node).unwrap().full = true;
    let operation = snapshot(&mut world, "web", None);
    world.run(1);
    let failed = world.operation(operation);
    assert_eq!(failed.status, OperationStatus::Failed);
    let error = failed.error.unwrap();
    assert_eq!(error.code, Code::SnapshotFailed);
    assert!(error.detail.ends_with("no room"), "{}", error.detail);
    assert!(snapshots(&world, "web").is_empty());
    assert_eq!(world.instance("web").state, InstanceState::Running);
}

#[test]
fn an_instance_has_only_so_many_snapshots() {
    let mut world = World::new(33);
    world.launch_named("web");
    world.run(1);
    for _ in 0..32 {
        snapshot(&mut world, "web", None);
    }
    let problem = world.ask(Command::CreateSnapshot { instance: "web".into(), name: None }).unwrap_err();
    assert_eq!(problem.code, Code::Conflict);
    assert!(problem.detail.contains("32 snapshots"), "{}", problem.detail);
}

#[test]
fn a_restore_stops_puts_back_once_and_starts_again() {
    let mut world = World::new(34);
    world.launch_named("web");
    world.run(1);
    let node = world.node_of("web");
    snapshot(&mut world, "web", None);
    world.run(1);
    let operation = restore(&mut world, "web", "s1");
    assert_eq!(world.instance("web").state, InstanceState::Stopping);
    let moving = world.ask(Command::MoveInstance { instance: "web".into(), to: None }).unwrap_err();
    assert_eq!(moving.code, Code::Conflict);
    world.run(1);
    assert_eq!(world.operation(operation).status, OperationStatus::Succeeded);
    let web = world.instance("web");
    assert_eq!((web.state, web.desired), (InstanceState::Running, Desired::Running));
    assert_eq!(world.boards[&node].restored.len(), 1);

    world.must(Command::StopInstance { instance: "web".into(), timeout_seconds: None });
    world.run(1);
    let operation = restore(&mut world, "web", "s1");
    world.run(1);
    assert_eq!(world.operation(operation).status, OperationStatus::Succeeded);
    assert_eq!(world.instance("web").state, InstanceState::Stopped, "what was stopped stays stopped");
    assert_eq!(world.boards[&node].restored.len(), 2);

    world.boards.get_mut(&node).unwrap().full = true;
    world.must(Command::StartInstance { instance: "web".into() });
    world.run(1);
    let operation = restore(&mut world, "web", "s1");
    world.run(1);
    assert_eq!(world.operation(operation).error.unwrap().code, Code::SnapshotFailed);
    assert_eq!(world.instance("web").state, InstanceState::Running, "it runs on with the files it had");
}

#[test]
fn snapshots_go_where_their_instance_goes() {
    let mut world = World::new(35);
    world.launch_named("web");
    world.run(1);
    snapshot(&mut world, "web", None);
    world.run(1);
    world.must(Command::MoveInstance { instance: "web".into(), to: None });
    let allocation = world.instance("web").allocation.unwrap();
    let carried = world.cluster.allocation(allocation).unwrap().spec.snapshots.clone();
    assert_eq!(carried.len(), 1);
    assert!(!carried[0].make, "it is taken over, never made anew");
    world.run(2);
    assert_eq!(world.instance("web").state, InstanceState::Running);
    assert_eq!(snapshots(&world, "web")[0].state, SnapshotState::Ready);
}

#[test]
fn snapshots_are_lost_only_when_their_files_are_given_up() {
    let mut world = World::new(36);
    world.launch_named("web");
    world.run(1);
    snapshot(&mut world, "web", Some("kept"));
    world.run(1);
    let node = world.node_of("web");
    node_loss::cut(&mut world, node);
    world.run(1);
    assert_eq!(world.instance("web").state, InstanceState::Running, "placed elsewhere");
    assert!(snapshots(&world, "web").is_empty());
    assert_eq!(events(&world, EventKind::SnapshotFailed), ["snapshot kept of instance web was lost with its node"]);
}

#[test]
fn a_launch_from_a_snapshot_takes_over_what_it_does_not_say() {
    let mut world = World::new(37);
    let mut request = CreateInstance { name: Some("web".into()), ..CreateInstance::of_image("busybox") };
    request.size = Some(roost_types::Size::Micro);
    request.command = Some(vec!["httpd".into()]);
    world.launch(request).unwrap();
    world.run(1);
    let missing = launch_from(&mut world, "web", "s1", "copy").unwrap_err();
    assert_eq!((missing.code, missing.field.as_deref()), (Code::NotFound, Some("source.snapshot")));
    snapshot(&mut world, "web", None);
    let early = launch_from(&mut world, "web", "s1", "copy").unwrap_err();
    assert_eq!((early.code, early.field.as_deref()), (Code::Conflict, Some("source.snapshot")));
    world.run(1);
    launch_from(&mut world, "web", "s1", "copy").unwrap();
    let copy = world.instance("copy");
    assert_eq!((copy.size, copy.command), (Some(roost_types::Size::Micro), Some(vec!["httpd".to_owned()])));
    assert_eq!(copy.image, "busybox");
    let spec = world.cluster.allocation(copy.allocation.unwrap()).unwrap().spec.clone();
    assert_eq!(spec.seed_from, world.instance("web").allocation);
    assert_eq!(spec.seed_snapshot, Some(snapshots(&world, "web")[0].id));
    for command in [
        Command::DeleteInstance { instance: "web".into() },
        Command::DeleteSnapshot { instance: "web".into(), snapshot: "s1".into() },
    ] {
        assert_eq!(world.ask(command).unwrap_err().code, Code::Conflict, "the copy has yet to begin with it");
    }
    world.run(1);
    assert_eq!(world.instance("copy").state, InstanceState::Running);
    world.must(Command::DeleteInstance { instance: "web".into() });
    world.run(1);
    assert_eq!(world.instance("copy").state, InstanceState::Running);
}

#[test]
fn a_node_that_does_not_answer_is_asked_for_no_snapshot() {
    let mut world = World::new(38);
    world.launch_named("web");
    world.run(1);
    let node = world.node_of("web");
    world.boards.get_mut(&node).unwrap().powered = false;
    world.run(6);
    let problem = world.ask(Command::CreateSnapshot { instance: "web".into(), name: None }).unwrap_err();
    assert_eq!(problem.code, Code::NodeUnreachable);
    assert!(snapshots(&world, "web").is_empty());
}

#[test]
fn a_stop_says_how_long_it_may_take_and_the_next_one_anew() {
    let mut world = World::new(39);
    world.launch_named("web");
    world.run(1);
    let told = |world: &World| {
        let allocation = world.instance("web").allocation.unwrap();
        world.cluster.allocation(allocation).unwrap().spec.stop_seconds
    };
    let stop = |timeout_seconds| Command::StopInstance { instance: "web".into(), timeout_seconds };
    let problem = world.ask(stop(Some(3_601))).unwrap_err();
    assert_eq!((problem.code, problem.field.as_deref()), (Code::InvalidField, Some("timeout_seconds")));
    world.must(stop(Some(300)));
    assert_eq!(told(&world), Some(300));
    world.must(stop(Some(0)));
    assert_eq!(told(&world), Some(0));
    world.run(1);
    world.must(Command::StartInstance { instance: "web".into() });
    world.run(1);
    world.must(stop(None));
    assert_eq!(told(&world), None);
}

#[test]
fn user_data_is_kept_apart_and_goes_with_its_instance() {
    let mut world = World::new(40);
    let mut request = CreateInstance { name: Some("web".into()), ..CreateInstance::of_image("busybox") };
    request.user_data = Some(roost_types::UserData("#!/bin/sh\necho secret\n".into()));
    world.launch(request).unwrap();
    world.launch_named("plain");
    let first_boot = |world: &World, name: &str| {
        let allocation = world.instance(name).allocation.unwrap();
        world.cluster.allocation(allocation).unwrap().spec.first_boot
    };
    assert!(first_boot(&world, "web") && !first_boot(&world, "plain"));
    let web = world.instance("web");
    assert!(world.cluster.first_boot(web.id).is_some());
    assert!(!serde_json::to_string(&web).unwrap().contains("secret"));
    assert!(world.cluster.events_after(0, usize::MAX).iter().all(|event| !event.message.contains("secret")));
    world.must(Command::DeleteInstance { instance: "web".into() });
    world.run(1);
    assert!(world.cluster.first_boot(web.id).is_none());
}
