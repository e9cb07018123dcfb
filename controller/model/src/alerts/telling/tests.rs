use NoticeReason::{Acknowledged, Fired, Reminder, Resolved, Worsened};
use Severity::{Critical, Warning};

use super::*;
use crate::alerts::desk::{Desk, Told};

const ALL: &[(&str, Severity)] = &[("ops", Warning)];

fn one(second: u64, key: &str, reason: NoticeReason, severity: Severity) -> Told {
    (second, "ops".into(), vec![(key.into(), reason, severity)])
}

#[test]
fn a_life_is_told_once_at_each_turn() {
    let mut desk = Desk::new(ALL);
    desk.fire("zone/a", Warning);
    desk.run(400);
    desk.fire("zone/a", Critical);
    desk.run(400);
    desk.acknowledge("zone/a");
    desk.run(100_000);
    desk.resolve("zone/a");
    desk.run(400);
    let expected = [
        one(11, "zone/a", Fired, Warning),
        one(411, "zone/a", Worsened, Critical),
        one(811, "zone/a", Acknowledged, Critical),
        one(100_870, "zone/a", Resolved, Critical),
    ];
    assert_eq!(desk.told(), expected);
}

#[test]
fn nobody_hears_twice_or_not_at_all_because_the_controller_restarts() {
    let mut desk = Desk::new(ALL);
    desk.fire("hub/hub0", Warning);
    desk.run(5);
    desk.restart();
    desk.run(20);
    assert_eq!(desk.told(), [one(16, "hub/hub0", Fired, Warning)], "what was due is still due");
    desk.restart();
    desk.run(600);
    assert_eq!(desk.told().len(), 1, "what was told is not told again");
    desk.resolve("hub/hub0");
    desk.restart();
    desk.run(600);
    assert_eq!(desk.told().last().unwrap().2[0].1, Resolved);
    assert_eq!(desk.told().len(), 2);
}

#[test]
fn who_does_not_acknowledge_is_reminded_at_growing_intervals() {
    let mut desk = Desk::new(ALL);
    desk.fire("node/n01", Warning);
    desk.run(3 * 86_400);
    let reminded: Vec<u64> = desk.told().iter().filter(|told| told.2[0].1 == Reminder).map(|told| told.0).collect();
    let pauses: Vec<u64> = [&[11][..], &reminded].concat().windows(2).map(|pair| (pair[1] - pair[0]) / 60).collect();
    assert_eq!(pauses, [15, 60, 240, 1440, 1440], "minutes");
}

#[test]
fn a_failure_of_the_rack_is_one_message() {
    let mut desk = Desk::new(ALL);
    for n in 0..40 {
        desk.fire(&format!("node/n{n:02}"), Warning);
        if n % 5 == 0 {
            desk.run(1);
        }
    }
    desk.fire("nodes/brake", Critical);
    desk.run(290);
    assert_eq!(desk.told().len(), 1);
    assert_eq!(desk.told()[0].2.len(), 41);
    assert_eq!(desk.told()[0].2[0].0, "nodes/brake", "the worst comes first");
}

#[test]
fn what_is_new_and_critical_waits_for_less() {
    let mut desk = Desk::new(ALL);
    desk.fire("hub/hub0", Warning);
    desk.run(20);
    desk.fire("hub/hub1", Warning);
    desk.run(100);
    desk.fire("power/n01", Critical);
    desk.run(5);
    desk.fire("power/n02", Critical);
    desk.run(400);
    let told = desk.told();
    assert_eq!(told.len(), 2, "{told:?}");
    let keys: Vec<&str> = told[1].2.iter().map(|(key, ..)| key.as_str()).collect();
    assert_eq!((told[1].0, keys), (131, vec!["power/n01", "power/n02", "hub/hub1"]));
}

#[test]
fn what_flaps_is_told_seldom_and_to_its_end() {
    let mut desk = Desk::new(ALL);
    for _ in 0..180 {
        desk.fire("hub/hub0", Warning);
        desk.run(20);
        desk.resolve("hub/hub0");
        desk.run(20);
    }
    let told = desk.told();
    let reasons: Vec<NoticeReason> = told.iter().map(|told| told.2[0].1).collect();
    assert_eq!(reasons, [Fired, Reminder, Reminder], "in two hours: {told:?}");
    let row = desk.cluster.alerts().next().unwrap();
    assert_eq!((desk.cluster.alerts().count(), row.fires), (1, 180), "it is one alert");
    desk.run(2 * 3600);
    assert_eq!(desk.told().last().unwrap().2[0].1, Resolved);
    assert_eq!(desk.told().len(), 4);
}

#[test]
fn an_acknowledged_alert_that_flaps_stays_acknowledged_and_silent() {
    let mut desk = Desk::new(ALL);
    desk.fire("hub/hub0", Warning);
    desk.run(20);
    desk.acknowledge("hub/hub0");
    desk.run(400);
    for _ in 0..20 {
        desk.resolve("hub/hub0");
        desk.run(20);
        desk.fire("hub/hub0", Warning);
        desk.run(20);
    }
    assert_eq!(desk.state("hub/hub0"), AlertState::Acknowledged);
    assert_eq!(desk.told().len(), 2, "{:?}", desk.told());
}

#[test]
fn what_is_over_or_seen_before_anybody_was_told_is_not_told() {
    let mut desk = Desk::new(ALL);
    desk.fire("hub/hub0", Warning);
    desk.fire("hub/hub1", Warning);
    desk.run(3);
    desk.resolve("hub/hub0");
    desk.acknowledge("hub/hub1");
    desk.run(1000);
    desk.resolve("hub/hub1");
    desk.run(1000);
    assert_eq!(desk.told(), []);
}

#[test]
fn a_receiver_hears_of_what_is_bad_enough_for_it() {
    let mut desk = Desk::new(&[("ops", Warning), ("phone", Critical)]);
    desk.fire("zone/a", Warning);
    desk.fire("zone/b", Critical);
    desk.run(400);
    desk.fire("zone/b", Warning);
    desk.run(400);
    desk.resolve("zone/a");
    desk.resolve("zone/b");
    desk.run(400);
    let phone: Vec<Told> = desk.told().into_iter().filter(|told| told.1 == "phone").collect();
    let zone_b = |reason, severity| vec![("zone/b".to_owned(), reason, severity)];
    let heard: Vec<_> = phone.iter().map(|told| told.2.clone()).collect();
    assert_eq!(heard, [zone_b(Fired, Critical), zone_b(Resolved, Warning)], "the end of what it was told of, too");
}

#[test]
fn without_receivers_nothing_is_written_and_later_ones_hear_of_what_still_fires() {
    let mut desk = Desk::new(&[]);
    desk.fire("hub/hub0", Warning);
    desk.fire("hub/hub1", Warning);
    desk.resolve("hub/hub1");
    let before = desk.cluster.alerts.clone();
    desk.run(5000);
    assert_eq!(desk.cluster.alerts, before);
    let mut later = Desk::new(ALL);
    later.now = desk.now;
    later.cluster.alerts = before.clone();
    later.restart();
    later.run(20);
    assert_eq!(later.told().len(), 1);
    assert_eq!(later.told()[0].2[0].0, "hub/hub0");
}

#[test]
fn history_is_kept_by_number_and_age_but_never_untold() {
    let mut desk = Desk::new(&[]);
    let keys: Vec<String> = (0..600).map(|n| format!("node/n{n}")).collect();
    keys.iter().for_each(|key| desk.fire(key, Warning));
    desk.run(1);
    assert_eq!(desk.cluster.alerts().count(), 600, "what fires is never forgotten");
    keys.iter().for_each(|key| desk.resolve(key));
    desk.run(1);
    assert_eq!(desk.cluster.alerts().count(), KEPT_RESOLVED);
    desk.now = desk.now.plus(AlertTimes::default().kept);
    desk.run(1);
    assert_eq!(desk.cluster.alerts().count(), 0);

    let mut desk = Desk::new(ALL);
    keys.iter().for_each(|key| desk.fire(key, Warning));
    desk.run(20);
    keys.iter().for_each(|key| desk.resolve(key));
    desk.run(30);
    assert_eq!(desk.cluster.alerts().count(), 600, "their end is still to be told");
    desk.run(600);
    assert_eq!(desk.cluster.alerts().count(), KEPT_RESOLVED);
    let told: Vec<usize> = desk.notices().iter().map(|row| row.items.len() + row.more.len()).collect();
    assert_eq!(told, [600, 600]);
}
