//! What boards do when told: an instance takes time to stop, to be copied, and to start. The same for every policy.

use std::collections::BTreeMap;

use crate::jobs::{BOARD_MILLIS, Job, JobId};

/// A start from an image that is there, s.
const START: i64 = 2;
/// A start that first copies what the instance wrote elsewhere, s.
const COPY: i64 = 6;
/// A stop: its processes end in their own time, s.
const STOP: i64 = 2;

/// Name of one run of a job on one board.
pub type TaskId = u128;

/// What a task does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Runs from this second on.
    Starting(i64),
    /// Does its work.
    Running,
    /// Has stopped from this second on.
    Stopping(i64),
    /// Only its files are left.
    Stopped,
}

/// One run of a job on a board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Task {
    /// The job.
    pub job: JobId,
    /// What it does.
    pub phase: Phase,
}

impl Task {
    /// It runs or is about to.
    #[must_use]
    pub const fn works(&self) -> bool {
        match self.phase {
            Phase::Starting(_) | Phase::Running => true,
            Phase::Stopping(_) | Phase::Stopped => false,
        }
    }
}

/// Every board and what is on it.
#[derive(Clone, PartialEq, Debug)]
pub struct Boards {
    tasks: Vec<BTreeMap<TaskId, Task>>,
}

impl Boards {
    /// So many boards with nothing on them.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { tasks: vec![BTreeMap::new(); count] }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Starts a task unless it is there; `copied`: with files from another board.
    pub fn start(&mut self, board: usize, id: TaskId, job: JobId, copied: bool, now: i64) {
        let ready = now + if copied { COPY } else { START };
        self.tasks[board].entry(id).or_insert(Task { job, phase: Phase::Starting(ready) });
    }

    /// Starts a task again that has stopped with its files.
    pub fn resume(&mut self, board: usize, id: TaskId, now: i64) {
        if let Some(task) = self.tasks[board].get_mut(&id).filter(|task| task.phase == Phase::Stopped) {
            task.phase = Phase::Starting(now + START);
        }
    }

    /// Stops a task unless it stops already.
    pub fn stop(&mut self, board: usize, id: TaskId, now: i64) {
        if let Some(task) = self.tasks[board].get_mut(&id) {
            match task.phase {
                Phase::Starting(_) | Phase::Running => task.phase = Phase::Stopping(now + STOP),
                Phase::Stopping(_) | Phase::Stopped => {}
            }
        }
    }

    /// Removes what is left of a task that has stopped; stops one that has not. True when nothing is left.
    pub fn remove(&mut self, board: usize, id: TaskId, now: i64) -> bool {
        match self.phase(board, id) {
            None => true,
            Some(Phase::Stopped) => self.tasks[board].remove(&id).is_some(),
            Some(Phase::Starting(_) | Phase::Running | Phase::Stopping(_)) => {
                self.stop(board, id, now);
                false
            }
        }
    }

    /// What a task does; none when there is none.
    #[must_use]
    pub fn phase(&self, board: usize, id: TaskId) -> Option<Phase> {
        self.tasks[board].get(&id).map(|task| task.phase)
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: i64) {
        for task in self.tasks.iter_mut().flat_map(BTreeMap::values_mut) {
            task.phase = match task.phase {
                Phase::Starting(at) if at <= now => Phase::Running,
                Phase::Stopping(at) if at <= now => Phase::Stopped,
                same => same,
            };
        }
    }

    /// Every task of a board.
    pub fn on(&self, board: usize) -> impl Iterator<Item = &Task> {
        self.tasks[board].values()
    }

    /// What its running jobs ask of a board, as a share of all its cores; may be more than 1.
    #[must_use]
    pub fn demand(&self, board: usize, jobs: &[Job], now: i64) -> f64 {
        let running = self.on(board).filter(|task| task.phase == Phase::Running);
        running.map(|task| jobs[task.job].demand(now)).sum::<f64>() / f64::from(BOARD_MILLIS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starting_copying_and_stopping_take_their_time() {
        let mut boards = Boards::new(1);
        boards.start(0, 1, 0, false, 0);
        boards.start(0, 2, 1, true, 0);
        for (now, one, two) in [(1, Phase::Starting(2), Phase::Starting(6)), (2, Phase::Running, Phase::Starting(6))] {
            boards.advance(now);
            assert_eq!((boards.phase(0, 1), boards.phase(0, 2)), (Some(one), Some(two)));
        }
        boards.stop(0, 1, 3);
        boards.stop(0, 1, 4);
        assert!(!boards.remove(0, 1, 4));
        boards.advance(5);
        assert_eq!(boards.phase(0, 1), Some(Phase::Stopped));
        assert!(boards.remove(0, 1, 5) && boards.phase(0, 1).is_none());
    }
}
