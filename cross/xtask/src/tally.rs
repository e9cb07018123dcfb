//! Counting what passed, failed and was skipped, as the runners report it.

use std::fmt;
use std::ops::AddAssign;

/// How many checks came out how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Came out as they should.
    pub passed: u32,
    /// Did not.
    pub failed: u32,
    /// Were not run.
    pub skipped: u32,
}

impl Tally {
    /// One check.
    pub const fn one(passed: bool) -> Self {
        Self { passed: passed as u32, failed: !passed as u32, skipped: 0 }
    }

    /// A runner that ended badly has a failure, even if it never said of what.
    pub const fn and_exit(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
        }
        self
    }

    /// The sum of libtest's `test result:` lines, and of every other line of the form `N passed[,;] N failed[…]`.
    pub fn from_output(output: &str) -> Self {
        let mut sum = Self::default();
        for line in output.lines() {
            if let Some(tally) = Self::from_line(line) {
                sum += tally;
            }
        }
        sum
    }

    fn from_line(line: &str) -> Option<Self> {
        let mut tally = Self::default();
        let (mut has_passed, mut has_failed) = (false, false);
        for part in line.split([';', ',', '.']) {
            let mut words = part.split_whitespace().rev();
            let (Some(label), Some(number)) = (words.next(), words.next().and_then(|word| word.parse().ok())) else {
                continue;
            };
            match label {
                "passed" => (tally.passed, has_passed) = (number, true),
                "failed" => (tally.failed, has_failed) = (number, true),
                "ignored" | "skipped" => tally.skipped = number,
                _ => {}
            }
        }
        (has_passed && has_failed).then_some(tally)
    }

    /// Playwright's summary: a line each of `N passed (time)`, `N failed`, `N flaky`, `N skipped`, `N did not run`.
    pub fn from_playwright(output: &str) -> Self {
        let mut tally = Self::default();
        for line in output.lines() {
            let Some((number, label)) = line.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            match label.split(" (").next() {
                Some("passed") => tally.passed += number,
                Some("failed" | "flaky" | "interrupted") => tally.failed += number,
                Some("skipped" | "did not run") => tally.skipped += number,
                _ => {}
            }
        }
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn counts_come_from_the_runners_lines() {
        let table = [
            (
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
                (12, 0, 1),
            ),
            ("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out", (2, 3, 0)),
            ("vectors: 41 passed, 2 failed", (41, 2, 0)),
            ("7 passed, 0 failed, 2 skipped", (7, 0, 2)),
            ("test the_3_passed ... ok", (0, 0, 0)),
            ("nothing failed", (0, 0, 0)),
        ];
        for (line, (passed, failed, skipped)) in table {
            assert_eq!(Tally::from_output(line), Tally { passed, failed, skipped }, "{line}");
        }
    }

    #[test]
    fn playwright_counts_in_lines() {
        let output = "Running 4 tests using 1 worker\n  1 failed\n    a.spec.js:3:1 › 2 passed\n  1 did not run\n  2 passed (1.4m)\n";
        assert_eq!(Tally::from_playwright(output), Tally { passed: 2, failed: 1, skipped: 1 });
    }

    #[test]
    fn a_runner_that_ends_badly_without_a_word_is_a_failure() {
        assert_eq!(Tally::default().and_exit(false).failed, 1);
        assert_eq!(Tally { failed: 3, ..Tally::default() }.and_exit(false).failed, 3);
        assert_eq!(Tally::one(true).and_exit(true), Tally::one(true));
    }
}
