//! Policies: who decides where jobs run.

mod ledger;
mod roost;
mod rules;

use crate::boards::Boards;
use crate::jobs::Job;

/// What every policy may know in a second. None: no source, or its hub is gone.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    /// What the probe at each shelf's inlet says, °C.
    pub inlets: Vec<Option<f64>>,
    /// What each board's own sensor says, °C.
    pub socs: Vec<Option<f64>>,
    /// Temperature of the air that leaves each board, °C; exact.
    pub outlets: Vec<Option<f64>>,
    /// Busy share of each board.
    pub loads: Vec<f64>,
}

/// A policy at work. It is told what arrives and leaves, sees what sensors say, and starts and stops tasks.
pub trait Policy {
    /// A job wants to run.
    fn arrive(&mut self, job: &Job, now: i64);
    /// A job is done.
    fn leave(&mut self, job: &Job, now: i64);
    /// One second has passed.
    fn step(&mut self, seen: &Seen, boards: &mut Boards, now: i64);
    /// How hard each shelf's fans are driven, 0 to 1; none where nobody drives them.
    fn duties(&self) -> Option<Vec<f64>> {
        None
    }
}

/// The policies that are compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Roost's real model, scheduler and thermal states, and its loops over the fans.
    RoostFans,
    /// The same with fans at a fixed drive, as for every other policy.
    Roost,
    /// The emptiest board that has room; nothing moves.
    Spread,
    /// The fullest board that has room; nothing moves.
    BinPack,
    /// Spread, and OpenStack Watcher's `outlet_temperature` strategy every minute.
    Watcher,
}

impl Kind {
    /// Every policy.
    pub const ALL: [Self; 5] = [Self::RoostFans, Self::Roost, Self::Watcher, Self::Spread, Self::BinPack];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoostFans => "Roost, fans",
            Self::Roost => "Roost",
            Self::Spread => "spread",
            Self::BinPack => "bin-pack",
            Self::Watcher => "Watcher",
        }
    }

    /// The policy on a rack of so many shelves and boards.
    pub(crate) fn build(self, shelves: usize, per_shelf: usize, seed: u64) -> Box<dyn Policy> {
        let boards = shelves * per_shelf;
        match self {
            Self::RoostFans => Box::new(roost::Roost::new(shelves, per_shelf, seed, true)),
            Self::Roost => Box::new(roost::Roost::new(shelves, per_shelf, seed, false)),
            Self::Spread => Box::new(rules::Rules::new(rules::Rule::Spread, boards)),
            Self::BinPack => Box::new(rules::Rules::new(rules::Rule::BinPack, boards)),
            Self::Watcher => Box::new(rules::Rules::new(rules::Rule::Watcher, boards)),
        }
    }
}
