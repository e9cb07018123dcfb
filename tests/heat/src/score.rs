//! What a trial is judged by: the truth of the simulator, never what a policy believes.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::boards::Boards;
use crate::jobs::JobId;

/// An SoC is hot from here on, °C: the trip point less 5, as DESIGN says.
pub const HOT: f64 = 80.0;
/// An SoC is critical from here on, °C: the trip point plus 10.
pub const CRITICAL: f64 = 95.0;
/// A job that moves twice within this time without a new fault flaps, s.
const FLAP: i64 = 600;
/// A job that has no board so long after it arrived was refused, s.
const REFUSED: i64 = 5;

/// The outcome of a trial, or of several added up.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Score {
    /// The highest temperature of any SoC, °C.
    pub peak: f64,
    /// Seconds above hot, of all boards together.
    pub hot: f64,
    /// Seconds above critical, of all boards together.
    pub critical: f64,
    /// Jobs that changed boards, each time.
    pub migrations: u32,
    /// Moves of a job within 10 minutes of its last, without a new fault between.
    pub flaps: u32,
    /// Jobs that had no board when they arrived.
    pub refused: u32,
    /// Work done, core-seconds.
    pub work: f64,
    /// Work asked for, core-seconds.
    pub asked: f64,
    /// Mean drive of the fans, added up over every second.
    pub drive: f64,
    /// Seconds of that.
    pub seconds: f64,
}

impl AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.peak = self.peak.max(other.peak);
        self.hot += other.hot;
        self.critical += other.critical;
        self.migrations += other.migrations;
        self.flaps += other.flaps;
        self.refused += other.refused;
        self.work += other.work;
        self.asked += other.asked;
        self.drive += other.drive;
        self.seconds += other.seconds;
    }
}

/// Where jobs were, and when they moved.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Second of arrival of jobs that never had a board.
    homeless: BTreeMap<JobId, i64>,
    /// The newest board of each job.
    home: BTreeMap<JobId, usize>,
    moved: BTreeMap<JobId, i64>,
}

impl Watch {
    /// A job arrived.
    pub fn arrive(&mut self, job: JobId, now: i64) {
        self.homeless.insert(job, now);
    }

    /// A job left.
    pub fn leave(&mut self, job: JobId) {
        self.homeless.remove(&job);
        self.home.remove(&job);
    }

    /// Looks at every board; `fault`: when a fault last began or ended.
    pub fn look(&mut self, boards: &Boards, score: &mut Score, now: i64, fault: i64) {
        for board in 0..boards.count() {
            for task in boards.on(board).filter(|task| task.works()) {
                self.homeless.remove(&task.job);
                let before = self.home.insert(task.job, board);
                if before.is_some_and(|before| before != board) {
                    self.count_move(task.job, score, now, fault);
                }
            }
        }
        let late = self.homeless.values().filter(|arrived| now - **arrived == REFUSED).count();
        score.refused += u32::try_from(late).unwrap_or(u32::MAX);
    }

    fn count_move(&mut self, job: JobId, score: &mut Score, now: i64, fault: i64) {
        score.migrations += 1;
        let before = self.moved.insert(job, now);
        if before.is_some_and(|before| now - before < FLAP && fault < before) {
            score.flaps += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_flaps_and_refusals_are_counted_once_each() {
        let (mut watch, mut score, mut boards) = (Watch::default(), Score::default(), Boards::new(2));
        watch.arrive(0, 0);
        watch.arrive(1, 0);
        let mut at = |now: i64, fault: i64, board: usize, task: u128| {
            boards.start(board, task, 0, false, now);
            boards.stop(1 - board, task - 1, now);
            (now..now + 10).for_each(|second| {
                boards.advance(second);
                watch.look(&boards, &mut score, second, fault);
            });
            score
        };
        let first = at(0, 0, 0, 1);
        assert_eq!((first.migrations, first.refused), (0, 1), "job 1 never had a board");
        assert_eq!(at(100, 0, 1, 2).migrations, 1);
        let second = at(400, 200, 0, 3);
        assert_eq!((second.migrations, second.flaps), (2, 0), "a fault came between");
        assert_eq!(at(900, 200, 1, 4).flaps, 1);
    }
}
