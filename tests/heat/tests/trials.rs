//! Small trials on every change: what must hold for every seed, and the order of the policies where it is plain.

use roost_heat_trials::{Fault, Kind, Score, Setup, run};

/// Seeds of the small trials.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=2;

/// Three shelves of four boards for 40 minutes; the fault lasts from minute 10 to minute 30.
fn small(seed: u64, load: f64, fault: Fault) -> Setup {
    let usual = Setup::usual(seed, load, fault);
    Setup { shelves: 3, per_shelf: 4, begins: 600, ends: 1_800, seconds: 2_400, ..usual }
}

/// Every seed under one policy, added up; Roost may not flap in any of them.
fn sum(load: f64, fault: Fault, kind: Kind) -> Score {
    let mut sum = Score::default();
    for seed in SEEDS {
        let score = run(&small(seed, load, fault), kind);
        if matches!(kind, Kind::Roost | Kind::RoostFans) {
            assert_eq!(score.flaps, 0, "seed {seed}, load {load}, {}: an instance moved twice", fault.name());
        }
        sum += score;
    }
    sum
}

#[test]
fn a_lost_fan_hurts_least_under_roost_at_no_cost_in_work() {
    let [roost, watcher, pack] = [Kind::Roost, Kind::Watcher, Kind::BinPack].map(|kind| sum(0.6, Fault::FanLoss, kind));
    assert!(pack.hot > 1_000.0, "the fault is no fault: {pack:?}");
    assert!(roost.hot * 10.0 <= pack.hot, "bin-pack {pack:?}\nRoost {roost:?}");
    assert!(roost.hot * 3.0 <= watcher.hot, "Watcher {watcher:?}\nRoost {roost:?}");
    assert!(roost.critical <= 0.0, "{roost:?}");
    assert!(roost.work / roost.asked >= 0.99 * pack.work / pack.asked, "bin-pack {pack:?}\nRoost {roost:?}");
    assert!(roost.peak < pack.peak && roost.migrations > 0, "bin-pack {pack:?}\nRoost {roost:?}");
}

#[test]
fn a_full_rack_without_its_fans_or_hub_neither_flaps_nor_gets_critical_where_another_does_not() {
    let spread = sum(0.9, Fault::FanAndHub, Kind::Spread);
    let roost = sum(0.9, Fault::FanAndHub, Kind::Roost);
    assert!(roost.critical <= spread.critical && roost.hot <= spread.hot, "spread {spread:?}\nRoost {roost:?}");
}

#[test]
fn driven_fans_cost_a_full_rack_no_work_and_make_a_quiet_one_quieter() {
    let [fixed, driven] = [Kind::Roost, Kind::RoostFans].map(|kind| sum(0.9, Fault::FanLoss, kind));
    assert!(driven.peak <= fixed.peak && driven.critical <= fixed.critical, "fixed {fixed:?}\ndriven {driven:?}");
    assert!(driven.work / driven.asked >= 0.99 * fixed.work / fixed.asked, "fixed {fixed:?}\ndriven {driven:?}");
    let [fixed, driven] = [Kind::Roost, Kind::RoostFans].map(|kind| sum(0.3, Fault::None, kind));
    assert!(driven.drive < fixed.drive && driven.hot <= 0.0, "fixed {fixed:?}\ndriven {driven:?}");
}

#[test]
fn a_hot_aisle_stops_no_work_that_the_boards_can_do() {
    let [roost, pack] = [Kind::Roost, Kind::BinPack].map(|kind| sum(0.6, Fault::HotAisle, kind));
    assert!(roost.work / roost.asked >= 0.99 * pack.work / pack.asked, "bin-pack {pack:?}\nRoost {roost:?}");
    assert!(roost.hot <= pack.hot && roost.critical <= 0.0, "bin-pack {pack:?}\nRoost {roost:?}");
}

#[test]
fn a_healthy_rack_is_left_alone() {
    let roost = sum(0.3, Fault::None, Kind::Roost);
    assert_eq!((roost.migrations, roost.refused), (0, 0), "{roost:?}");
    assert!(roost.hot <= 0.0 && roost.work >= 0.99 * roost.asked, "{roost:?}");
}

#[test]
fn a_seed_is_the_whole_trial() {
    let setup = Setup { seconds: 900, ..small(9, 0.6, Fault::FanLoss) };
    assert_eq!(run(&setup, Kind::Roost), run(&setup, Kind::Roost));
    assert_ne!(run(&setup, Kind::Roost), run(&Setup { seed: 10, ..setup }, Kind::Roost));
}
