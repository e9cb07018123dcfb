//! `roost-heat-trials [SEEDS [FIRST [THREADS]]]`: prints the comparison as Markdown.

use std::process::ExitCode;

use roost_heat_trials::{Fault, compare, table};

/// Load levels: share of the rack's memory that jobs hold.
const LOADS: [f64; 3] = [0.3, 0.6, 0.9];

fn main() -> ExitCode {
    let mut numbers = Vec::new();
    for word in std::env::args().skip(1) {
        let Ok(number) = word.parse::<u64>() else {
            eprintln!("'{word}' is not a number; usage: roost-heat-trials [SEEDS [FIRST [THREADS]]]");
            return ExitCode::FAILURE;
        };
        numbers.push(number);
    }
    let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let (count, first) = (number(0, 20).max(1), number(1, 1));
    let threads = usize::try_from(number(2, 2)).unwrap_or(2);
    let seeds: Vec<u64> = (first..first + count).collect();
    print!("{}", table(&compare(&seeds, &LOADS, &Fault::ALL, threads)));
    ExitCode::SUCCESS
}
