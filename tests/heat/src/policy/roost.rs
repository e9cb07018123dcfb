//! Roost's own policy: the real cluster, told by commands what boards and hub would tell the controller.

use std::collections::BTreeMap;

use roost_heat_model::{Random, TRIP};
use roost_model::{Cluster, Command, Config, Context, FanValues, HubNews, ProbeValues, Reply, decide, view};
use roost_types::allocation::{AllocationDesired, Strain};
use roost_types::image::RootfsFormat;
use roost_types::instance::CreateInstance;
use roost_types::node::{CgroupMode, NodeVitals};
use roost_types::rack::{HubConfig, ZoneConfig};
use roost_types::size::Arch;
use roost_types::{
    AllocationId, AllocationReport, AllocationState, Image, ImageDigest, MemoryBytes, MilliCelsius, MilliPercent, Name,
    NodeFacts, NodeId, RackConfig, SyncRequest, Timestamp,
};

use super::{Policy, Seen};
use crate::boards::{Boards, Phase};
use crate::jobs::{BOARD_MILLIS, Job, JobId};

/// The hub's name.
const HUB: &str = "hub0";
/// The image of every job.
const IMAGE: &str = "work";
/// Second 0 of a trial: 2027-01-15.
const EPOCH_MS: i64 = 1_800_000_000_000;
/// Every agent polls at least this often, s.
const POLL: i64 = 2;

/// What an agent knows.
struct Agent {
    node: NodeId,
    seq: u64,
    /// Generation of the desired set that it has.
    applied: u64,
    /// What it last reported of each allocation.
    reported: BTreeMap<AllocationId, (u64, AllocationState)>,
}

/// The real cluster and the agents that speak to it.
pub struct Roost {
    cluster: Cluster,
    random: Random,
    agents: Vec<Agent>,
    /// The hub speaks.
    hub: bool,
    /// The hub drives fans.
    fans: bool,
}

fn name(text: &str) -> Name {
    text.parse().expect("a valid name")
}

fn rack(shelves: usize, per_shelf: usize, fans: bool) -> RackConfig {
    let slot =
        |shelf: usize, position: usize| format!("r1/{}/{}", shelf + 1, position + 1).parse().expect("a valid slot");
    let zone = |shelf: usize| ZoneConfig {
        name: name(&format!("shelf-{}", shelf + 1)),
        slots: (0..per_shelf).map(|position| slot(shelf, position)).collect(),
        probes: vec![format!("{HUB}:{}", shelf + 1).parse().expect("a valid probe")],
        limits: None,
        fans: fans.then(|| format!("{HUB}:{}", shelf + 1).parse().expect("a valid fan")).into_iter().collect(),
        tachometers: true,
    };
    RackConfig {
        hubs: vec![HubConfig { name: name(HUB), path: "/dev/serial/by-id/hub0".into() }],
        zones: (0..shelves).map(zone).collect(),
        nodes: (0..shelves * per_shelf)
            .map(|board| (node(board), slot(board / per_shelf, board % per_shelf)))
            .collect(),
        ..RackConfig::default()
    }
}

fn node(board: usize) -> Name {
    name(&format!("n{:03}", board + 1))
}

fn job_name(job: JobId) -> String {
    format!("j{job:05}")
}

fn facts(board: usize) -> NodeFacts {
    let [.., high, low] = u32::try_from(board + 1).unwrap_or(u32::MAX).to_be_bytes();
    NodeFacts {
        arch: Arch::Arm64,
        cpu_millis: BOARD_MILLIS,
        memory_bytes: MemoryBytes::mib(1024),
        disk_bytes: MemoryBytes::mib(8192),
        kernel: "6.1".into(),
        agent_version: "0".into(),
        address: Some(std::net::Ipv4Addr::new(10, 66, high, low)),
        cgroup: CgroupMode::V2,
        features: Vec::new(),
        images: vec![ImageDigest::from_sha256(&[7; 32])],
    }
}

impl Roost {
    /// `fans`: the rack names a fan output for each shelf.
    pub fn new(shelves: usize, per_shelf: usize, seed: u64, fans: bool) -> Self {
        let config = Config { rack: rack(shelves, per_shelf, fans), ..Config::default() };
        let mut roost =
            Self { cluster: Cluster::new(config), random: Random::new(seed), agents: Vec::new(), hub: true, fans };
        let image = Image {
            digest: ImageDigest::from_sha256(&[7; 32]),
            aliases: vec![IMAGE.into()],
            arch: Arch::Arm64,
            format: RootfsFormat::Erofs,
            size_bytes: 1 << 20,
            init: Some("/sbin/init".into()),
            description: String::new(),
            startup: roost_types::image::Startup::default(),
            created_at: Timestamp(EPOCH_MS),
        };
        roost.must(Command::AddImage { image: Box::new(image) }, 0);
        for board in 0..shelves * per_shelf {
            roost.join(board);
        }
        roost
    }

    /// A board's agent speaks for the first time.
    fn join(&mut self, board: usize) {
        let reply = self.must(Command::RegisterNode { name: node(board) }, 0);
        let Reply::Node(id) = reply else { unreachable!("a registered node is answered by its id: {reply:?}") };
        self.agents.push(Agent { node: id, seq: 0, applied: 0, reported: BTreeMap::new() });
        let request = SyncRequest { full: true, facts: Some(facts(board)), ..self.request(board) };
        self.must(Command::Sync { node: id, request: Box::new(request) }, 0);
    }

    /// Decides a command as the controller's owner does.
    fn must(&mut self, command: Command, now: i64) -> Reply {
        let context = Context { now: Timestamp(EPOCH_MS + now * 1000), seed: self.random.bits() };
        match decide(&self.cluster, &command, &context) {
            Ok(decision) => {
                self.cluster = decision.cluster;
                decision.reply
            }
            Err(problem) => unreachable!("the trial asks only what is possible: {command:?}: {problem:?}"),
        }
    }

    fn request(&mut self, board: usize) -> SyncRequest {
        let agent = &mut self.agents[board];
        agent.seq += 1;
        let id = format!("agent-{board}");
        let applied_generation = agent.applied;
        SyncRequest { boot_id: id.clone(), agent_id: id, seq: agent.seq, applied_generation, ..SyncRequest::default() }
    }

    /// The hub speaks once a second, or has fallen silent.
    fn hub(&mut self, seen: &Seen, now: i64) {
        let probes: Vec<ProbeValues> = (1..)
            .zip(&seen.inlets)
            .filter(|(_, inlet)| inlet.is_some())
            .map(|(number, inlet)| ProbeValues {
                number,
                temperature: inlet.map(MilliCelsius::from_f64),
                humidity: None,
            })
            .collect();
        let speaks = !probes.is_empty();
        if speaks {
            let fans = self.cluster.wish_of_hub(&name(HUB)).fans.into_iter().map(|(number, duty)| FanValues {
                number,
                duty: MilliPercent::from_centi(duty.into()),
                rpm: None,
            });
            let news = HubNews { probes, fans: fans.collect(), ..HubNews::default() };
            self.must(Command::HubReport { hub: name(HUB), news: Box::new(news) }, now);
        } else if self.hub {
            self.must(Command::HubLost { hub: name(HUB), reason: "its line closed".into() }, now);
        }
        self.hub = speaks;
    }

    /// An agent does what it is told and reports what changed; it polls with its vitals.
    fn agent(&mut self, board: usize, seen: &Seen, boards: &mut Boards, now: i64) {
        let (allocations, gone) = self.act(board, boards, now);
        let due = (now + i64::try_from(board).unwrap_or(0)) % POLL == 0;
        if allocations.is_empty() && gone.is_empty() && !due {
            return;
        }
        let vitals = NodeVitals {
            soc: seen.socs[board].map(MilliCelsius::from_f64),
            soc_trip: Some(MilliCelsius::from_f64(TRIP)),
            load: seen.loads[board].clamp(0.0, 1.0),
            memory_available: MemoryBytes::mib(512),
        };
        let request = SyncRequest { vitals: Some(vitals), allocations, gone, ..self.request(board) };
        let node = self.agents[board].node;
        self.must(Command::Sync { node, request: Box::new(request) }, now);
    }

    /// Brings the board's tasks nearer to what is desired; gives what changed and what is gone.
    fn act(&mut self, board: usize, boards: &mut Boards, now: i64) -> (Vec<AllocationReport>, Vec<AllocationId>) {
        let Some(row) = self.cluster.node(self.agents[board].node).cloned() else { return (Vec::new(), Vec::new()) };
        self.agents[board].applied = row.desired_generation;
        let (mut reports, mut gone) = (Vec::new(), Vec::new());
        for spec in view::desired_set(&self.cluster, &row).allocations {
            let (id, task) = (spec.id, spec.id.0.as_u128());
            let job = spec.name.as_str()[1..].parse().expect("a job's name holds its number");
            match spec.desired {
                AllocationDesired::Running => {
                    boards.start(board, task, job, spec.seed_from.is_some(), now);
                    boards.resume(board, task, now);
                }
                AllocationDesired::Stopped => boards.stop(board, task, now),
                AllocationDesired::Deleted => {
                    if boards.remove(board, task, now) {
                        gone.push(id);
                        self.agents[board].reported.remove(&id);
                        continue;
                    }
                }
            }
            // One that was stopped before it began has never been there.
            let phase = boards.phase(board, task).unwrap_or(Phase::Stopped);
            let told = (spec.generation, state_of(phase));
            if self.agents[board].reported.insert(id, told) != Some(told) {
                reports.push(report(id, told, now));
            }
        }
        (reports, gone)
    }
}

const fn state_of(phase: Phase) -> AllocationState {
    match phase {
        Phase::Starting(_) => AllocationState::Starting,
        Phase::Running => AllocationState::Running,
        Phase::Stopping(_) => AllocationState::Stopping,
        Phase::Stopped => AllocationState::Stopped,
    }
}

fn report(id: AllocationId, (generation, state): (u64, AllocationState), now: i64) -> AllocationReport {
    let started_at = (state == AllocationState::Running).then_some(Timestamp(EPOCH_MS + now * 1000));
    let (reason, strain) = (String::new(), Strain::default());
    AllocationReport {
        id,
        generation,
        state,
        reason,
        restarts: 0,
        started_at,
        exit: None,
        strain,
        snapshots: Vec::new(),
        restore: None,
    }
}

impl Policy for Roost {
    fn arrive(&mut self, job: &Job, now: i64) {
        let request = CreateInstance {
            name: Some(job_name(job.id)),
            cpu_millis: Some(job.cpu_millis),
            memory_bytes: Some(MemoryBytes::mib(job.memory_mib)),
            ..CreateInstance::of_image(IMAGE)
        };
        self.must(Command::CreateInstance { request: Box::new(request), idempotency: None }, now);
    }

    fn leave(&mut self, job: &Job, now: i64) {
        self.must(Command::DeleteInstance { instance: job_name(job.id) }, now);
    }

    fn step(&mut self, seen: &Seen, boards: &mut Boards, now: i64) {
        self.hub(seen, now);
        for board in 0..boards.count() {
            self.agent(board, seen, boards, now);
        }
        self.must(Command::Tick, now);
    }

    /// As the hub's firmware drives them; one that is gone drives nothing, and fans whose wire nobody drives run at full.
    fn duties(&self) -> Option<Vec<f64>> {
        let drive = |duty: u16| if self.hub { f64::from(duty) / 10_000.0 } else { 1.0 };
        let wish = self.cluster.wish_of_hub(&name(HUB));
        self.fans.then(|| wish.fans.into_iter().map(|(_, duty)| drive(duty)).collect())
    }
}
