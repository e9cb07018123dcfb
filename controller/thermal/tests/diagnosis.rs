//! Diagnosis on the simulated rack: what a fault of each kind looks like to boards that have learned themselves.

use roost_heat_model::{FANS, Lie, Rack};
use roost_thermal::{Around, Cause, NodeHeat, Policy, Rise, ZoneHeat};
use roost_types::rack::ProbeId;
use roost_types::{MilliCelsius, Timestamp};

/// Boards of the one shelf.
const BOARDS: usize = 4;
/// Seconds of work before the fault, and after it.
const LEARNING: i64 = 3_600;
const FAULTY: i64 = 1_200;

/// What breaks a rack.
type Fault = fn(&mut Rack);

struct Shelf {
    rack: Rack,
    zone: ZoneHeat,
    nodes: Vec<NodeHeat>,
    now: i64,
    /// What the probes of other shelves say.
    elsewhere: Option<MilliCelsius>,
}

impl Shelf {
    fn new(seed: u64) -> Self {
        let rack = Rack::seeded(1, vec![0; BOARDS], seed);
        let (zone, nodes) = (ZoneHeat::default(), vec![NodeHeat::default(); BOARDS]);
        Self { rack, zone, nodes, now: 0, elsewhere: Some(MilliCelsius::whole(23)) }
    }

    /// Loads of 20 to 95 %, other boards busy every ten minutes.
    fn loads(&self) -> [f64; BOARDS] {
        let turn = usize::try_from(self.now / 600).unwrap();
        std::array::from_fn(|board| [0.2, 0.45, 0.7, 0.95][(board + turn) % BOARDS])
    }

    /// Lets seconds pass; gives every cause that the boards named at the end.
    fn run(&mut self, seconds: i64) -> Vec<Option<Cause>> {
        let (policy, probe) = (Policy::default(), ProbeId { hub: "hub0".parse().unwrap(), number: 1 });
        for _ in 0..seconds {
            self.now += 1;
            let (now, loads) = (Timestamp(self.now * 1000), self.loads());
            self.rack.step(1.0, &loads.map(Some));
            self.zone.observe(&probe, now, self.rack.read_probe(0).map(MilliCelsius::from_f64), None);
            self.zone.step(now, &policy, None);
            let rises: Vec<Option<Rise>> = self.nodes.iter().map(NodeHeat::rise).collect();
            for (board, node) in self.nodes.iter_mut().enumerate() {
                let others = rises.iter().enumerate().filter(|(other, _)| *other != board);
                let others: Vec<Rise> = others.filter_map(|(_, rise)| *rise).collect();
                if self.now % 2 == 0 {
                    let soc = self.rack.read_soc(board).map(MilliCelsius::from_f64);
                    node.observe_vitals(now, soc, None, loads[board]);
                }
                let around = Around { zone: Some(&self.zone), neighbours: &others, elsewhere: self.elsewhere };
                node.step(now, &policy, None, &around);
            }
        }
        self.nodes.iter().map(|node| node.diagnosis().map(|diagnosis| diagnosis.cause)).collect()
    }
}

#[test]
fn a_healthy_shelf_has_nothing_wrong_and_each_fault_is_named() {
    let first = |cause| vec![Some(cause), None, None, None];
    let faults: [(&str, Fault, Vec<Option<Cause>>); 6] = [
        ("nothing", |_| (), vec![None; BOARDS]),
        ("a board's own fan", |rack| rack.obstruct(0, 3.5), first(Cause::BoardCooling)),
        ("a hot aisle", |rack| rack.set_room(38.0), vec![Some(Cause::HotAisle); BOARDS]),
        (
            "a probe 20 °C too high",
            |rack| rack.lie_at_probe(0, Some(Lie::Offset(20.0))),
            vec![Some(Cause::ProbeHigh); BOARDS],
        ),
        ("a sensor stuck", |rack| rack.lie_at_soc(0, Some(Lie::Offset(-30.0))), first(Cause::SocSensor)),
        ("a lost hub", |rack| rack.connect_hub(false), vec![None; BOARDS]),
    ];
    for (what, fault, causes) in faults {
        let mut shelf = Shelf::new(3);
        assert_eq!(shelf.run(LEARNING), vec![None; BOARDS], "before {what}");
        fault(&mut shelf.rack);
        assert_eq!(shelf.run(FAULTY), causes, "after {what}");
    }
}

#[test]
fn fans_of_a_shelf_are_told_from_a_probe_that_reads_too_low_by_the_probes_elsewhere() {
    for (room, lie, elsewhere, cause) in [
        (22.0, None, Some(23), Cause::ShelfCooling),
        (22.0, None, None, Cause::ShelfCoolingOrProbe),
        (47.0, Some(Lie::Offset(-25.0)), Some(48), Cause::ProbeLow),
    ] {
        let mut shelf = Shelf::new(4);
        shelf.run(LEARNING);
        shelf.rack.set_room(room);
        shelf.rack.lie_at_probe(0, lie);
        shelf.rack.break_fans(0, if lie.is_some() { 0 } else { FANS });
        shelf.elsewhere = elsewhere.map(MilliCelsius::whole);
        let named: Vec<Cause> = shelf.run(FAULTY).into_iter().flatten().collect();
        assert!(!named.is_empty() && named.iter().all(|found| *found == cause), "{cause:?}: {named:?}");
    }
}
