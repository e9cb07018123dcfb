//! Snapshots and restores of one allocation.

use roost_types::allocation::AllocationDesired;
use roost_types::instance::RestartPolicy;
use roost_types::snapshot::{RestoreReport, RestoreWish, SnapshotOutcome, SnapshotWish};
use roost_types::{AllocationReport, AllocationSpec, AllocationState, MemoryBytes, Timestamp};

use super::lifecycle::{Bench, kind, op_of};
use super::{id, snapshot, spec};
use crate::{Observation, Outcome, Seen, SeenState};

fn with_snapshots(wishes: &[(u8, bool)]) -> AllocationSpec {
    let snapshots = wishes.iter().map(|(n, make)| SnapshotWish { id: snapshot(*n), make: *make }).collect();
    AllocationSpec { snapshots, ..spec(1, RestartPolicy::Always) }
}

fn report(bench: &Bench) -> AllocationReport {
    bench.machine.everything().reports.remove(0)
}

fn running() -> Bench {
    let mut bench = Bench::holding_the_image();
    bench.want(vec![spec(1, RestartPolicy::Always)]);
    bench.settle();
    bench
}

#[test]
fn a_snapshot_is_made_once_and_what_runs_stays_running() {
    let mut bench = running();
    bench.want(vec![with_snapshots(&[(1, true)])]);
    let op = op_of(&bench.plan(), "snapshot");
    assert_eq!(report(&bench).state, AllocationState::Running);
    bench.answer(op, Outcome::Kept(MemoryBytes(7)));
    assert_eq!(report(&bench).snapshots[0].outcome, SnapshotOutcome::Held(MemoryBytes(7)));
    assert!(bench.settle().is_empty());
    bench.want(vec![with_snapshots(&[(1, false)])]);
    assert!(bench.settle().is_empty());
    bench.want(vec![with_snapshots(&[])]);
    assert_eq!(bench.settle(), ["drop"]);
    assert!(report(&bench).snapshots.is_empty());
}

#[test]
fn a_snapshot_that_failed_is_told_and_not_tried_again() {
    let mut bench = running();
    bench.want(vec![with_snapshots(&[(1, true)])]);
    let op = op_of(&bench.plan(), "snapshot");
    bench.answer(op, Outcome::Failed("no room".to_owned()));
    assert_eq!(report(&bench).snapshots[0].outcome, SnapshotOutcome::Failed("no room".to_owned()));
    bench.now += 100_000;
    assert!(bench.settle().is_empty());
    bench.want(vec![with_snapshots(&[])]);
    assert!(report(&bench).snapshots.is_empty());
    assert!(bench.settle().is_empty());
}

#[test]
fn one_that_was_lost_is_never_made_anew() {
    let mut bench = running();
    bench.want(vec![with_snapshots(&[(1, false)])]);
    assert!(bench.settle().is_empty());
}

#[test]
fn an_exit_during_a_snapshot_is_an_exit_like_others() {
    let mut bench = running();
    bench.want(vec![with_snapshots(&[(1, true)])]);
    let op = op_of(&bench.plan(), "snapshot");
    bench.now += 1_000;
    bench.exit(3);
    assert!(bench.state().1.starts_with("exited with code 3, starts again after 1 s"), "{:?}", bench.state());
    assert!(bench.plan().iter().all(|action| kind(&action.work) != "start"), "its files are being copied");
    bench.now += 2_000;
    bench.answer(op, Outcome::Kept(MemoryBytes(7)));
    assert!(bench.settle().contains(&"start"));
}

#[test]
fn a_successor_knows_what_its_predecessor_made() {
    let mut bench = Bench::holding_the_image();
    bench.want(vec![with_snapshots(&[(1, true), (2, true)])]);
    let state = SeenState::Running { epoch: 1, started_at: Timestamp(900) };
    let snapshots = vec![(snapshot(1), MemoryBytes(7)), (snapshot(3), MemoryBytes(8))];
    bench.see(Observation::Listed(vec![Seen { id: id(1), state, starts: 0, snapshots }]));
    let mut done = bench.settle();
    done.retain(|kind| !matches!(*kind, "network" | "firewall"));
    assert_eq!(done, ["drop", "snapshot", "limit"]);
}

#[test]
fn a_restore_waits_for_the_end_of_what_runs_and_is_done_once() {
    let mut bench = running();
    let restore = Some(RestoreWish { snapshot: snapshot(1), number: 5 });
    let stopped = AllocationSpec { desired: AllocationDesired::Stopped, restore, ..with_snapshots(&[(1, false)]) };
    bench.want(vec![stopped.clone()]);
    let op = op_of(&bench.plan(), "stop");
    bench.answer(op, Outcome::Done);
    assert_eq!(report(&bench).state, AllocationState::Stopping, "it is not over before the files are back");
    let op = op_of(&bench.plan(), "restore");
    assert_eq!((report(&bench).state, report(&bench).restore), (AllocationState::Stopping, None));
    bench.answer(op, Outcome::Done);
    let said = report(&bench);
    assert_eq!(said.state, AllocationState::Stopped);
    assert_eq!(said.restore, Some(RestoreReport { number: 5, error: None }));
    bench.want(vec![stopped]);
    assert!(!bench.settle().contains(&"restore"));
}

#[test]
fn a_restore_that_failed_is_told_and_not_tried_again() {
    let mut bench = running();
    let restore = Some(RestoreWish { snapshot: snapshot(1), number: 5 });
    bench.want(vec![AllocationSpec { desired: AllocationDesired::Stopped, restore, ..with_snapshots(&[]) }]);
    let op = op_of(&bench.plan(), "stop");
    bench.answer(op, Outcome::Done);
    let op = op_of(&bench.plan(), "restore");
    bench.answer(op, Outcome::Failed("no room".to_owned()));
    assert_eq!(report(&bench).restore, Some(RestoreReport { number: 5, error: Some("no room".to_owned()) }));
    bench.now += 100_000;
    assert!(!bench.settle().contains(&"restore"));
}

#[test]
fn snapshots_that_came_with_the_layer_are_known() {
    let mut bench = Bench::holding_the_image();
    let seeded = AllocationSpec { seed_from: Some(id(9)), ..with_snapshots(&[(1, false)]) };
    bench.want(vec![seeded]);
    let op = op_of(&bench.plan(), "layer");
    bench.answer(op, Outcome::Filled(vec![(snapshot(1), MemoryBytes(7))]));
    assert_eq!(report(&bench).snapshots[0].outcome, SnapshotOutcome::Held(MemoryBytes(7)));
}
