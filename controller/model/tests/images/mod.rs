//! Which node fetches an image from which.

use std::collections::{BTreeMap, BTreeSet};

use roost_model::{Command, Config, Reply, Supply};
use roost_types::image_transfer::{ImageTraffic, TICKET_SECONDS};
use roost_types::instance::CreateInstance;
use roost_types::node::PatchNode;
use roost_types::placement::Constraints;
use roost_types::{Code, ImageDigest, MilliCelsius, Name, NodeFacts, NodeId, SyncRequest, Timestamp};

use crate::world::{World, config, name};

const PORT: u16 = 7701;

/// Six boards that all should run an instance of one image, and what each said last of its downloads.
struct Rack {
    world: World,
    nodes: Vec<NodeId>,
    traffic: BTreeMap<NodeId, ImageTraffic>,
}

fn image() -> ImageDigest {
    ImageDigest::from_sha256(&[7; 32])
}

impl Rack {
    fn new(config: Config) -> Self {
        let mut world = World::with(config, 1);
        let id = |n: usize| world.cluster.find_node(&format!("n{n:02}")).unwrap().id;
        let nodes: Vec<NodeId> = (1..=world.boards.len()).map(id).collect();
        for n in 1..=nodes.len() {
            let on = Constraints { node: Some(format!("n{n:02}")), ..Constraints::default() };
            let instance = Some(format!("i{n}"));
            world
                .launch(CreateInstance { name: instance, constraints: on, ..CreateInstance::of_image("busybox") })
                .unwrap();
        }
        let mut rack = Self { world, nodes, traffic: BTreeMap::new() };
        for at in 0..rack.nodes.len() {
            rack.say(at, |traffic| traffic.port = Some(PORT));
        }
        rack
    }

    /// A node's poll with its traffic changed.
    fn say(&mut self, at: usize, change: impl FnOnce(&mut ImageTraffic)) {
        let node = self.nodes[at];
        let traffic = self.traffic.entry(node).or_default();
        change(traffic);
        let images = Some(traffic.clone());
        let facts = self.world.cluster.node(node).unwrap().facts.clone();
        self.sync(node, facts, images);
    }

    fn sync(&mut self, node: NodeId, facts: Option<NodeFacts>, images: Option<ImageTraffic>) {
        let live = self.world.cluster.live(node).unwrap().clone();
        let board = self.world.boards.get_mut(&node).unwrap();
        board.seq += 1;
        let request = SyncRequest {
            boot_id: live.boot_id.clone(),
            agent_id: live.agent_id.clone(),
            seq: board.seq,
            facts,
            images,
            ..SyncRequest::default()
        };
        self.world.must(Command::Sync { node, request: Box::new(request) });
    }

    /// A download is over: the image is there.
    fn has(&mut self, at: usize) {
        let node = self.nodes[at];
        let mut facts = self.world.cluster.node(node).unwrap().facts.clone().unwrap();
        facts.images = vec![image()];
        self.sync(node, Some(facts), None);
        self.say(at, |traffic| traffic.fetching.clear());
    }

    fn arrived(&mut self, at: usize, bytes: u64) {
        self.say(at, |traffic| {
            traffic.fetching.insert(image(), bytes);
        });
    }

    fn ask_but(&mut self, at: usize, failed: &[&str]) -> Supply {
        let failed: Vec<Name> = failed.iter().map(|node| name(node)).collect();
        let (node, ticket_sha256) = (self.nodes[at], format!("{at:064}"));
        let command = Command::AskImageSource { node, image: image(), failed, ticket_sha256 };
        let Reply::ImageSupply(supply) = self.world.must(command) else { panic!() };
        supply
    }

    fn ask(&mut self, at: usize) -> Supply {
        self.ask_but(at, &[])
    }

    fn pass(&mut self, seconds: i64) {
        self.world.now = Timestamp(self.world.now.0 + seconds * 1000);
    }

    fn from(&self, at: usize) -> Supply {
        Supply::Node(self.nodes[at])
    }
}

#[test]
fn the_controller_sends_an_image_once_and_the_rack_passes_it_on_in_waves() {
    let mut rack = Rack::new(config());
    let (mut coming, mut done) = (BTreeMap::<usize, Supply>::new(), BTreeSet::new());
    let (mut from_controller, mut rounds) = (0, 0);
    while done.len() < rack.nodes.len() {
        rounds += 1;
        assert!(rounds < 10, "it does not end");
        for at in (0..rack.nodes.len()).filter(|at| !done.contains(at)) {
            match rack.ask(at) {
                Supply::Later => continue,
                Supply::Controller => from_controller += 1,
                Supply::Node(source) => {
                    let source = rack.nodes.iter().position(|node| *node == source).unwrap();
                    assert!(done.contains(&source), "a node gives what it has not");
                }
            }
            coming.insert(at, rack.ask(at));
            let same = coming.values().filter(|supply| **supply == coming[&at] && **supply != Supply::Controller);
            assert!(same.count() <= 2, "{coming:?}");
        }
        for (at, _) in std::mem::take(&mut coming) {
            rack.has(at);
            done.insert(at);
        }
    }
    assert_eq!((from_controller, rounds), (1, 3), "one, then two more, then the rest");
}

#[test]
fn who_waits_for_a_download_that_does_not_move_waits_in_vain_for_a_moment_only() {
    let mut rack = Rack::new(config());
    assert_eq!(rack.ask(0), Supply::Controller);
    rack.arrived(0, 10);
    for bytes in [20, 30, 40] {
        rack.pass(9);
        rack.arrived(0, bytes);
        assert_eq!(rack.ask(1), Supply::Later, "it moves");
    }
    rack.pass(9);
    rack.arrived(0, 40);
    assert_eq!(rack.ask(1), Supply::Later);
    rack.pass(2);
    assert_eq!(rack.ask(1), Supply::Controller, "it has not moved for 11 s");
    assert_eq!(rack.ask(2), Supply::Later, "the next one waits for that");
}

#[test]
fn a_download_that_the_agent_does_not_speak_of_any_more_is_over() {
    let mut rack = Rack::new(config());
    assert_eq!(rack.ask(0), Supply::Controller);
    rack.say(0, |_| {});
    assert_eq!(rack.ask(1), Supply::Later, "that poll may have been on its way before");
    rack.pass(6);
    rack.say(0, |_| {});
    assert_eq!(rack.ask(1), Supply::Controller);
}

#[test]
fn nodes_that_failed_are_not_named_again_and_after_three_it_is_the_controller() {
    let mut rack = Rack::new(config());
    for at in 0..4 {
        rack.has(at);
    }
    let mut failed: Vec<String> = Vec::new();
    for _ in 0..3 {
        let words: Vec<&str> = failed.iter().map(String::as_str).collect();
        let Supply::Node(source) = rack.ask_but(5, &words) else { panic!("{failed:?}") };
        let source = rack.world.cluster.node(source).unwrap().name.to_string();
        assert!(!failed.contains(&source), "{source} again");
        failed.push(source);
    }
    let words: Vec<&str> = failed.iter().map(String::as_str).collect();
    assert_eq!(rack.ask_but(5, &words), Supply::Controller);
}

#[test]
fn the_only_node_that_has_it_fails_and_somebody_else_goes_on() {
    let mut rack = Rack::new(config());
    rack.has(0);
    assert_eq!((rack.ask(1), rack.ask(2)), (rack.from(0), rack.from(0)));
    rack.arrived(1, 10);
    rack.arrived(2, 10);
    assert_eq!(rack.ask(3), Supply::Later, "two at once are enough for one node");
    assert_eq!(rack.ask_but(1, &["n01"]), Supply::Later, "the other one still gets it");
    assert_eq!(rack.ask_but(2, &["n01"]), Supply::Later, "and so does the first, as far as is known");
    // Neither moves while both wait.
    rack.pass(6);
    for at in 1..=2 {
        rack.say(at, |traffic| traffic.fetching.clear());
    }
    assert_eq!(rack.ask_but(1, &["n01"]), Supply::Controller);
    assert_eq!(rack.ask_but(2, &["n01"]), Supply::Later);
    rack.has(1);
    assert_eq!(rack.ask_but(2, &["n01"]), rack.from(1));
}

#[test]
fn hot_silent_foreign_and_closed_nodes_give_nothing() {
    let mut rack = Rack::new(config());
    rack.has(0);
    assert_eq!(rack.ask(1), rack.from(0));
    rack.has(1);

    // n02 closes its port, n01 goes to another rack.
    rack.say(1, |traffic| traffic.port = None);
    let slot = Some("r2/1/1".parse().unwrap());
    let patch = PatchNode { slot, ..PatchNode::default() };
    rack.world.must(Command::PatchNode { node: "n01".into(), patch, if_match: None });
    assert_eq!(rack.ask(2), Supply::Controller);
    rack.has(2);
    assert_eq!(rack.ask(3), rack.from(2));
    rack.pass(6);
    rack.say(3, |_| {});

    // n03's board gets hot.
    let hot = rack.nodes[2];
    rack.world.boards.get_mut(&hot).unwrap().soc = MilliCelsius::whole(90);
    rack.world.run(3);
    assert_eq!(rack.ask(4), Supply::Controller);
    rack.has(4);

    // n05 falls silent.
    let silent = rack.nodes[4];
    rack.world.boards.get_mut(&silent).unwrap().powered = false;
    rack.world.run(7);
    assert_eq!(rack.ask(5), Supply::Controller);
}

#[test]
fn a_node_is_told_who_may_fetch_what_from_it_for_a_minute() {
    let mut rack = Rack::new(config());
    rack.has(0);
    let grants = |rack: &Rack, known: u64| rack.world.cluster.image_grants(rack.nodes[0], known, rack.world.now);
    assert_eq!(grants(&rack, 0), None, "nothing was granted");
    assert_eq!(rack.ask(1), rack.from(0));
    let first = grants(&rack, 0).unwrap();
    let [grant] = first.grants.as_slice() else { panic!("{first:?}") };
    assert_eq!((grant.image.clone(), grant.seconds), (image(), TICKET_SECONDS));
    let to = rack.world.cluster.node(rack.nodes[1]).unwrap().facts.as_ref().unwrap().address;
    assert_eq!((Some(grant.to), grant.ticket_sha256.clone()), (to, format!("{:064}", 1)));
    assert_eq!(grants(&rack, first.generation), None, "it knows");
    rack.pass(20);
    assert_eq!(rack.ask(2), rack.from(0));
    let second = grants(&rack, first.generation).unwrap();
    assert!(second.generation > first.generation);
    let seconds: Vec<u32> = second.grants.iter().map(|grant| grant.seconds).collect();
    assert_eq!(seconds, [TICKET_SECONDS - 20, TICKET_SECONDS]);
    rack.pass(i64::from(TICKET_SECONDS) - 10);
    assert_eq!(grants(&rack, 0).unwrap().grants.len(), 1, "the first is over");
    assert!(rack.world.cluster.image_grants(rack.nodes[1], 0, rack.world.now).is_none(), "no other node is told");
}

#[test]
fn a_node_asks_for_what_it_should_run_only() {
    let mut rack = Rack::new(config());
    let other = ImageDigest::from_sha256(&[9; 32]);
    let refused = rack.world.cluster.image_supply(rack.nodes[0], &other, &[], rack.world.now);
    assert_eq!(refused.unwrap_err().code, Code::NotFound);
    rack.world.must(Command::DeleteInstance { instance: "i1".into() });
    rack.world.run(2);
    let refused = rack.world.cluster.image_supply(rack.nodes[0], &image(), &[], rack.world.now);
    assert_eq!(refused.unwrap_err().code, Code::NotFound);
}

#[test]
fn what_nodes_send_is_added_up_over_restarts_of_their_agents() {
    let mut rack = Rack::new(config());
    let stored = rack.world.cluster.image(&image()).unwrap().clone();
    for (at, bytes) in [(0, 100), (0, 150), (1, 30), (0, 40)] {
        rack.say(at, |traffic| {
            traffic.sent.insert(image(), bytes);
            traffic.sent.insert(ImageDigest::from_sha256(&[9; 32]), 1 << 40);
        });
    }
    let told = rack.world.cluster.image_distribution(&stored, rack.world.now);
    assert_eq!(told.sent_by_nodes, 150 + 30 + 40, "and an image that nobody knows counts for nothing");
    let by_node: Vec<_> =
        rack.world.cluster.images_sent_by_nodes().map(|(name, bytes)| (name.as_str(), bytes)).collect();
    assert_eq!(by_node, [("n01", 190), ("n02", 30)]);

    rack.has(0);
    assert_eq!(rack.ask(3), rack.from(0));
    rack.arrived(3, 7);
    let told = rack.world.cluster.image_distribution(&stored, rack.world.now);
    assert_eq!(told.nodes, [name("n01")]);
    let fetching: Vec<_> = told.fetching.iter().map(|one| (one.node.clone(), one.source.clone(), one.bytes)).collect();
    assert_eq!(fetching, [(name("n04"), Some(name("n01")), 7)]);
}
