//! Rules of the field: spread, bin-pack, and OpenStack Watcher's `outlet_temperature` strategy on top of spread.

use std::cmp::Reverse;
use std::collections::VecDeque;

use super::ledger::Ledger;
use super::{Policy, Seen};
use crate::boards::Boards;
use crate::jobs::Job;

/// Watcher's default threshold of the outlet's temperature, °C.
const THRESHOLD: f64 = 35.0;
/// Watcher's default period over which the outlet is averaged, s.
const PERIOD: usize = 30;
/// Time between two audits, s. Watcher's default for continuous audits is an hour; a minute is in its favour.
const AUDIT: i64 = 60;

/// How a board is chosen, and whether anything moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    Spread,
    BinPack,
    Watcher,
}

/// A rule at work.
pub struct Rules {
    rule: Rule,
    ledger: Ledger,
    /// The outlets of the last half minute, newest last.
    outlets: Vec<VecDeque<f64>>,
}

impl Rules {
    pub fn new(rule: Rule, boards: usize) -> Self {
        Self { rule, ledger: Ledger::new(boards), outlets: vec![VecDeque::new(); boards] }
    }

    fn remember(&mut self, seen: &Seen) {
        for (kept, outlet) in self.outlets.iter_mut().zip(&seen.outlets) {
            match outlet {
                Some(outlet) => kept.push_back(*outlet),
                None => kept.clear(),
            }
            if kept.len() > PERIOD {
                kept.pop_front();
            }
        }
    }

    /// One audit: the hottest host above the threshold that has an instance gives its first to the coolest host below
    /// the threshold that has room. A host without data is in neither list.
    fn audit(&mut self, boards: &mut Boards, now: i64) {
        let outlets: Vec<(usize, f64)> =
            self.outlets.iter().enumerate().filter_map(|(board, kept)| Some((board, mean(kept)?))).collect();
        let mut hot: Vec<&(usize, f64)> = outlets.iter().filter(|(_, outlet)| *outlet >= THRESHOLD).collect();
        hot.sort_by(|a, b| b.1.total_cmp(&a.1));
        let Some(job) = hot.iter().find_map(|(board, _)| self.ledger.first_on(*board)) else { return };
        let cool = outlets.iter().filter(|(board, outlet)| *outlet < THRESHOLD && self.ledger.fits(*board, job));
        if let Some((target, _)) = cool.min_by(|a, b| a.1.total_cmp(&b.1)) {
            self.ledger.begin_move(boards, job, *target, now);
        }
    }
}

fn mean(values: &VecDeque<f64>) -> Option<f64> {
    let count = u32::try_from(values.len()).ok().filter(|count| *count > 0)?;
    Some(values.iter().sum::<f64>() / f64::from(count))
}

impl Policy for Rules {
    fn arrive(&mut self, job: &Job, _now: i64) {
        self.ledger.arrive(job);
    }

    fn leave(&mut self, job: &Job, _now: i64) {
        self.ledger.leave(job.id);
    }

    fn step(&mut self, seen: &Seen, boards: &mut Boards, now: i64) {
        self.ledger.advance(boards, now);
        let rule = self.rule;
        self.ledger.place_waiting(boards, now, |ledger, fitting| match rule {
            Rule::Spread | Rule::Watcher => {
                fitting.iter().copied().min_by_key(|board| (ledger.used_mib(*board), *board))
            }
            Rule::BinPack => fitting.iter().copied().min_by_key(|board| (Reverse(ledger.used_mib(*board)), *board)),
        });
        match self.rule {
            Rule::Spread | Rule::BinPack => {}
            Rule::Watcher => {
                self.remember(seen);
                if now % AUDIT == 0 && !self.ledger.is_moving() {
                    self.audit(boards, now);
                }
            }
        }
    }
}
