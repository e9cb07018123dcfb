//! Names, projects and addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use roost_model::{Cluster, Command, Config, InstanceNetwork};
use roost_types::instance::{CreateInstance, Network};
use roost_types::placement::Constraints;
use roost_types::rack::{IdRanges, ProjectConfig};
use roost_types::{Code, EventKind, InstanceState, Name, NodeId, SyncRequest};

use crate::world::{World, config, name};

/// A launch in a project, on a board if one is named.
fn request(instance: &str, project: &str, node: Option<&str>) -> CreateInstance {
    CreateInstance {
        name: Some(instance.into()),
        project: Some(project.into()),
        constraints: Constraints { node: node.map(str::to_owned), ..Constraints::default() },
        ..CreateInstance::of_image("busybox")
    }
}

fn node(world: &World, name: &str) -> NodeId {
    world.cluster.find_node(name).unwrap().id
}

fn table(cluster: &Cluster, node: NodeId) -> BTreeMap<Name, BTreeMap<Name, Ipv4Addr>> {
    let table = cluster.name_table(node);
    assert_eq!(table.generation, cluster.names_generation(node));
    table.projects
}

#[test]
fn a_node_is_told_the_names_of_its_own_projects_over_the_whole_rack() {
    let mut world = World::new(1);
    let (n01, n02, n03) = (node(&world, "n01"), node(&world, "n02"), node(&world, "n03"));
    for (instance, project, node) in
        [("web", "shop", "n01"), ("db", "shop", "n02"), ("db", "blog", "n02"), ("web", "blog", "n03")]
    {
        world.launch(request(instance, project, Some(node))).unwrap();
    }
    let address = |world: &World, instance: &str| world.instance(instance).address.unwrap();
    let shop: BTreeMap<_, _> =
        [("web", "web.shop"), ("db", "db.shop")].map(|(n, r)| (name(n), address(&world, r))).into();
    assert_eq!(table(&world.cluster, n01), BTreeMap::from([(name("shop"), shop.clone())]));
    assert_eq!(table(&world.cluster, n02).keys().collect::<Vec<_>>(), [&name("blog"), &name("shop")]);
    assert!(!table(&world.cluster, n03).contains_key(&name("shop")));

    // What changes elsewhere in a project changes the tables of its nodes and of no others.
    let before = world.cluster.clone();
    world.launch(request("cache", "shop", Some("n04"))).unwrap();
    let told: BTreeSet<NodeId> = world.cluster.renamed_since(&before).into_iter().collect();
    assert_eq!(told, BTreeSet::from([n01, n02, node(&world, "n04")]));
    let before = world.cluster.clone();
    world.run(2);
    assert_eq!(world.cluster.renamed_since(&before), [], "an idle rack is told nothing");

    world.must(Command::DeleteInstance { instance: "cache.shop".into() });
    world.run(1);
    assert_eq!(table(&world.cluster, n01), BTreeMap::from([(name("shop"), shop)]));
    let generation = world.cluster.names_generation(n01);
    world.restart_controller();
    assert_eq!(world.cluster.names_generation(n01), generation, "a restart of the controller is no news");
}

#[test]
fn a_moving_instance_is_known_by_the_place_where_it_runs() {
    let mut world = World::new(2);
    world.launch(request("web", "default", Some("n01"))).unwrap();
    world.launch_named("free");
    world.run(1);
    let from = world.node_of("free");
    let to = if from == node(&world, "n02") { "n03" } else { "n02" };
    let old = world.instance("free").address.unwrap();
    let known = |world: &World| table(&world.cluster, node(world, "n01"))[&name("default")][&name("free")];
    world.boards.get_mut(&from).unwrap().held = true;
    world.must(Command::MoveInstance { instance: "free".into(), to: Some(to.into()) });
    assert_eq!(known(&world), old, "the old one has not ended");
    world.boards.get_mut(&from).unwrap().held = false;
    world.run(2);
    let new = world.instance("free").address.unwrap();
    assert_ne!(new, old);
    assert_eq!(known(&world), new);
}

#[test]
fn a_name_may_be_there_once_in_each_project() {
    let mut world = World::new(3);
    for project in ["default", "shop"] {
        world.launch(request("web", project, None)).unwrap();
        assert_eq!(world.launch(request("web", project, None)).unwrap_err().code, Code::NameTaken);
    }
    world.run(1);
    assert_eq!(world.instance("web").project, name("default"));
    assert_eq!(world.instance("web.shop").project, name("shop"));
    assert_eq!(world.cluster.find_instance("web.blog").unwrap_err().code, Code::NotFound);
    let events = world.cluster.events_after(0, usize::MAX);
    let created: Vec<&str> =
        events.iter().filter(|e| e.kind == EventKind::InstanceCreated).map(|e| e.subject.as_str()).collect();
    assert_eq!(created, ["/v1/instances/web", "/v1/instances/web.shop"]);
}

#[test]
fn a_full_instance_network_is_a_clear_refusal_and_its_addresses_are_used_again() {
    // A /29 has room for five instances.
    let network = InstanceNetwork { node_prefix_len: 29, ..InstanceNetwork::default() };
    let mut world = World::with(Config { network, ..config() }, 4);
    let launch = |world: &mut World, n: usize| world.launch(request(&format!("i{n}"), "default", Some("n01")));
    for n in 0..5 {
        launch(&mut world, n).unwrap();
    }
    world.run(1);
    let revision = world.cluster.clone();
    let problem = launch(&mut world, 5).unwrap_err();
    assert_eq!((problem.code, problem.status), (Code::NoAddress, 409), "{}", problem.detail);
    assert_eq!(world.cluster.instances().count(), 5, "nothing half made");
    assert_eq!(world.cluster.last_event(), revision.last_event());

    // Elsewhere there is room.
    world.launch(request("other", "default", None)).unwrap();
    let freed = world.instance("i2").address.unwrap();
    world.must(Command::DeleteInstance { instance: "i2".into() });
    // Until the node has said that nothing is left, the address is not free.
    assert_eq!(launch(&mut world, 5).unwrap_err().code, Code::NoAddress);
    world.run(1);
    launch(&mut world, 5).unwrap();
    world.run(1);
    let again = world.instance("i5");
    assert_eq!((again.state, again.address), (InstanceState::Running, Some(freed)));
    world.check();
}

#[test]
fn a_projects_instances_share_their_ids_where_it_says_so() {
    let mut rack = config().rack;
    rack.projects.insert(name("shop"), ProjectConfig { ids: IdRanges::Shared });
    let mut world = World::with(Config { rack, ..config() }, 7);
    let ids = |world: &World, instance: &str| {
        let id = world.cluster.find_instance(instance).unwrap().id;
        let spec = &world.cluster.allocations_of(id).next().unwrap().spec;
        (spec.uid_base / 65_536, spec.quota_id.map(|id| id % 65_536))
    };
    for (instance, project) in [("web", "shop"), ("a", "blog"), ("db", "shop"), ("b", "blog")] {
        world.launch(request(instance, project, Some("n01"))).unwrap();
    }
    world.launch(request("far", "shop", Some("n02"))).unwrap();
    world.run(1);
    assert_eq!(["web.shop", "db.shop"].map(|i| ids(&world, i)), [(2, Some(2)), (2, Some(4))]);
    assert_eq!(["a.blog", "b.blog"].map(|i| ids(&world, i)), [(3, None), (5, None)]);
    assert_eq!(ids(&world, "far.shop"), (2, Some(2)), "another node has ranges of its own");
    // The range stays the project's while one of it has files there, though the number is free.
    world.must(Command::DeleteInstance { instance: "web.shop".into() });
    world.run(1);
    world.launch(request("c", "blog", Some("n01"))).unwrap();
    assert_eq!((ids(&world, "c.blog"), ids(&world, "db.shop").0), ((4, None), 2));
    world.must(Command::DeleteInstance { instance: "db.shop".into() });
    world.launch(request("d", "blog", Some("n01"))).unwrap();
    assert_ne!(ids(&world, "d.blog").0, 2, "until the node has said that nothing is left");
    world.run(1);
    world.must(Command::DeleteInstance { instance: "a.blog".into() });
    world.run(1);
    world.launch(request("web", "shop", Some("n01"))).unwrap();
    world.check();
}

#[test]
fn only_a_node_that_names_its_lan_takes_an_instance_for_it() {
    let mut world = World::new(6);
    let on_lan = || CreateInstance { network: Network::Lan, ..request("lan", "default", None) };
    let problem = world.launch(on_lan()).unwrap_err();
    assert_eq!((problem.code, problem.field.as_deref()), (Code::Conflict, Some("network")));
    assert!(problem.detail.contains("--lan-interface"), "{}", problem.detail);

    let id = node(&world, "n02");
    world.has_feature(id, "lan");
    world.launch(on_lan()).unwrap();
    world.run(1);
    let lan = world.instance("lan");
    assert_eq!((lan.state, lan.node, lan.address), (InstanceState::Running, Some(name("n02")), None));
    assert!(table(&world.cluster, id).is_empty(), "its address is not known, so it has no name");
    let row = world.cluster.node(id).unwrap().clone();
    let told = &roost_model::view::desired_set(&world.cluster, &row).allocations[0];
    assert_eq!(told.network, Network::Lan);
}

#[test]
fn what_an_agent_put_back_is_an_event_once() {
    let mut world = World::new(5);
    let id = node(&world, "n01");
    let agent = world.cluster.live(id).unwrap().agent_id.clone();
    let seq = world.boards[&id].seq + 1;
    let request = SyncRequest {
        boot_id: agent.clone(),
        agent_id: agent,
        seq,
        repairs: vec!["the table inet roost was gone".to_owned(); 100],
        ..SyncRequest::default()
    };
    let before = world.cluster.last_event();
    world.must(Command::Sync { node: id, request: Box::new(request.clone()) });
    world.must(Command::Sync { node: id, request: Box::new(request) });
    let told = world.cluster.events_after(before, usize::MAX);
    assert_eq!(told.len(), roost_types::sync::MAX_REPAIRS, "bounded, and a repetition is stale");
    assert!(told.iter().all(|event| event.kind == EventKind::NodeRepaired));
    assert_eq!(told[0].message, "node n01 repaired its network: the table inet roost was gone");
}
