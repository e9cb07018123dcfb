//! Whatever happens in whatever order, the node ends where it should.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use roost_types::allocation::AllocationDesired;
use roost_types::instance::RestartPolicy;
use roost_types::snapshot::SnapshotWish;
use roost_types::{AllocationId, AllocationSpec, AllocationState, MemoryBytes, SnapshotId, Timestamp};

use super::{digest, ended, id, set, snapshot, spec};
use crate::{Action, Machine, Observation, Outcome, Seen, SeenState, Work};

#[derive(Clone, Debug)]
enum Step {
    /// The controller wants allocation `n` so, or no longer names it.
    Want { n: u8, desired: Option<AllocationDesired>, new_epoch: bool },
    /// The controller wants snapshot `s` of allocation `n`, or no longer does.
    Keep { n: u8, s: u8, wished: bool },
    /// The controller's last set arrives again, or an older one does.
    Repeat { older: bool },
    /// The work under way that was handed out at this place ends, so or so.
    Answer { which: usize, well: bool },
    /// A completion is delivered once more.
    AnswerTwice { which: usize },
    /// The first process of `n` ends.
    Exit { n: u8, code: i32 },
    /// The agent looks at what there is.
    Look,
    /// Time passes.
    Wait { ms: i64 },
    /// The agent is killed and starts again; work under way is done or not.
    Restart,
}

fn desired() -> impl Strategy<Value = Option<AllocationDesired>> {
    prop_oneof![
        3 => Just(Some(AllocationDesired::Running)),
        1 => Just(Some(AllocationDesired::Stopped)),
        1 => Just(Some(AllocationDesired::Deleted)),
        1 => Just(None),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u8..4, desired(), any::<bool>()).prop_map(|(n, desired, new_epoch)| Step::Want { n, desired, new_epoch }),
        2 => (1u8..4, 1u8..4, any::<bool>()).prop_map(|(n, s, wished)| Step::Keep { n, s, wished }),
        1 => any::<bool>().prop_map(|older| Step::Repeat { older }),
        6 => (0usize..8, prop::bool::weighted(0.8)).prop_map(|(which, well)| Step::Answer { which, well }),
        1 => (0usize..8).prop_map(|which| Step::AnswerTwice { which }),
        2 => (1u8..4, 0i32..3).prop_map(|(n, code)| Step::Exit { n, code }),
        1 => Just(Step::Look),
        2 => (0i64..5_000).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Restart),
    ]
}

/// A node as it really is, with a controller that remembers what it wants.
struct World {
    machine: Machine,
    now: i64,
    generation: u64,
    wanted: BTreeMap<u8, AllocationSpec>,
    containers: BTreeMap<AllocationId, SeenState>,
    kept: BTreeMap<AllocationId, BTreeSet<SnapshotId>>,
    under_way: Vec<Action>,
    answered: Vec<(u64, Outcome)>,
    gone: Vec<AllocationId>,
    image: bool,
}

impl World {
    fn new() -> Self {
        Self {
            machine: Machine::new(),
            now: 1_000,
            generation: 0,
            wanted: BTreeMap::new(),
            containers: BTreeMap::new(),
            kept: BTreeMap::new(),
            under_way: Vec::new(),
            answered: Vec::new(),
            gone: Vec::new(),
            image: false,
        }
    }

    fn step(&mut self, step: Step) {
        self.now += 1;
        match step {
            Step::Want { n, desired, new_epoch } => self.want(n, desired, new_epoch),
            Step::Keep { n, s, wished } => self.keep(n, s, wished),
            Step::Repeat { older } => {
                let generation = self.generation.saturating_sub(u64::from(older));
                let specs = if older { Vec::new() } else { self.wanted.values().cloned().collect() };
                if self.generation > 0 {
                    self.machine.set_desired(generation, set(specs), Timestamp(self.now));
                }
            }
            Step::Answer { which, well } if !self.under_way.is_empty() => {
                let action = self.under_way.remove(which % self.under_way.len());
                self.do_work(action, well);
            }
            Step::AnswerTwice { which } if !self.answered.is_empty() => {
                let (op, outcome) = self.answered[which % self.answered.len()].clone();
                self.see(Observation::Completed { op, outcome });
            }
            Step::Answer { .. } | Step::AnswerTwice { .. } => {}
            Step::Exit { n, code } => self.exit(id(n), code),
            Step::Look if self.under_way.is_empty() => self.look(),
            Step::Look => {}
            Step::Wait { ms } => self.now += ms,
            Step::Restart => self.restart(),
        }
        self.plan();
    }

    fn want(&mut self, n: u8, desired: Option<AllocationDesired>, new_epoch: bool) {
        self.generation += 1;
        let epoch = self.wanted.get(&n).map_or(1, |s| s.epoch + u64::from(new_epoch));
        match desired {
            None => drop(self.wanted.remove(&n)),
            Some(desired) => {
                let restart =
                    [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never][usize::from(n) % 3];
                let snapshots = self.wanted.get(&n).map(|spec| spec.snapshots.clone()).unwrap_or_default();
                let new = AllocationSpec { desired, epoch, snapshots, generation: self.generation, ..spec(n, restart) };
                self.wanted.insert(n, new);
            }
        }
        self.send();
    }

    fn keep(&mut self, n: u8, s: u8, wished: bool) {
        self.generation += 1;
        if let Some(spec) = self.wanted.get_mut(&n) {
            let wish = SnapshotWish { id: snapshot(s), make: true };
            spec.snapshots.retain(|other| other.id != wish.id);
            spec.snapshots.extend(wished.then_some(wish));
            spec.generation = self.generation;
        }
        self.send();
    }

    fn send(&mut self) {
        let specs = self.wanted.values().cloned().collect();
        assert!(self.machine.set_desired(self.generation, set(specs), Timestamp(self.now)));
    }

    fn see(&mut self, observation: Observation) {
        self.machine.observe(observation, Timestamp(self.now));
    }

    fn look(&mut self) {
        let snapshots =
            |id: &AllocationId| self.kept.get(id).into_iter().flatten().map(|s| (*s, MemoryBytes(1))).collect();
        let seen = |(id, state): (&AllocationId, &SeenState)| Seen {
            id: *id,
            state: *state,
            starts: 0,
            snapshots: snapshots(id),
        };
        let seen = self.containers.iter().map(seen).collect();
        self.see(Observation::Listed(seen));
    }

    fn exit(&mut self, id: AllocationId, code: i32) {
        let exit = ended(code, self.now);
        if let Some(state @ SeenState::Running { .. }) = self.containers.get_mut(&id) {
            *state = SeenState::Exited { exit: Some(exit) };
            self.see(Observation::Exited { id, exit });
        }
    }

    /// Changes the world as the work does, then says so.
    fn do_work(&mut self, action: Action, well: bool) {
        let outcome = if well { self.work_done(&action.work) } else { Outcome::Failed("bad luck".to_owned()) };
        self.answered.push((action.op, outcome.clone()));
        self.see(Observation::Completed { op: action.op, outcome });
    }

    fn work_done(&mut self, work: &Work) -> Outcome {
        match work {
            Work::EnsureNetwork(_) | Work::ApplyFirewall(_) | Work::FetchLayer(_) | Work::Limit { .. } => Outcome::Done,
            Work::FetchImage(_) => {
                self.image = true;
                Outcome::Done
            }
            Work::Start(spec) => {
                assert!(self.image, "started without its image");
                let started_at = Timestamp(self.now);
                let before = self.containers.insert(spec.id, SeenState::Running { epoch: spec.epoch, started_at });
                assert!(!matches!(before, Some(SeenState::Running { .. })), "started twice");
                Outcome::Started(started_at)
            }
            Work::Stop { id, .. } => {
                self.exit(*id, 143);
                Outcome::Done
            }
            Work::Snapshot { id, .. } if !self.containers.contains_key(id) => {
                Outcome::Failed("there are no files".to_owned())
            }
            Work::Snapshot { id, snapshot } => {
                let is_new = self.kept.entry(*id).or_default().insert(*snapshot);
                assert!(is_new, "what was kept is not made anew of other files");
                Outcome::Kept(MemoryBytes(1))
            }
            Work::DropSnapshot { id, snapshot } => {
                self.kept.entry(*id).or_default().remove(snapshot);
                Outcome::Done
            }
            Work::Restore { .. } => panic!("nobody asked for a restore"),
            Work::Delete { id } => {
                self.containers.remove(id);
                self.kept.remove(id);
                Outcome::Done
            }
        }
    }

    fn restart(&mut self) {
        for action in std::mem::take(&mut self.under_way) {
            self.work_done(&action.work);
        }
        self.answered.clear();
        self.machine = Machine::new();
        if self.generation > 0 {
            let specs = self.wanted.values().cloned().collect();
            self.machine.set_desired(self.generation, set(specs), Timestamp(self.now));
        }
        self.see(Observation::ImagesHeld(self.image.then(digest).into_iter().collect()));
        self.look();
    }

    fn plan(&mut self) {
        let actions = self.machine.plan(Timestamp(self.now)).actions;
        self.under_way.extend(actions);
        self.gone.extend(self.machine.take_changes().gone);
    }

    /// No more trouble: everything goes well and enough time passes.
    fn settle(&mut self) {
        for _ in 0..50 {
            while !self.under_way.is_empty() {
                let action = self.under_way.remove(0);
                self.now += 1;
                self.do_work(action, true);
                self.plan();
            }
            self.now += 61_000;
            self.plan();
            if self.under_way.is_empty() && self.machine.plan(Timestamp(self.now)).wake_at.is_none() {
                return;
            }
        }
        panic!("never settles: {:?}", self.under_way);
    }

    fn check(&self) {
        let reports: BTreeMap<_, _> = self.machine.everything().reports.into_iter().map(|r| (r.id, r)).collect();
        for spec in self.wanted.values() {
            let container = self.containers.get(&spec.id);
            if spec.desired != AllocationDesired::Deleted {
                let held = self.kept.get(&spec.id).cloned().unwrap_or_default();
                let said = |wish: &SnapshotWish| reports[&spec.id].snapshots.iter().any(|report| report.id == wish.id);
                assert!(
                    held.iter().all(|id| spec.snapshots.iter().any(|wish| wish.id == *id)),
                    "not dropped: {held:?}"
                );
                assert!(spec.snapshots.iter().all(said), "neither kept nor failed: {:?}", spec.snapshots);
            }
            match spec.desired {
                AllocationDesired::Running => {
                    let report = &reports[&spec.id];
                    assert_eq!(report.generation, spec.generation);
                    let settled_by_itself = spec.restart != RestartPolicy::Always && report.exit.is_some();
                    match container {
                        Some(SeenState::Running { epoch, .. }) => {
                            assert_eq!((report.state, *epoch), (AllocationState::Running, spec.epoch));
                        }
                        Some(SeenState::Exited { .. }) | None => {
                            assert!(settled_by_itself && report.state.is_settled(), "{report:?}");
                        }
                    }
                }
                AllocationDesired::Stopped => {
                    assert_eq!(reports[&spec.id].state, AllocationState::Stopped);
                    assert!(!matches!(container, Some(SeenState::Running { .. })));
                }
                AllocationDesired::Deleted => {
                    assert!(container.is_none() && self.gone.contains(&spec.id));
                }
            }
        }
        if self.generation > 0 {
            let named = |id: &AllocationId| self.wanted.values().any(|s| s.id == *id);
            assert!(self.containers.keys().all(named), "left over: {:?}", self.containers);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_order_of_events_ends_with_observed_equal_to_desired(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.check();
    }
}
