//! A small world around the pure core: a clock, boards whose agents do what they are told, and a probe per shelf.

use std::collections::BTreeMap;
use std::time::Duration;

use roost_model::{
    Change, Cluster, Command, Config, Context, FanValues, HubNews, Kind, ProbeValues, RelayValues, Reply, decide, view,
};
use roost_thermal::{FanPolicy, Policy};
use roost_types::allocation::AllocationDesired;
use roost_types::allocation::Strain;
use roost_types::image::RootfsFormat;
use roost_types::instance::{CreateInstance, Instance};
use roost_types::node::{CgroupMode, Feature, NodeVitals};
use roost_types::rack::{HubConfig, ZoneConfig};
use roost_types::size::Arch;
use roost_types::snapshot::{RestoreReport, SnapshotOutcome, SnapshotReport, SnapshotWish};
use roost_types::{
    ActingMode, AllocationId, AllocationReport, AllocationSpec, AllocationState, Image, ImageDigest, MemoryBytes,
    MilliCelsius, MilliPercent, Name, NodeFacts, NodeId, Operation, OperationId, Problem, RackConfig, SyncRequest,
    Timestamp,
};

/// Milliseconds between two ticks.
const TICK_MS: i64 = 250;

/// A board whose agent does at once what it is told, unless `held`.
pub struct Board {
    pub seq: u64,
    pub powered: bool,
    pub running: BTreeMap<AllocationId, AllocationReport>,
    /// Its agent does not act on what it is told.
    pub held: bool,
    /// What its SoC's sensor says.
    pub soc: MilliCelsius,
    /// It can make and restore no snapshot, for want of room.
    pub full: bool,
    /// Restores it has done: a number that comes twice would put files back that were written since.
    pub restored: Vec<u64>,
}

impl Board {
    /// Makes, takes over and drops snapshots until it has what it is told to have.
    fn snapshots(&self, spec: &AllocationSpec) -> Vec<SnapshotReport> {
        let before = self.running.get(&spec.id).map(|report| report.snapshots.clone()).unwrap_or_default();
        let outcome = |wish: &SnapshotWish| {
            let known = before.iter().find(|report| report.id == wish.id).map(|report| report.outcome.clone());
            known.unwrap_or_else(|| match self.full && wish.make {
                true => SnapshotOutcome::Failed("no room".into()),
                false => SnapshotOutcome::Held(MemoryBytes(1 << 20)),
            })
        };
        spec.snapshots.iter().map(|wish| SnapshotReport { id: wish.id, outcome: outcome(wish) }).collect()
    }

    fn restore(&mut self, spec: &AllocationSpec) -> Option<RestoreReport> {
        let wish = spec.restore?;
        assert_eq!(spec.desired, AllocationDesired::Stopped, "files are put back only below what is stopped");
        let error = self.full.then(|| "no room".to_owned());
        if error.is_none() && !self.restored.contains(&wish.number) {
            self.restored.push(wish.number);
        }
        Some(RestoreReport { number: wish.number, error })
    }
}

impl Default for Board {
    fn default() -> Self {
        Self {
            seq: 0,
            powered: false,
            running: BTreeMap::new(),
            held: false,
            soc: MilliCelsius::whole(45),
            full: false,
            restored: Vec::new(),
        }
    }
}

pub struct World {
    pub cluster: Cluster,
    pub now: Timestamp,
    pub boards: BTreeMap<NodeId, Board>,
    pub inlets: [i32; 3],
    /// Fans that do not turn, by number.
    pub still_fans: Vec<u8>,
    /// Relays whose coil has current, a bit each; the boards' supplies go through their closed contacts.
    pub relays: u8,
    /// Relays do not follow what they are told.
    pub stuck_relays: bool,
    seed: u64,
    agent: u64,
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn rack() -> RackConfig {
    let zone = |shelf: u8| ZoneConfig {
        name: name(&format!("shelf-{shelf}")),
        slots: (1..=2).map(|position| format!("r1/{shelf}/{position}").parse().unwrap()).collect(),
        probes: vec![format!("hub0:{shelf}").parse().unwrap()],
        limits: None,
        fans: vec![format!("hub0:{shelf}").parse().unwrap()],
        tachometers: true,
    };
    let node =
        |n: u8| (name(&format!("n{n:02}")), format!("r1/{}/{}", (n - 1) / 2 + 1, (n - 1) % 2 + 1).parse().unwrap());
    RackConfig {
        hubs: vec![HubConfig { name: name("hub0"), path: "/dev/serial/by-id/hub0".into() }],
        zones: (1..=3).map(zone).collect(),
        nodes: (1..=6).map(node).collect(),
        mode: ActingMode::Act,
        power: (1..=6).map(|n| (name(&format!("n{n:02}")), format!("hub0:{n}").parse().unwrap())).collect(),
        projects: BTreeMap::new(),
    }
}

pub fn config() -> Config {
    let thermal = Policy::default().with_time_scale(60);
    Config {
        rack: rack(),
        thermal,
        fans: FanPolicy::default().with_time_scale(60),
        move_cooldown: Duration::from_secs(10),
        move_pause: Duration::from_millis(250),
        ..Config::default()
    }
}

impl World {
    /// Six boards on three shelves, all ready, an image there.
    pub fn new(seed: u64) -> Self {
        Self::with(config(), seed)
    }

    /// The same with other settings.
    pub fn with(config: Config, seed: u64) -> Self {
        let now = Timestamp(1_800_000_000_000);
        let cluster = Cluster::new(config);
        let mut world = Self {
            cluster,
            now,
            boards: BTreeMap::new(),
            inlets: [24; 3],
            still_fans: Vec::new(),
            relays: 0,
            stuck_relays: false,
            seed,
            agent: 0,
        };
        for n in 1..=6 {
            let Reply::Node(id) = world.must(Command::RegisterNode { name: name(&format!("n{n:02}")) }) else {
                panic!()
            };
            world.boards.insert(id, Board { powered: true, ..Board::default() });
        }
        let image = Image {
            digest: ImageDigest::from_sha256(&[7; 32]),
            aliases: vec!["busybox".into()],
            arch: Arch::Armhf,
            format: RootfsFormat::Erofs,
            size_bytes: 1 << 20,
            init: Some("/sbin/init".into()),
            startup: roost_types::image::Startup::default(),
            description: String::new(),
            created_at: now,
        };
        world.must(Command::AddImage { image: Box::new(image) });
        let ids: Vec<NodeId> = world.boards.keys().copied().collect();
        for id in ids {
            world.introduce(id);
        }
        world.run(2);
        world
    }

    /// The agent of a node says that it has a feature.
    pub fn has_feature(&mut self, id: NodeId, feature: &str) {
        let mut facts = self.cluster.node(id).unwrap().facts.clone().unwrap();
        facts.features.push(Feature { name: feature.to_owned(), supported: true, advice: String::new() });
        let agent = self.cluster.live(id).unwrap().agent_id.clone();
        let board = self.boards.get_mut(&id).unwrap();
        board.seq += 1;
        let request = SyncRequest {
            boot_id: agent.clone(),
            agent_id: agent,
            seq: board.seq,
            facts: Some(facts),
            ..SyncRequest::default()
        };
        self.must(Command::Sync { node: id, request: Box::new(request) });
    }

    /// Decides a command, checks that its changes say what it did, and takes the new state.
    pub fn ask(&mut self, command: Command) -> Result<Reply, Problem> {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let decision = decide(&self.cluster, &command, &Context { now: self.now, seed: self.seed })?;
        for change in &decision.changes {
            if let Change::Put(row) = change {
                let body = row.body().unwrap();
                assert_eq!(&roost_model::Row::parse(row.kind(), &body).unwrap(), row, "a row survives being stored");
            }
        }
        self.cluster = decision.cluster;
        Ok(decision.reply)
    }

    pub fn must(&mut self, command: Command) -> Reply {
        self.ask(command).unwrap()
    }

    pub fn launch(&mut self, request: CreateInstance) -> Result<OperationId, Problem> {
        let reply = self.ask(Command::CreateInstance { request: Box::new(request), idempotency: None })?;
        let Reply::Instance { operation, .. } = reply else { panic!("{reply:?}") };
        Ok(operation)
    }

    pub fn launch_named(&mut self, instance: &str) -> OperationId {
        self.launch(CreateInstance { name: Some(instance.into()), ..CreateInstance::of_image("busybox") }).unwrap()
    }

    pub fn operation(&self, id: OperationId) -> Operation {
        Operation::clone(self.cluster.operation(id).unwrap())
    }

    pub fn instance(&self, name: &str) -> Instance {
        view::instance(&self.cluster, self.cluster.find_instance(name).unwrap())
    }

    pub fn node_of(&self, instance: &str) -> NodeId {
        self.cluster.find_node(self.instance(instance).node.unwrap().as_str()).unwrap().id
    }

    /// The board's agent starts: it tells everything.
    pub fn introduce(&mut self, id: NodeId) {
        self.agent += 1;
        let last = 10 + u8::try_from(self.boards.keys().position(|other| *other == id).unwrap()).unwrap();
        let facts = NodeFacts {
            arch: Arch::Armhf,
            cpu_millis: 2000,
            memory_bytes: MemoryBytes::mib(1024),
            disk_bytes: MemoryBytes::mib(8192),
            kernel: "6.1".into(),
            agent_version: "0".into(),
            address: Some(std::net::Ipv4Addr::new(10, 66, 1, last)),
            cgroup: CgroupMode::V2,
            features: Vec::new(),
            images: Vec::new(),
        };
        let agent_id = format!("agent-{}", self.agent);
        let board = self.boards.get_mut(&id).unwrap();
        board.seq = 1;
        let request = SyncRequest {
            boot_id: agent_id.clone(),
            agent_id,
            seq: 1,
            full: true,
            facts: Some(facts),
            allocations: board.running.values().cloned().collect(),
            ..SyncRequest::default()
        };
        self.must(Command::Sync { node: id, request: Box::new(request) });
    }

    fn agent_id(&self, id: NodeId) -> String {
        self.cluster.live(id).unwrap().agent_id.clone()
    }

    /// The board's agent polls, does what it is told, and reports.
    pub fn poll(&mut self, id: NodeId) {
        if !self.boards[&id].powered {
            return;
        }
        let row = self.cluster.node(id).unwrap().clone();
        let desired = view::desired_set(&self.cluster, &row);
        let now = self.now;
        let board = self.boards.get_mut(&id).unwrap();
        let (mut reports, mut gone, held) = (Vec::new(), Vec::new(), board.held);
        for spec in desired.allocations.iter().filter(|_| !held) {
            let state = match spec.desired {
                AllocationDesired::Running => AllocationState::Running,
                AllocationDesired::Stopped => AllocationState::Stopped,
                AllocationDesired::Deleted => {
                    board.running.remove(&spec.id);
                    gone.push(spec.id);
                    continue;
                }
            };
            let (snapshots, restore) = (board.snapshots(spec), board.restore(spec));
            let report = AllocationReport {
                id: spec.id,
                generation: spec.generation,
                state,
                reason: String::new(),
                restarts: 0,
                started_at: (state == AllocationState::Running).then_some(now),
                exit: None,
                strain: Strain::default(),
                snapshots,
                restore,
            };
            if board.running.get(&spec.id).is_none_or(|old| old.generation != spec.generation) {
                board.running.insert(spec.id, report.clone());
                reports.push(report);
            }
        }
        board.seq += 1;
        let seq = board.seq;
        let vitals = NodeVitals { soc: Some(board.soc), ..NodeVitals::default() };
        let request = SyncRequest {
            boot_id: self.agent_id(id),
            agent_id: self.agent_id(id),
            seq,
            applied_generation: row.desired_generation,
            vitals: Some(vitals),
            allocations: reports,
            gone,
            ..SyncRequest::default()
        };
        self.must(Command::Sync { node: id, request: Box::new(request) });
    }

    /// Lets seconds pass: probes speak, agents poll, the controller ticks.
    pub fn run(&mut self, seconds: i64) {
        for step in 0..seconds * 1000 / TICK_MS {
            self.now = Timestamp(self.now.0 + TICK_MS);
            if step % 4 == 0 {
                self.speak();
            }
            let ids: Vec<NodeId> = self.boards.keys().copied().collect();
            for id in ids {
                self.poll(id);
            }
            self.must(Command::Tick);
        }
    }

    fn speak(&mut self) {
        let inlets = self.inlets;
        let probes = (1..=3u8).map(|number| ProbeValues {
            number,
            temperature: Some(MilliCelsius::whole(inlets[usize::from(number) - 1])),
            humidity: None,
        });
        let wish = self.cluster.wish_of_hub(&name("hub0"));
        let fans = wish.fans.iter().map(|(number, duty)| FanValues {
            number: *number,
            duty: MilliPercent::from_centi(i32::from(*duty)),
            rpm: Some(if self.still_fans.contains(number) { 0 } else { duty * 3 / 10 }),
        });
        for (relay, on) in wish.relays.iter().filter(|_| !self.stuck_relays) {
            let bit = 1 << (relay - 1);
            self.relays = if *on { self.relays | bit } else { self.relays & !bit };
        }
        let news = HubNews {
            probes: probes.collect(),
            fans: fans.collect(),
            relays: Some(RelayValues { on: self.relays, there: 0xFF }),
            ..HubNews::default()
        };
        self.must(Command::HubReport { hub: name("hub0"), news: Box::new(news) });
    }

    /// What must hold at every moment.
    pub fn check(&self) {
        for node in self.cluster.nodes() {
            let shown = view::node(&self.cluster, node, self.now);
            assert!(shown.allocated.memory_bytes <= shown.capacity.memory_bytes, "{} is over its memory", node.name);
            assert!(shown.allocated.cpu_millis <= shown.capacity.cpu_millis, "{} is over its cpu", node.name);
            let specs: Vec<_> = self.cluster.allocations_on(node.id).map(|row| &row.spec).collect();
            for (at, spec) in specs.iter().enumerate() {
                assert!(specs[..at].iter().all(|other| other.address != spec.address), "an address is given out twice");
                for other in &specs[..at] {
                    let siblings = other.project == spec.project && other.quota_id.is_some() && spec.quota_id.is_some();
                    assert!(siblings || other.uid_base != spec.uid_base, "ids are given out twice");
                    let counted_as = |spec: &AllocationSpec| spec.quota_id.unwrap_or(spec.uid_base);
                    assert_ne!(counted_as(other), counted_as(spec), "two disks are counted as one");
                }
                assert!(spec.uid_base > 0 && spec.uid_base.is_multiple_of(65_536), "{}", spec.uid_base);
            }
        }
        for instance in self.cluster.instances() {
            let may_run = |row: &&std::sync::Arc<roost_model::AllocationRow>| {
                let told = row.spec.desired == AllocationDesired::Running && !row.held;
                let runs = self.boards.get(&row.node).is_some_and(|board| {
                    let report = board.running.get(&row.spec.id);
                    board.powered && report.is_some_and(|report| report.state == AllocationState::Running)
                });
                told || runs && row.spec.desired == AllocationDesired::Running
            };
            let count = self.cluster.allocations_of(instance.id).filter(may_run).count();
            assert!(count <= 1, "instance {} may run {count} times", instance.name);
        }
    }

    /// Forgets everything that is not durable, as a restart of the controller does.
    pub fn restart_controller(&mut self) {
        let mut rows = Vec::new();
        let cluster = &self.cluster;
        rows.extend(cluster.images().map(|row| roost_model::Row::Image(Image::clone(row))));
        rows.extend(cluster.nodes().map(|row| roost_model::Row::Node(row.as_ref().clone())));
        rows.extend(cluster.instances().map(|row| roost_model::Row::Instance(row.as_ref().clone())));
        let allocations = cluster.nodes().flat_map(|node| cluster.allocations_on(node.id));
        rows.extend(allocations.map(|row| roost_model::Row::Allocation(row.as_ref().clone())));
        rows.extend(cluster.operations().map(|row| roost_model::Row::Operation(Operation::clone(row))));
        rows.extend(
            cluster.events_after(0, usize::MAX).iter().map(|row| roost_model::Row::Event(row.as_ref().clone())),
        );
        let revision = cluster.nodes().map(|node| node.desired_generation).max().unwrap_or(0) + 1;
        rows.push(roost_model::Row::Meta(roost_model::MetaRow { revision }));
        rows.sort_by_key(roost_model::Row::kind);
        assert!(rows.iter().any(|row| row.kind() == Kind::Node));
        self.cluster = Cluster::load(config(), rows, self.now);
        let ids: Vec<NodeId> = self.boards.iter().filter(|(_, board)| board.powered).map(|(id, _)| *id).collect();
        for id in ids {
            self.introduce(id);
        }
    }
}
