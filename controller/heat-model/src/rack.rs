//! The whole rack: shelves above each other, boards on them, sensors at both.

use crate::board::{Board, settle};
use crate::random::Random;
use crate::sensor::{Lie, Sensor};
use crate::shelf::Shelf;

/// The room, °C.
const ROOM: f64 = 22.0;
/// Relative humidity of the room at that temperature, percent.
const ROOM_HUMIDITY: f64 = 45.0;
/// The room follows what was set for it with this time constant, s: walls and water hold it back.
const ROOM_SECONDS: f64 = 120.0;
/// Longest step that the equations are solved in, s.
const LONGEST_STEP: f64 = 1.0;
/// Neighbouring boards stand in each other's way: this share of the shelf's warming is beside each of them.
const MIXED: f64 = 0.25;

/// What a person holds at an inlet.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hold {
    /// Temperature in °C.
    pub celsius: Option<f64>,
    /// Relative humidity in percent.
    pub humidity: Option<f64>,
}

/// A rack: shelves from the bottom up, and the shelf of each board.
#[derive(Clone, PartialEq, Debug)]
pub struct Rack {
    shelves: Vec<Shelf>,
    boards: Vec<Board>,
    shelf_of: Vec<usize>,
    room: f64,
    room_goal: f64,
    /// Water in the room's air: its vapour pressure, hPa.
    vapour: f64,
    holds: Vec<Option<Hold>>,
    probes: Vec<Sensor>,
    socs: Vec<Sensor>,
    hub: bool,
    random: Random,
}

impl Rack {
    /// A rack whose boards are alike and whose sensors are exact, at rest: so many shelves, and the shelf of each board.
    #[must_use]
    pub fn alike(shelves: usize, shelf_of: Vec<usize>) -> Self {
        let on = |shelf| shelf_of.iter().filter(|of| **of == shelf).count();
        Self {
            shelves: (0..shelves).map(|shelf| Shelf::new(on(shelf), ROOM)).collect(),
            boards: shelf_of.iter().map(|_| Board::idle_in(ROOM, 1.0)).collect(),
            room: ROOM,
            room_goal: ROOM,
            vapour: saturation(ROOM) * ROOM_HUMIDITY / 100.0,
            holds: vec![None; shelves],
            probes: vec![Sensor::new(0.0, 0.0, 0.01); shelves],
            socs: vec![Sensor::new(0.0, 0.0, 0.001); shelf_of.len()],
            hub: true,
            random: Random::new(0),
            shelf_of,
        }
    }

    /// A rack as they are: heat sinks differ by 8 %, probes (SHT31) are off by 0.2 K, sensors of SoCs by 1 K and tell
    /// steps of half a degree.
    #[must_use]
    pub fn seeded(shelves: usize, shelf_of: Vec<usize>, seed: u64) -> Self {
        let mut rack = Self::alike(shelves, shelf_of);
        let mut random = Random::new(seed);
        for board in &mut rack.boards {
            *board = Board::idle_in(ROOM, (1.0 + 0.08 * random.normal()).clamp(0.8, 1.25));
        }
        for probe in &mut rack.probes {
            *probe = Sensor::new(0.2 * random.normal(), 0.05, 0.01);
        }
        for soc in &mut rack.socs {
            *soc = Sensor::new(random.normal(), 0.3, 0.487);
        }
        rack.random = random;
        rack
    }

    /// The room's temperature goes to this, °C, within minutes.
    pub const fn set_room(&mut self, celsius: f64) {
        self.room_goal = celsius;
    }

    /// The room is at this temperature, °C, and everything idles in it as it has for long.
    pub fn rest_in(&mut self, celsius: f64) {
        (self.room, self.room_goal) = (celsius, celsius);
        let idle = vec![Some(0.0); self.boards.len()];
        self.step(3600.0, &idle);
    }

    /// Duty of a shelf's fans, 0 to 1.
    pub fn set_duty(&mut self, shelf: usize, duty: f64) {
        self.shelves[shelf].duty = duty;
    }

    /// So many of a shelf's fans stand still, whatever their duty.
    pub fn break_fans(&mut self, shelf: usize, broken: usize) {
        self.shelves[shelf].broken = broken;
    }

    /// A board's heat sink resists the heat this many times as much as it should: its own fan stopped, dust.
    pub fn obstruct(&mut self, board: usize, factor: f64) {
        self.boards[board].obstruction = factor;
    }

    /// The probe at a shelf's inlet lies, or is well again.
    pub fn lie_at_probe(&mut self, shelf: usize, lie: Option<Lie>) {
        self.probes[shelf].lie(lie);
    }

    /// A board's own sensor lies, or is well again.
    pub fn lie_at_soc(&mut self, board: usize, lie: Option<Lie>) {
        self.socs[board].lie(lie);
    }

    /// The hub, through which every probe speaks, is there or not.
    pub const fn connect_hub(&mut self, connected: bool) {
        self.hub = connected;
    }

    /// Whether the hub is there.
    #[must_use]
    pub const fn has_hub(&self) -> bool {
        self.hub
    }

    /// Holds an inlet, or lets it go.
    pub fn hold(&mut self, shelf: usize, hold: Option<Hold>) {
        self.holds[shelf] = hold;
    }

    /// Temperature of an inlet, °C.
    #[must_use]
    pub fn inlet(&self, shelf: usize) -> f64 {
        self.shelves[shelf].inlet()
    }

    /// Temperature of a board's SoC, °C.
    #[must_use]
    pub fn soc(&self, board: usize) -> f64 {
        self.boards[board].die()
    }

    /// Share of its full clock that a board runs at.
    #[must_use]
    pub fn speed(&self, board: usize) -> f64 {
        self.boards[board].speed()
    }

    /// Temperature of the air that leaves a board, °C.
    #[must_use]
    pub fn board_outlet(&self, board: usize) -> f64 {
        let shelf = &self.shelves[self.shelf_of[board]];
        beside(shelf) + shelf.rise(self.boards[board].heat())
    }

    /// Relative humidity of an inlet, percent: warmer air with the same water is drier.
    #[must_use]
    pub fn humidity(&self, shelf: usize) -> f64 {
        let held = self.holds[shelf].and_then(|hold| hold.humidity);
        held.unwrap_or_else(|| (100.0 * self.vapour / saturation(self.inlet(shelf))).clamp(0.0, 100.0))
    }

    /// What the probe at an inlet says, °C; none when it or its hub is silent.
    pub fn read_probe(&mut self, shelf: usize) -> Option<f64> {
        let truth = self.inlet(shelf);
        self.probes[shelf].read(truth, &mut self.random).filter(|_| self.hub)
    }

    /// What a board's own sensor says, °C.
    pub fn read_soc(&mut self, board: usize) -> Option<f64> {
        let truth = self.soc(board);
        self.socs[board].read(truth, &mut self.random)
    }

    /// Lets time pass. `loads` is the busy share of each board, none where the power is off.
    pub fn step(&mut self, seconds: f64, loads: &[Option<f64>]) {
        let mut left = seconds.max(0.0);
        while left > 0.0 {
            let step = left.min(LONGEST_STEP);
            self.short_step(step, loads);
            left -= step;
        }
    }

    fn short_step(&mut self, seconds: f64, loads: &[Option<f64>]) {
        settle(&mut self.room, self.room_goal, seconds / ROOM_SECONDS);
        let mut watts = vec![0.0; self.shelves.len()];
        for ((board, shelf), load) in self.boards.iter_mut().zip(&self.shelf_of).zip(loads) {
            let air = &self.shelves[*shelf];
            board.step(seconds, *load, beside(air), air.flow());
            watts[*shelf] += board.heat();
        }
        let exhausts: Vec<f64> = self.shelves.iter().map(Shelf::exhaust).collect();
        for (index, shelf) in self.shelves.iter_mut().enumerate() {
            let below = index.checked_sub(1).map(|below| exhausts[below]);
            let held = self.holds[index].and_then(|hold| hold.celsius);
            shelf.step(seconds, self.room, below, watts[index], held);
        }
    }
}

/// Temperature of the air beside the boards of a shelf, °C.
const fn beside(shelf: &Shelf) -> f64 {
    shelf.inlet() + MIXED * (shelf.exhaust() - shelf.inlet())
}

/// Saturation vapour pressure over water, hPa (Magnus).
fn saturation(celsius: f64) -> f64 {
    6.112 * (17.62 * celsius / (243.12 + celsius)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two shelves of two boards after two hours.
    fn settled(change: impl Fn(&mut Rack), loads: [Option<f64>; 4]) -> Rack {
        let mut rack = Rack::alike(2, vec![0, 0, 1, 1]);
        change(&mut rack);
        rack.step(7200.0, &loads);
        rack
    }

    const IDLE: [Option<f64>; 4] = [Some(0.0); 4];
    const BUSY: [Option<f64>; 4] = [Some(1.0); 4];

    #[test]
    fn a_busy_shelf_warms_itself_and_the_one_above_it() {
        let (idle, busy) = (settled(|_| (), IDLE), settled(|_| (), BUSY));
        assert!((36.0..42.0).contains(&idle.soc(0)), "{}", idle.soc(0));
        assert!((60.0..70.0).contains(&busy.soc(0)), "{}", busy.soc(0));
        let lower = settled(|_| (), [Some(1.0), Some(1.0), Some(0.0), Some(0.0)]);
        assert!((0.5..1.5).contains(&(lower.inlet(1) - idle.inlet(1))), "{}", lower.inlet(1));
        assert!(busy.soc(2) > busy.soc(0), "the upper shelf breathes the lower one's exhaust");
        assert!(busy.board_outlet(0) > busy.inlet(0) + 5.0);
    }

    #[test]
    fn a_lost_fan_a_warm_room_and_dust_each_heat_what_they_should() {
        let well = settled(|_| (), BUSY);
        let fan = settled(|rack| rack.break_fans(1, 2), BUSY);
        assert!(fan.soc(2) > well.soc(2) + 20.0 && (fan.soc(0) - well.soc(0)).abs() < 0.5);
        assert!(fan.speed(2) < 1.0 && fan.inlet(1) > well.inlet(1) + 5.0);
        let room = settled(|rack| rack.set_room(32.0), BUSY);
        assert!((0..4).all(|board| (9.0..13.0).contains(&(room.soc(board) - well.soc(board)))));
        let dust = settled(|rack| rack.obstruct(3, 2.0), BUSY);
        assert!(dust.soc(3) > well.soc(3) + 15.0 && (dust.soc(2) - well.soc(2)).abs() < 1.0);
        let full = settled(|rack| (0..2).for_each(|shelf| rack.set_duty(shelf, 1.0)), BUSY);
        assert!(full.soc(0) < well.soc(0) - 5.0, "more air cools");
    }

    #[test]
    fn one_long_step_is_many_short_ones_and_a_held_inlet_stays() {
        let (mut long, mut short) = (Rack::alike(1, vec![0]), Rack::alike(1, vec![0]));
        let hold = Some(Hold { celsius: Some(41.0), humidity: None });
        long.hold(0, hold);
        short.hold(0, hold);
        long.step(100.0, &[Some(1.0)]);
        (0..200).for_each(|_| short.step(0.5, &[Some(1.0)]));
        assert!((long.soc(0) - short.soc(0)).abs() < 0.3, "{} {}", long.soc(0), short.soc(0));
        assert!((long.inlet(0) - 41.0).abs() < 1e-9);
        assert!(long.humidity(0) < 20.0, "warm air with the same water is drier: {}", long.humidity(0));
    }

    #[test]
    fn without_its_hub_a_probe_says_nothing() {
        let mut rack = Rack::alike(1, vec![0]);
        assert!(rack.read_probe(0).is_some());
        rack.connect_hub(false);
        assert_eq!((rack.read_probe(0), rack.read_soc(0).is_some()), (None, true));
        rack.connect_hub(true);
        rack.lie_at_probe(0, Some(Lie::Offset(-10.0)));
        assert!((rack.read_probe(0).unwrap() - rack.inlet(0) + 10.0).abs() < 0.1);
        rack.lie_at_soc(0, Some(Lie::Silent));
        assert_eq!(rack.read_soc(0), None);
    }

    #[test]
    fn a_seed_makes_one_rack_and_its_boards_differ() {
        let run = |seed| {
            let mut rack = Rack::seeded(2, vec![0, 0, 1, 1], seed);
            rack.step(600.0, &BUSY);
            let read: Vec<Option<f64>> = (0..2).map(|shelf| rack.read_probe(shelf)).collect();
            (rack, read)
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
        let rack = run(5).0;
        assert!((rack.soc(0) - rack.soc(1)).abs() > 0.1);
    }
}
