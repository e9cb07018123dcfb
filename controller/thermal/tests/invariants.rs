//! What holds for every history of readings, however odd.

use std::time::Duration;

use proptest::prelude::*;
use roost_thermal::{Around, Monitoring, NodeHeat, Policy, Transition, ZoneHeat};
use roost_types::rack::ProbeId;
use roost_types::{MilliCelsius, ThermalState, Timestamp};

/// What happens in one second.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Probe 1 or 2 reads this many tenths of a degree.
    Reads(u8, i32),
    /// The hub's line closes.
    HubLost,
    /// The board tells its SoC's temperature in tenths of a degree, and its load in percent.
    Vitals(i32, u8),
    /// Nothing arrives for so many seconds.
    Silence(u8),
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![
        6 => (1..=2_u8, 150..600_i32).prop_map(|(probe, tenths)| Moment::Reads(probe, tenths)),
        1 => Just(Moment::HubLost),
        4 => (200..1200_i32, 0..=100_u8).prop_map(|(tenths, load)| Moment::Vitals(tenths, load)),
        2 => (1..90_u8).prop_map(Moment::Silence),
    ]
}

fn probe(number: u8) -> ProbeId {
    ProbeId { hub: "hub0".parse().unwrap(), number }
}

const fn tenths(value: i32) -> MilliCelsius {
    MilliCelsius(value * 100)
}

/// A zone and a board in it, stepped after every moment, with what a careful observer remembers of them.
#[derive(Default)]
struct World {
    now: Timestamp,
    zone: ZoneHeat,
    node: NodeHeat,
    zone_read: Option<Timestamp>,
    soc_read: Option<Timestamp>,
    changes: Vec<Transition>,
}

impl World {
    fn live(&mut self, moment: Moment) {
        let policy = Policy::default();
        let seconds = match moment {
            Moment::Silence(seconds) => i64::from(seconds),
            Moment::Reads(..) | Moment::HubLost | Moment::Vitals(..) => 1,
        };
        self.now = Timestamp(self.now.0 + seconds * 1000);
        match moment {
            Moment::Reads(number, value) => {
                self.zone.observe(&probe(number), self.now, Some(tenths(value)), None);
                self.zone_read = Some(self.now);
            }
            Moment::HubLost => {
                self.zone.lose_hub(&"hub0".parse().unwrap());
                self.zone_read = None;
            }
            Moment::Vitals(value, load) => {
                self.node.observe_vitals(self.now, Some(tenths(value)), None, f64::from(load) / 100.0);
                self.soc_read = Some(self.now);
            }
            Moment::Silence(_) => {}
        }
        self.changes.extend(self.zone.step(self.now, &policy, None));
        self.changes.extend(self.node.step(
            self.now,
            &policy,
            None,
            &Around { zone: Some(&self.zone), ..Around::default() },
        ));
    }

    fn is_fresh(&self, read: Option<Timestamp>) -> bool {
        read.is_some_and(|at| self.now.since(at) <= Policy::default().lost_after)
    }
}

/// Reads probe 1 once a second, from `from` on, and returns the states.
fn read_all(zone: &mut ZoneHeat, from: i64, values: &[i32]) -> Vec<ThermalState> {
    let read = |(second, value): (i64, &i32)| {
        let now = Timestamp((from + second) * 1000);
        zone.observe(&probe(1), now, Some(tenths(*value)), None);
        zone.step(now, &Policy::default(), None);
        zone.state()
    };
    (0..).zip(values).map(read).collect()
}

proptest! {
    #[test]
    fn without_fresh_data_nothing_is_known_and_nothing_is_cool(moments in prop::collection::vec(moment(), 1..120)) {
        let mut world = World::default();
        for moment in moments {
            world.live(moment);
            let (zone, soc) = (world.is_fresh(world.zone_read), world.is_fresh(world.soc_read));
            prop_assert_eq!(world.zone.state() != ThermalState::Unknown, zone);
            prop_assert_eq!(world.node.monitoring() == Monitoring::Fresh, zone || soc);
            if !zone && !soc {
                prop_assert!(!matches!(world.node.state(), ThermalState::Nominal | ThermalState::Warm));
            }
            prop_assert!(world.node.state() >= world.zone.state(), "a board is never cooler than its air");
        }
    }

    #[test]
    fn the_same_history_gives_the_same_states_and_every_change_says_why(
        moments in prop::collection::vec(moment(), 1..120),
    ) {
        let (mut one, mut two) = (World::default(), World::default());
        for moment in moments {
            one.live(moment);
            two.live(moment);
        }
        prop_assert_eq!(&one.changes, &two.changes);
        prop_assert_eq!((&one.zone, &one.node), (&two.zone, &two.node));
        for change in one.changes {
            prop_assert!(change.from != change.to && !change.reason.is_empty(), "{:?}", change);
        }
    }

    #[test]
    fn heating_never_lowers_a_state(start in 100..500_i32, rises in prop::collection::vec(0..30_i32, 1..200)) {
        let values: Vec<i32> = rises.iter().scan(start, |at, rise| { *at += rise; Some(*at) }).collect();
        let states = read_all(&mut ZoneHeat::default(), 0, &values);
        prop_assert!(states.is_sorted(), "{:?}", states);
    }

    #[test]
    fn noise_inside_the_hysteresis_changes_nothing(values in prop::collection::vec(331..350_i32, 1..300)) {
        let mut zone = ZoneHeat::default();
        read_all(&mut zone, 0, &[350]);
        let states = read_all(&mut zone, 1, &values);
        prop_assert!(states.iter().all(|state| *state == ThermalState::Hot), "{:?}", states);
    }

    #[test]
    fn a_level_once_entered_is_kept_for_the_dwell_whatever_follows(values in prop::collection::vec(0..600_i32, 60)) {
        let mut zone = ZoneHeat::default();
        read_all(&mut zone, 0, &[350]);
        prop_assert_eq!(Policy::default().inlet.dwell, Duration::from_secs(60));
        let states = read_all(&mut zone, 1, &values);
        prop_assert!(states.iter().all(|state| *state >= ThermalState::Hot), "{:?}", states);
    }

    #[test]
    fn a_zone_lost_while_hot_comes_back_hot(gap in 11..100_000_i64, back in 250..350_i32) {
        let mut zone = ZoneHeat::default();
        read_all(&mut zone, 0, &[410]);
        zone.step(Timestamp(gap * 1000), &Policy::default(), None);
        prop_assert_eq!(zone.state(), ThermalState::Unknown);
        prop_assert_eq!(read_all(&mut zone, gap, &[back]), [ThermalState::Hot]);
    }
}
