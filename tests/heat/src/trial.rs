//! One trial: a rack, its work, a fault, a policy.

use roost_heat_model::{DESIGN_DUTY, FANS, Rack, Random};

use crate::boards::Boards;
use crate::jobs::{self, Job};
use crate::policy::{Kind, Seen};
use crate::score::{CRITICAL, HOT, Score, Watch};

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every fan of one shelf stops.
    FanLoss,
    /// The aisle becomes 10 °C warmer.
    HotAisle,
    /// The hub is gone: no probe speaks.
    HubLoss,
    /// The fans of one shelf stop while the hub is gone.
    FanAndHub,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 5] = [Self::None, Self::FanLoss, Self::HotAisle, Self::HubLoss, Self::FanAndHub];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FanLoss => "fan loss",
            Self::HotAisle => "aisle +10 °C",
            Self::HubLoss => "hub loss",
            Self::FanAndHub => "fan and hub loss",
        }
    }
}

/// What is tried.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Setup {
    /// Decides everything that differs from trial to trial.
    pub seed: u64,
    /// Shelves.
    pub shelves: usize,
    /// Boards on each.
    pub per_shelf: usize,
    /// Share of the rack's memory that jobs hold, 0 to 1.
    pub load: f64,
    /// What goes wrong.
    pub fault: Fault,
    /// When it begins, s.
    pub begins: i64,
    /// When it is mended, s.
    pub ends: i64,
    /// How long the trial lasts, s.
    pub seconds: i64,
}

impl Setup {
    /// Four shelves of eight boards for 100 minutes; the fault lasts from minute 30 to minute 70.
    #[must_use]
    pub const fn usual(seed: u64, load: f64, fault: Fault) -> Self {
        Self { seed, shelves: 4, per_shelf: 8, load, fault, begins: 1_800, ends: 4_200, seconds: 6_000 }
    }

    /// Boards of the rack.
    #[must_use]
    pub const fn boards(&self) -> usize {
        self.shelves * self.per_shelf
    }
}

/// The world of a trial.
struct World {
    setup: Setup,
    rack: Rack,
    boards: Boards,
    jobs: Vec<Job>,
    /// The aisle without the fault, °C.
    aisle: f64,
    /// The shelf that loses its fans.
    shelf: usize,
    /// When a fault last began or ended.
    fault: i64,
    score: Score,
    watch: Watch,
}

/// Runs a trial.
#[must_use]
pub fn run(setup: &Setup, kind: Kind) -> Score {
    let mut policy = kind.build(setup.shelves, setup.per_shelf, setup.seed);
    let mut world = World::new(setup);
    let mut arrived = 0;
    for now in 0..setup.seconds {
        world.room(now);
        while world.jobs.get(arrived).is_some_and(|job| job.arrives <= now) {
            policy.arrive(&world.jobs[arrived], now);
            world.watch.arrive(arrived, now);
            arrived += 1;
        }
        for job in world.jobs[..arrived].iter().filter(|job| job.leaves == Some(now)) {
            policy.leave(job, now);
            world.watch.leave(job.id);
        }
        world.boards.advance(now);
        let seen = world.live(now, arrived);
        policy.step(&seen, &mut world.boards, now);
        world.drive(policy.duties());
        world.watch.look(&world.boards, &mut world.score, now, world.fault);
    }
    world.score
}

impl World {
    fn new(setup: &Setup) -> Self {
        let mut random = Random::new(setup.seed);
        let shelf_of = (0..setup.boards()).map(|board| board / setup.per_shelf).collect();
        let mut rack = Rack::seeded(setup.shelves, shelf_of, random.bits());
        let aisle = random.between(23.0, 25.0);
        rack.rest_in(aisle);
        let shelf = random.below(setup.shelves);
        let (boards, jobs) = (Boards::new(setup.boards()), jobs::make(setup));
        let (score, watch) = (Score::default(), Watch::default());
        Self { setup: *setup, rack, boards, jobs, aisle, shelf, fault: i64::MIN, score, watch }
    }

    /// The aisle breathes by half a degree an hour; the fault begins and is mended.
    fn room(&mut self, now: i64) {
        let setup = self.setup;
        let broken = (setup.begins..setup.ends).contains(&now) && setup.fault != Fault::None;
        if setup.fault != Fault::None && (now == setup.begins || now == setup.ends) {
            self.fault = now;
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds of a trial")]
        let wave = 0.5 * (now as f64 * std::f64::consts::TAU / 3600.0).sin();
        let is = |faults: &[Fault]| broken && faults.contains(&setup.fault);
        self.rack.set_room(self.aisle + wave + if is(&[Fault::HotAisle]) { 10.0 } else { 0.0 });
        self.rack.break_fans(self.shelf, if is(&[Fault::FanLoss, Fault::FanAndHub]) { FANS } else { 0 });
        self.rack.connect_hub(!is(&[Fault::HubLoss, Fault::FanAndHub]));
    }

    /// Fans turn as they are driven; those that nobody drives give the design's flow.
    fn drive(&mut self, duties: Option<Vec<f64>>) {
        let duties = duties.unwrap_or_else(|| vec![DESIGN_DUTY; self.setup.shelves]);
        for (shelf, duty) in duties.iter().enumerate() {
            self.rack.set_duty(shelf, *duty);
        }
        #[expect(clippy::cast_precision_loss, reason = "some shelves")]
        let shelves = self.setup.shelves as f64;
        self.score.drive += duties.iter().sum::<f64>() / shelves;
        self.score.seconds += 1.0;
    }

    /// One second of the boards and the air; gives what sensors say at its end.
    fn live(&mut self, now: i64, arrived: usize) -> Seen {
        let demands: Vec<f64> = (0..self.boards.count()).map(|b| self.boards.demand(b, &self.jobs, now)).collect();
        let loads: Vec<f64> = demands.iter().map(|demand| demand.min(1.0)).collect();
        self.rack.step(1.0, &loads.iter().copied().map(Some).collect::<Vec<_>>());
        let cores = f64::from(jobs::BOARD_MILLIS) / 1000.0;
        for (board, load) in loads.iter().enumerate() {
            let soc = self.rack.soc(board);
            self.score.peak = self.score.peak.max(soc);
            self.score.hot += f64::from(u8::from(soc >= HOT));
            self.score.critical += f64::from(u8::from(soc >= CRITICAL));
            self.score.work += load * cores * self.rack.speed(board);
        }
        let present = self.jobs[..arrived].iter().filter(|job| job.leaves.is_none_or(|leaves| leaves > now));
        self.score.asked += present.map(|job| job.demand(now)).sum::<f64>() / 1000.0;
        self.see(loads)
    }

    fn see(&mut self, loads: Vec<f64>) -> Seen {
        let hub = self.rack.has_hub();
        Seen {
            inlets: (0..self.setup.shelves).map(|shelf| self.rack.read_probe(shelf)).collect(),
            socs: (0..self.boards.count()).map(|board| self.rack.read_soc(board)).collect(),
            outlets: (0..self.boards.count()).map(|board| hub.then(|| self.rack.board_outlet(board))).collect(),
            loads,
        }
    }
}
