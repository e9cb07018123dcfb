//! Fans follow the heat of their zone, and tell when they do not turn.

use roost_model::{Command, view};
use roost_types::rack::Zone;
use roost_types::{AlertState, Fan, MilliCelsius, MilliPercent, NodeId, ThermalState};

use crate::world::{World, name};

fn zone(world: &World, number: usize) -> Zone {
    view::rack(&world.cluster, world.now).zones.remove(number - 1)
}

fn fan(world: &World, number: usize) -> Fan {
    zone(world, number).fans.remove(0)
}

fn percent(whole: i32) -> MilliPercent {
    MilliPercent::whole(whole)
}

fn board_of_shelf(world: &World, shelf: usize) -> NodeId {
    world.cluster.find_node(&format!("n{:02}", shelf * 2 - 1)).unwrap().id
}

#[test]
fn fans_of_a_cool_rack_run_slowly_and_those_of_a_heated_shelf_at_full() {
    let mut world = World::new(60);
    world.run(20);
    let quiet = fan(&world, 1);
    assert_eq!((quiet.wanted, quiet.duty, quiet.stalled), (percent(30), Some(percent(30)), false));
    assert!(quiet.rpm.is_some_and(|rpm| rpm > 500), "{quiet:?}");
    world.inlets[0] = 41;
    world.run(5);
    assert_eq!((fan(&world, 1).duty, fan(&world, 2).duty), (Some(percent(100)), Some(percent(30))));
    assert!(zone(&world, 1).fans_reason.contains("inlet 41.0 °C"), "{}", zone(&world, 1).fans_reason);
    world.inlets[0] = 24;
    world.run(20);
    assert_eq!(fan(&world, 1).duty, Some(percent(30)));
}

#[test]
fn one_warm_board_speeds_its_fans_up_before_it_is_warm() {
    let mut world = World::new(61);
    world.run(20);
    let board = board_of_shelf(&world, 2);
    world.boards.get_mut(&board).unwrap().soc = MilliCelsius::whole(66);
    world.run(5);
    let wanted = fan(&world, 2).wanted;
    assert!(wanted > percent(50), "66 °C is 6 °C above the goal: {wanted}");
    assert!(zone(&world, 2).fans_reason.contains("4.0 °C below its warm limit"), "{}", zone(&world, 2).fans_reason);
}

#[test]
fn a_zone_that_nobody_measures_and_a_critical_one_get_all_the_air_there_is() {
    let mut world = World::new(62);
    world.run(20);
    world.must(Command::HubLost { hub: name("hub0"), reason: "unplugged".into() });
    world.must(Command::Tick);
    assert_eq!(zone(&world, 1).thermal, ThermalState::Unknown);
    assert_eq!(fan(&world, 1).wanted, percent(100));
    assert_eq!(fan(&world, 1).duty, None, "what it does is not known");

    let mut world = World::new(63);
    world.run(20);
    let board = board_of_shelf(&world, 3);
    world.boards.get_mut(&board).unwrap().soc = MilliCelsius::whole(99);
    world.run(4);
    assert_eq!(fan(&world, 3).wanted, percent(100));
    assert!(zone(&world, 3).fans_reason.contains("critical"));
}

#[test]
fn the_brake_drives_every_fan_to_full() {
    let mut world = World::new(64);
    world.run(20);
    world.inlets = [41, 41, 24];
    world.run(4);
    assert_eq!(fan(&world, 3).wanted, percent(100), "shelf 3 is cool, and half of the rack is hot");
    assert!(zone(&world, 3).fans_reason.contains("half of the rack"));
}

#[test]
fn a_driven_fan_that_does_not_turn_is_an_alert_until_it_turns_again() {
    let mut world = World::new(65);
    world.run(20);
    world.still_fans = vec![2];
    world.run(5);
    assert!(!fan(&world, 2).stalled, "one window without a pulse is no fault");
    world.run(4);
    let alert = |world: &World| {
        let alerts = world.cluster.alerts().filter(|alert| alert.key == "fan-stalled/hub0:2");
        alerts.last().map(|alert| (alert.state, alert.subject.clone(), alert.message.clone()))
    };
    assert!(fan(&world, 2).stalled && !fan(&world, 1).stalled);
    let (state, subject, message) = alert(&world).unwrap();
    assert_eq!((state, subject.as_str()), (AlertState::Firing, "/v1/rack/zones/shelf-2"));
    assert!(message.contains("fan hub0:2 of shelf-2 stands still at 30.0 % drive"), "{message}");
    world.still_fans.clear();
    world.run(2);
    assert!(!fan(&world, 2).stalled);
    assert_eq!(alert(&world).unwrap().0, AlertState::Resolved);
}
