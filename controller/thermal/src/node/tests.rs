//! Stories of one board in its zone.

use super::*;
use crate::Cause;
use ThermalState::{Hot, Nominal, Unknown};
use roost_types::rack::ProbeId;

fn zone(now: Timestamp, celsius: i32) -> ZoneHeat {
    let mut zone = ZoneHeat::default();
    let probe = ProbeId { hub: "hub0".parse().unwrap(), number: 1 };
    zone.observe(&probe, now, Some(MilliCelsius::whole(celsius)), None);
    zone.step(now, &Policy::default(), None);
    zone
}

fn within(zone: Option<&ZoneHeat>) -> Around<'_> {
    Around { zone, ..Around::default() }
}

fn stepped(soc: Option<i32>, zone: Option<&ZoneHeat>) -> NodeHeat {
    let mut node = NodeHeat::default();
    node.observe_vitals(Timestamp(0), soc.map(MilliCelsius::whole), None, 0.0);
    node.step(Timestamp(0), &Policy::default(), None, &within(zone));
    node
}

#[test]
fn the_worse_of_air_and_soc_counts() {
    let (cool, hot) = (zone(Timestamp(0), 24), zone(Timestamp(0), 41));
    for (soc, air, state) in [
        (Some(45), Some(&cool), Nominal),
        (Some(45), Some(&hot), Hot),
        (Some(85), Some(&cool), Hot),
        (None, Some(&hot), Hot),
        (None, None, Unknown),
        (Some(45), None, Nominal),
    ] {
        assert_eq!(stepped(soc, air).state(), state, "{soc:?}");
    }
}

#[test]
fn a_board_that_never_had_a_source_is_told_from_one_that_lost_it() {
    assert_eq!(stepped(None, None).monitoring(), Monitoring::Never);
    let mut node = stepped(Some(45), None);
    assert_eq!(node.monitoring(), Monitoring::Fresh);
    let change = node.step(Timestamp(60_000), &Policy::default(), None, &Around::default()).unwrap();
    assert_eq!((change.from, change.to, node.monitoring()), (Nominal, Unknown, Monitoring::Lost));
}

#[test]
fn a_zone_that_is_unknown_does_not_hide_a_fresh_soc() {
    let mut lost = zone(Timestamp(0), 24);
    lost.lose_hub(&"hub0".parse().unwrap());
    lost.step(Timestamp(0), &Policy::default(), None);
    let node = stepped(Some(45), Some(&lost));
    assert_eq!((node.state(), node.monitoring()), (Nominal, Monitoring::Fresh));
    assert_eq!(stepped(None, Some(&lost)).monitoring(), Monitoring::Lost);
}

#[test]
fn losing_sight_of_a_hot_aisle_does_not_cool_it() {
    let mut lost = zone(Timestamp(0), 41);
    lost.lose_hub(&"hub0".parse().unwrap());
    lost.step(Timestamp(0), &Policy::default(), None);
    assert_eq!(lost.state(), Unknown);
    assert_eq!(stepped(Some(45), Some(&lost)).state(), Hot);
}

#[test]
fn hot_in_cool_air_is_a_broken_fan() {
    let node = stepped(Some(85), Some(&zone(Timestamp(0), 24)));
    assert_eq!(node.diagnosis().unwrap().cause, Cause::BoardCooling);
    let aisle = stepped(Some(75), Some(&zone(Timestamp(0), 41)));
    assert_eq!(aisle.diagnosis().unwrap().cause, Cause::HotAisle);
    assert!(
        aisle.explanation().contains("≥ hot 35.0 °C, 0 s old; its air explains its heat"),
        "{}",
        aisle.explanation()
    );
}

/// A node idle in air of 24 °C for ten minutes, with an SoC of `celsius`.
fn idle(celsius: i32) -> NodeHeat {
    let mut node = NodeHeat::default();
    for second in 0..600 {
        let now = Timestamp(second * 1000);
        node.observe_vitals(now, Some(MilliCelsius::whole(celsius)), None, 0.0);
        node.step(now, &Policy::default(), None, &within(Some(&zone(now, 24))));
    }
    node
}

#[test]
fn boards_with_a_good_heat_sink_and_with_none_are_learned_and_a_broken_fan_is_not() {
    for (soc, estimate) in [(28, 28), (34, 34), (59, 59)] {
        let learned = idle(soc).estimate().unwrap();
        assert!((learned.0 - estimate * 1000).abs() < 500, "SoC {soc} °C: {learned}");
    }
    let mut node = idle(44);
    for second in 600..1200 {
        let now = Timestamp(second * 1000);
        node.observe_vitals(now, Some(MilliCelsius::whole(82)), None, 0.0);
        node.step(now, &Policy::default(), None, &within(Some(&zone(now, 24))));
    }
    let diagnosis = node.diagnosis().unwrap().to_string();
    assert!(diagnosis.starts_with("38.0 °C hotter"), "{diagnosis}");
}

#[test]
fn the_estimate_is_the_air_plus_the_learned_rise_when_the_soc_says_less() {
    let node = stepped(None, Some(&zone(Timestamp(0), 30)));
    assert_eq!(node.estimate(), Some(MilliCelsius::whole(50)));
    assert_eq!(node.predict_with(1.0), Some(MilliCelsius::whole(75)));
}
