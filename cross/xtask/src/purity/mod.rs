//! The wall around the pure crates: no I/O, no clock, no randomness, no async, no unordered maps.
//!
//! Two looks at it. [`deps`]: what a pure crate links, however indirectly. [`source`]: what its own code names outside
//! of tests. A crate that needs one of these things is not pure; `now` and seeds are arguments.

mod deps;
mod source;

use std::fmt;

use anyhow::Result;

use crate::repo;
use crate::tally::Tally;

/// The pure crates and where they live.
const CRATES: &[(&str, &str)] = &[
    ("roost-types", "controller/types"),
    ("roost-model", "controller/model"),
    ("roost-scheduler", "controller/scheduler"),
    ("roost-thermal", "controller/thermal"),
    ("roost-heat-model", "controller/heat-model"),
    ("roost-allocation", "node-agent/allocation"),
    ("roost-protocol", "sensor-firmware/protocol"),
];

/// What the looks found.
pub struct Report {
    /// Every breach of the wall, one line each.
    pub findings: Vec<String>,
    /// Two checks a crate, and one of every planted line.
    pub tally: Tally,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        write!(f, "pure crates: {}", self.tally)
    }
}

/// Checks every pure crate, after showing with planted lines that a breach would be seen.
///
/// # Errors
/// A crate's sources or dependencies cannot be read.
pub fn run() -> Result<Report> {
    let mut report = Report { findings: Vec::new(), tally: Tally::default() };
    report.add(source::unseen_plants());
    report.add(deps::unseen_plants());
    for (name, dir) in CRATES {
        report.add(deps::forbidden_in(name)?);
        report.add(source::check_dir(&repo::root().join(dir).join("src"))?);
    }
    Ok(report)
}

impl Report {
    /// Counts one check, good if it found nothing.
    fn add(&mut self, findings: Vec<String>) {
        self.tally += Tally::one(findings.is_empty());
        self.findings.extend(findings);
    }
}
