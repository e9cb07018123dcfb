//! One allocation, step by step.

use roost_types::Size;
use roost_types::allocation::AllocationDesired;
use roost_types::instance::RestartPolicy;
use roost_types::{AllocationSpec, AllocationState, Timestamp};

use super::{digest, ended, id, set, spec};
use crate::{Action, Machine, Observation, Outcome, Seen, SeenState, Work};

/// A machine with one allocation, and the time.
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) now: i64,
    generation: u64,
}

impl Bench {
    fn new() -> Self {
        Self { machine: Machine::new(), now: 1_000, generation: 0 }
    }

    pub(super) fn holding_the_image() -> Self {
        let mut bench = Self::new();
        bench.see(Observation::ImagesHeld(vec![digest()]));
        bench
    }

    pub(super) fn want(&mut self, specs: Vec<AllocationSpec>) {
        self.generation += 1;
        assert!(self.machine.set_desired(self.generation, set(specs), Timestamp(self.now)));
    }

    pub(super) fn see(&mut self, observation: Observation) {
        self.machine.observe(observation, Timestamp(self.now));
    }

    pub(super) fn plan(&mut self) -> Vec<Action> {
        self.machine.plan(Timestamp(self.now)).actions
    }

    pub(super) fn answer(&mut self, op: u64, outcome: Outcome) {
        self.see(Observation::Completed { op, outcome });
    }

    /// Does everything planned, well, until nothing is left; returns the kinds of work done.
    pub(super) fn settle(&mut self) -> Vec<&'static str> {
        let mut done = Vec::new();
        loop {
            let actions = self.plan();
            if actions.is_empty() {
                return done;
            }
            for action in actions {
                done.push(kind(&action.work));
                let started = matches!(action.work, Work::Start(_));
                let outcome = if started { Outcome::Started(Timestamp(self.now)) } else { Outcome::Done };
                self.answer(action.op, outcome);
            }
        }
    }

    pub(super) fn state(&self) -> (AllocationState, String) {
        let report = self.machine.everything().reports.remove(0);
        (report.state, report.reason)
    }

    pub(super) fn exit(&mut self, code: i32) {
        self.see(Observation::Exited { id: id(1), exit: ended(code, self.now) });
    }
}

pub(super) fn kind(work: &Work) -> &'static str {
    match work {
        Work::EnsureNetwork(_) => "network",
        Work::ApplyFirewall(_) => "firewall",
        Work::FetchImage(_) => "image",
        Work::FetchLayer(_) => "layer",
        Work::Start(_) => "start",
        Work::Limit { .. } => "limit",
        Work::Stop { .. } => "stop",
        Work::Snapshot { .. } => "snapshot",
        Work::DropSnapshot { .. } => "drop",
        Work::Restore { .. } => "restore",
        Work::Delete { .. } => "delete",
    }
}

pub(super) fn op_of(actions: &[Action], wanted: &str) -> u64 {
    actions.iter().find(|a| kind(&a.work) == wanted).unwrap_or_else(|| panic!("no {wanted} in {actions:?}")).op
}

#[test]
fn goes_from_nothing_to_running() {
    let mut bench = Bench::new();
    bench.want(vec![spec(1, RestartPolicy::OnFailure)]);
    assert_eq!(bench.state().0, AllocationState::Preparing);
    assert_eq!(bench.settle(), ["network", "firewall", "image", "start"]);
    assert_eq!(bench.state(), (AllocationState::Running, String::new()));
}

#[test]
fn moved_data_is_fetched_before_the_first_start_only() {
    let mut bench = Bench::holding_the_image();
    let seeded = AllocationSpec { seed_from: Some(id(9)), ..spec(1, RestartPolicy::Always) };
    bench.want(vec![seeded.clone()]);
    assert_eq!(bench.settle(), ["network", "firewall", "layer", "start"]);
    bench.want(vec![AllocationSpec { epoch: 2, ..seeded }]);
    assert_eq!(bench.settle(), ["stop", "start"]);
}

#[test]
fn other_limits_are_put_in_force_without_a_restart() {
    let mut bench = Bench::holding_the_image();
    let small = spec(1, RestartPolicy::Always);
    bench.want(vec![small.clone()]);
    bench.settle();
    let large = AllocationSpec { resources: Size::Medium.resources(), generation: 2, ..small };
    bench.want(vec![large.clone()]);
    assert_eq!(bench.settle(), ["limit"]);
    bench.want(vec![AllocationSpec { generation: 3, ..large }]);
    assert_eq!(bench.settle(), Vec::<&str>::new());
    assert_eq!(bench.state(), (AllocationState::Running, String::new()));
}

#[test]
fn limits_that_cannot_be_put_in_force_are_said_of_a_running_container() {
    let mut bench = Bench::holding_the_image();
    let small = spec(1, RestartPolicy::Always);
    bench.want(vec![small.clone()]);
    bench.settle();
    bench.want(vec![AllocationSpec { resources: Size::Medium.resources(), generation: 2, ..small }]);
    let op = op_of(&bench.plan(), "limit");
    bench.see(Observation::Completed { op, outcome: Outcome::Failed("no".into()) });
    assert_eq!(bench.state(), (AllocationState::Running, "no".to_owned()));
}

#[test]
fn an_end_while_limits_change_is_an_end() {
    let mut bench = Bench::holding_the_image();
    let small = spec(1, RestartPolicy::Never);
    bench.want(vec![small.clone()]);
    bench.settle();
    bench.want(vec![AllocationSpec { resources: Size::Medium.resources(), generation: 2, ..small }]);
    let op = op_of(&bench.plan(), "limit");
    bench.exit(3);
    bench.see(Observation::Completed { op, outcome: Outcome::Failed("the container does not run".into()) });
    assert_eq!(bench.state(), (AllocationState::Failed, "exited with code 3".to_owned()));
}

#[test]
fn with_the_image_here_the_start_is_in_the_first_plan() {
    let mut bench = Bench::holding_the_image();
    bench.want(vec![]);
    bench.settle();
    bench.want(vec![spec(1, RestartPolicy::OnFailure)]);
    let kinds: Vec<_> = bench.plan().iter().map(|a| kind(&a.work)).collect();
    assert_eq!(kinds, ["firewall", "start"]);
}

#[test]
fn running_is_said_only_when_the_published_port_is_in_force() {
    let mut bench = Bench::holding_the_image();
    bench.want(vec![]);
    bench.settle();
    bench.want(vec![spec(1, RestartPolicy::OnFailure)]);
    let actions = bench.plan();
    bench.answer(op_of(&actions, "start"), Outcome::Started(Timestamp(1_000)));
    assert_eq!(bench.state().0, AllocationState::Starting);
    bench.answer(op_of(&actions, "firewall"), Outcome::Failed("nft is not installed".to_owned()));
    assert_eq!(bench.state(), (AllocationState::Starting, "nft is not installed".to_owned()));
    let told = |bench: &Bench| bench.machine.everything().reports[0].started_at;
    assert_eq!(told(&bench), None, "a start is told with the state that it leads to");
    bench.now += 1_000;
    assert_eq!(bench.settle(), ["firewall"]);
    assert_eq!((bench.state().0, told(&bench)), (AllocationState::Running, Some(Timestamp(1_000))));
}

#[test]
fn what_an_exit_leads_to() {
    use AllocationState::{Failed, Starting, Stopped};
    use RestartPolicy::{Always, Never, OnFailure};
    for (policy, code, state, reason) in [
        (Never, 0, Stopped, "exited with code 0"),
        (Never, 3, Failed, "exited with code 3"),
        (Never, 137, Failed, "killed by signal 9"),
        (OnFailure, 0, Stopped, "exited with code 0"),
        (OnFailure, 3, Starting, "exited with code 3, starts again after 1 s"),
        (Always, 0, Starting, "exited with code 0, starts again after 1 s"),
    ] {
        let mut bench = Bench::holding_the_image();
        bench.want(vec![spec(1, policy)]);
        bench.settle();
        bench.exit(code);
        assert!(!bench.settle().contains(&"start"), "{policy:?} {code}");
        assert_eq!(bench.state(), (state, reason.to_owned()), "{policy:?} {code}");
        bench.now += 1_000;
        let started_again = bench.settle().contains(&"start");
        assert_eq!(started_again, state == Starting, "{policy:?} {code}");
    }
}

#[test]
fn pauses_grow_and_shrink_again_after_ten_minutes_of_running() {
    let mut bench = Bench::holding_the_image();
    bench.want(vec![spec(1, RestartPolicy::Always)]);
    bench.settle();
    for pause in [1, 2, 4, 8] {
        bench.exit(1);
        let wake = bench.machine.plan(Timestamp(bench.now)).wake_at;
        assert_eq!(wake, Some(Timestamp(bench.now + pause * 1_000)));
        bench.now += pause * 1_000;
        assert!(bench.settle().contains(&"start"));
    }
    bench.now += 600_000;
    bench.exit(1);
    assert_eq!(bench.machine.plan(Timestamp(bench.now)).wake_at, Some(Timestamp(bench.now + 1_000)));
    assert_eq!(bench.machine.everything().reports[0].restarts, 4);
}

#[test]
fn a_command_that_cannot_be_executed_fails_at_once_and_a_new_epoch_tries_again() {
    let mut bench = Bench::holding_the_image();
    bench.want(vec![]);
    bench.settle();
    bench.want(vec![spec(1, RestartPolicy::Always)]);
    let actions = bench.plan();
    bench.answer(op_of(&actions, "start"), Outcome::Impossible("no such file: httpd".to_owned()));
    bench.answer(op_of(&actions, "firewall"), Outcome::Done);
    bench.now += 3_600_000;
    assert_eq!(bench.settle(), ["firewall"], "its port is closed again");
    assert_eq!(bench.state(), (AllocationState::Failed, "no such file: httpd".to_owned()));
    bench.want(vec![AllocationSpec { epoch: 2, ..spec(1, RestartPolicy::Always) }]);
    assert!(bench.settle().contains(&"start"));
}

#[test]
fn stop_keeps_it_and_start_brings_it_back() {
    let mut bench = Bench::holding_the_image();
    bench.want(vec![spec(1, RestartPolicy::Always)]);
    bench.settle();
    let stopped = AllocationSpec { desired: AllocationDesired::Stopped, ..spec(1, RestartPolicy::Always) };
    bench.want(vec![stopped]);
    assert_eq!(bench.state().0, AllocationState::Stopping);
    let actions = bench.plan();
    bench.exit(143);
    bench.answer(op_of(&actions, "stop"), Outcome::Done);
    bench.answer(op_of(&actions, "firewall"), Outcome::Done);
    bench.settle();
    assert_eq!(bench.state().0, AllocationState::Stopped);
    assert_eq!(bench.machine.everything().reports[0].exit.map(|e| e.code), Some(143));
    bench.want(vec![spec(1, RestartPolicy::Always)]);
    assert!(bench.settle().contains(&"start"));
}

#[test]
fn deleted_or_absent_ends_in_gone_exactly_once() {
    for specs in
        [vec![], vec![AllocationSpec { desired: AllocationDesired::Deleted, ..spec(1, RestartPolicy::Always) }]]
    {
        let mut bench = Bench::holding_the_image();
        bench.want(vec![spec(1, RestartPolicy::Always)]);
        bench.settle();
        bench.want(specs);
        assert!(bench.settle().contains(&"delete"));
        assert_eq!(bench.machine.take_changes().gone, [id(1)]);
        assert_eq!(bench.machine.take_changes().gone, []);
        assert!(bench.machine.everything().reports.is_empty());
        bench.want(vec![]);
        assert!(bench.settle().is_empty());
    }
}

#[test]
fn an_older_desired_set_is_ignored() {
    let mut bench = Bench::holding_the_image();
    bench.generation = 5;
    bench.want(vec![spec(1, RestartPolicy::Always)]);
    bench.settle();
    assert!(!bench.machine.set_desired(5, set(vec![]), Timestamp(1_000)));
    assert!(bench.settle().is_empty());
    assert_eq!(bench.machine.generation(), Some(6));
}

#[test]
fn running_containers_are_adopted_and_those_that_lost_power_start_again() {
    let running = SeenState::Running { epoch: 1, started_at: Timestamp(10) };
    for (state, starts) in [(running, false), (SeenState::Exited { exit: None }, true)] {
        let mut bench = Bench::holding_the_image();
        bench.want(vec![spec(1, RestartPolicy::Never)]);
        bench.see(Observation::Listed(vec![Seen { id: id(1), state, starts: 0, snapshots: vec![] }]));
        // What an earlier agent let through runs on, and is never told to be starting.
        let told = bench.machine.everything().reports[0].state;
        assert_eq!(told == AllocationState::Running, !starts);
        assert_eq!(bench.settle().contains(&"start"), starts);
        assert_eq!(bench.state().0, AllocationState::Running);
    }
}

#[test]
fn an_agent_that_is_new_counts_on() {
    let running = SeenState::Running { epoch: 1, started_at: Timestamp(10) };
    let exited = SeenState::Exited { exit: None };
    // An older keeper does not count.
    for (state, starts, restarts) in [(running, 4, 3), (running, 0, 0), (exited, 4, 4), (exited, 0, 0)] {
        let mut bench = Bench::holding_the_image();
        bench.want(vec![spec(1, RestartPolicy::Always)]);
        bench.see(Observation::Listed(vec![Seen { id: id(1), state, starts, snapshots: vec![] }]));
        bench.settle();
        assert_eq!(bench.machine.everything().reports[0].restarts, restarts, "{state:?} {starts}");
    }
}

#[test]
fn nothing_found_is_deleted_before_the_first_desired_set() {
    let mut bench = Bench::new();
    let state = SeenState::Running { epoch: 1, started_at: Timestamp(10) };
    bench.see(Observation::Listed(vec![Seen { id: id(1), state, starts: 0, snapshots: vec![] }]));
    assert!(bench.settle().is_empty());
    bench.want(vec![]);
    assert!(bench.settle().contains(&"delete"));
    assert_eq!(bench.machine.take_changes().gone, [id(1)]);
}

#[test]
fn an_exit_that_overtakes_its_start_counts_and_one_of_an_earlier_run_does_not() {
    let mut bench = Bench::holding_the_image();
    bench.want(vec![]);
    bench.settle();
    bench.want(vec![spec(1, RestartPolicy::Never)]);
    let actions = bench.plan();
    bench.see(Observation::Exited { id: id(1), exit: ended(4, 1_500) });
    bench.answer(op_of(&actions, "start"), Outcome::Started(Timestamp(1_200)));
    assert_eq!(bench.state(), (AllocationState::Failed, "exited with code 4".to_owned()));

    bench.want(vec![AllocationSpec { epoch: 2, ..spec(1, RestartPolicy::Never) }]);
    bench.now = 2_000;
    bench.answer(op_of(&actions, "firewall"), Outcome::Done);
    bench.settle();
    bench.see(Observation::Exited { id: id(1), exit: ended(4, 1_500) });
    assert_eq!(bench.state().0, AllocationState::Running);
}

#[test]
fn a_failed_download_is_tried_again_and_says_why() {
    let mut bench = Bench::new();
    bench.want(vec![spec(1, RestartPolicy::Always)]);
    let actions = bench.plan();
    bench.answer(op_of(&actions, "image"), Outcome::Failed("the digest is wrong".to_owned()));
    assert_eq!(bench.state(), (AllocationState::Preparing, "the digest is wrong".to_owned()));
    assert!(!bench.plan().iter().any(|a| kind(&a.work) == "image"));
    bench.now += 1_000;
    assert!(bench.plan().iter().any(|a| kind(&a.work) == "image"));
}

#[test]
fn reports_carry_the_generation_of_the_spec_and_are_not_repeated() {
    let mut bench = Bench::holding_the_image();
    bench.want(vec![AllocationSpec { generation: 41, ..spec(1, RestartPolicy::Always) }]);
    bench.settle();
    let changes = bench.machine.take_changes();
    assert_eq!(changes.reports[0].generation, 41);
    assert!(bench.machine.take_changes().reports.is_empty());
    bench.want(vec![AllocationSpec { generation: 42, ..spec(1, RestartPolicy::Always) }]);
    assert_eq!(bench.machine.take_changes().reports[0].generation, 42, "a new generation is acknowledged");
}

#[test]
fn a_stop_may_be_made_shorter_while_it_is_under_way() {
    let mut bench = Bench::holding_the_image();
    bench.want(vec![spec(1, RestartPolicy::Always)]);
    bench.settle();
    let stop = |seconds| AllocationSpec {
        desired: AllocationDesired::Stopped,
        stop_seconds: Some(seconds),
        ..spec(1, RestartPolicy::Always)
    };
    let graces = |actions: &[Action]| -> Vec<u64> {
        let grace =
            |action: &Action| if let Work::Stop { grace, .. } = action.work { Some(grace.as_secs()) } else { None };
        actions.iter().filter_map(grace).collect()
    };
    bench.want(vec![stop(600)]);
    let first = bench.plan();
    assert_eq!(graces(&first), [600]);
    bench.want(vec![stop(900)]);
    assert!(graces(&bench.plan()).is_empty(), "it can only be brought forward");
    bench.want(vec![stop(0)]);
    let second = bench.plan();
    assert_eq!(graces(&second), [0]);
    bench.want(vec![AllocationSpec { epoch: 2, ..spec(1, RestartPolicy::Always) }]);
    bench.answer(op_of(&second, "stop"), Outcome::Done);
    assert!(bench.plan().iter().all(|action| kind(&action.work) != "start"), "one stop has not been answered");
    bench.answer(op_of(&first, "stop"), Outcome::Done);
    assert!(bench.settle().contains(&"start"));
    assert_eq!(bench.state().0, AllocationState::Running);
}
