//! Many trials side by side, and the table that tells of them.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::policy::Kind;
use crate::score::Score;
use crate::trial::{Fault, Setup, run};

/// How many policies are compared.
const POLICIES: usize = Kind::ALL.len();

/// One row of the comparison: every seed of a fault and a load, by policy in the order of [`Kind::ALL`].
#[derive(Clone, PartialEq, Debug)]
pub struct Cell {
    /// What went wrong.
    pub fault: Fault,
    /// Share of the rack's memory that jobs hold.
    pub load: f64,
    /// All seeds added up.
    pub sums: [Score; POLICIES],
    /// Of seeds in which some policy had no second above critical, the seconds that each policy had.
    pub avoidable: [f64; POLICIES],
}

/// Runs every seed under every policy, load and fault, on so many threads.
#[must_use]
pub fn compare(seeds: &[u64], loads: &[f64], faults: &[Fault], threads: usize) -> Vec<Cell> {
    let groups: Vec<(Fault, f64)> =
        faults.iter().flat_map(|fault| loads.iter().map(move |load| (*fault, *load))).collect();
    let setups: Vec<Setup> = groups
        .iter()
        .flat_map(|(fault, load)| seeds.iter().map(move |seed| Setup::usual(*seed, *load, *fault)))
        .collect();
    let scores = run_all(&setups, threads);
    groups.iter().zip(scores.chunks(seeds.len())).map(|((fault, load), scores)| cell(*fault, *load, scores)).collect()
}

/// Every setup under every policy; which thread took which does not matter, a trial depends on its setup alone.
fn run_all(setups: &[Setup], threads: usize) -> Vec<[Score; POLICIES]> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![[Score::default(); POLICIES]; setups.len()]);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some((index, setup)) = take(&next, setups) {
                    let scores = Kind::ALL.map(|kind| run(setup, kind));
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[index] = scores;
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn take<'s>(next: &AtomicUsize, setups: &'s [Setup]) -> Option<(usize, &'s Setup)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    setups.get(index).map(|setup| (index, setup))
}

fn cell(fault: Fault, load: f64, scores: &[[Score; POLICIES]]) -> Cell {
    let (mut sums, mut avoidable) = ([Score::default(); POLICIES], [0.0; POLICIES]);
    for by_policy in scores {
        let could = by_policy.iter().any(|score| score.critical <= 0.0);
        for ((sum, avoidable), score) in sums.iter_mut().zip(&mut avoidable).zip(by_policy) {
            *sum += *score;
            *avoidable += if could { score.critical } else { 0.0 };
        }
    }
    Cell { fault, load, sums, avoidable }
}

/// The comparison as Markdown: sums over all seeds, peak the highest of any.
#[must_use]
pub fn table(cells: &[Cell]) -> String {
    let mut text = String::from(
        "| fault | load | policy | peak °C | node-s ≥ hot | node-s ≥ critical | of which avoidable | migrations | flaps | \
         refused | work done | fans |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for cell in cells {
        for ((kind, score), avoidable) in Kind::ALL.iter().zip(&cell.sums).zip(&cell.avoidable) {
            let _ = writeln!(
                text,
                "| {} | {:.0} % | {} | {:.1} | {:.0} | {:.0} | {avoidable:.0} | {} | {} | {} | {:.2} % | {:.0} % |",
                cell.fault.name(),
                cell.load * 100.0,
                kind.name(),
                score.peak,
                score.hot,
                score.critical,
                score.migrations,
                score.flaps,
                score.refused,
                100.0 * score.work / score.asked,
                100.0 * score.drive / score.seconds,
            );
        }
    }
    text
}
