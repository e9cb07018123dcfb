//! The bookkeeping that the simple rules share: what is on which board, what waits, what is on its way.

use std::collections::BTreeMap;

use crate::boards::{Boards, Phase, TaskId};
use crate::jobs::{BOARD_MIB, GIVEN_OUT_MILLIS, Job, JobId};

/// Where a job is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    board: usize,
    task: TaskId,
    /// The board and task it comes from, until those are gone.
    from: Option<(usize, TaskId)>,
}

/// What is promised to whom.
#[derive(Clone, Debug)]
pub struct Ledger {
    jobs: BTreeMap<JobId, Job>,
    places: BTreeMap<JobId, Place>,
    /// Jobs without a board, oldest first.
    waiting: Vec<JobId>,
    /// Tasks of jobs that have left, until nothing is left of them.
    leaving: Vec<(usize, TaskId, JobId)>,
    boards: usize,
    next: TaskId,
}

impl Ledger {
    pub fn new(boards: usize) -> Self {
        let (jobs, places) = (BTreeMap::new(), BTreeMap::new());
        Self { jobs, places, waiting: Vec::new(), leaving: Vec::new(), boards, next: 0 }
    }

    pub fn arrive(&mut self, job: &Job) {
        self.jobs.insert(job.id, job.clone());
        self.waiting.push(job.id);
    }

    pub fn leave(&mut self, job: JobId) {
        self.waiting.retain(|waiting| *waiting != job);
        if let Some(place) = self.places.remove(&job) {
            self.leaving.push((place.board, place.task, job));
            self.leaving.extend(place.from.map(|(board, task)| (board, task, job)));
        }
    }

    /// Memory of a board that is promised, MiB.
    pub fn used_mib(&self, board: usize) -> u64 {
        self.on(board).map(|job| self.jobs[&job].memory_mib).sum()
    }

    /// Every job that has something on a board, by number, those that come, go and leave too.
    fn on(&self, board: usize) -> impl Iterator<Item = JobId> {
        let here = move |(job, place): (&JobId, &Place)| {
            let touches = place.board == board || place.from.is_some_and(|(from, _)| from == board);
            touches.then_some(*job)
        };
        let leaving = self.leaving.iter().filter(move |(at, ..)| *at == board).map(|(.., job)| *job);
        self.places.iter().filter_map(here).chain(leaving)
    }

    /// The first job, by number, that runs on a board and is not on its way.
    pub fn first_on(&self, board: usize) -> Option<JobId> {
        self.places.iter().find(|(_, place)| place.board == board && place.from.is_none()).map(|(job, _)| *job)
    }

    /// Whether a board has room for a job.
    pub fn fits(&self, board: usize, job: JobId) -> bool {
        let wanted = &self.jobs[&job];
        let millis: u32 = self.on(board).map(|job| self.jobs[&job].cpu_millis).sum();
        self.used_mib(board) + wanted.memory_mib <= BOARD_MIB && millis + wanted.cpu_millis <= GIVEN_OUT_MILLIS
    }

    /// A job is on its way.
    pub fn is_moving(&self) -> bool {
        self.places.values().any(|place| place.from.is_some())
    }

    /// Gives every waiting job that fits somewhere the board that `choose` likes.
    pub fn place_waiting(&mut self, boards: &mut Boards, now: i64, choose: impl Fn(&Self, &[usize]) -> Option<usize>) {
        for job in self.waiting.clone() {
            let fitting: Vec<usize> = (0..self.boards).filter(|board| self.fits(*board, job)).collect();
            let Some(board) = choose(self, &fitting) else { continue };
            self.next += 1;
            boards.start(board, self.next, job, false, now);
            self.places.insert(job, Place { board, task: self.next, from: None });
            self.waiting.retain(|waiting| *waiting != job);
        }
    }

    /// Begins to move a job: its old task stops first.
    pub fn begin_move(&mut self, boards: &mut Boards, job: JobId, to: usize, now: i64) {
        let Some(place) = self.places.get_mut(&job) else { return };
        boards.stop(place.board, place.task, now);
        self.next += 1;
        *place = Place { board: to, task: self.next, from: Some((place.board, place.task)) };
    }

    /// Takes the next step of what is on its way or leaves.
    pub fn advance(&mut self, boards: &mut Boards, now: i64) {
        self.leaving.retain(|(board, task, _)| !boards.remove(*board, *task, now));
        for (job, place) in &mut self.places {
            let Some((from, old)) = place.from else { continue };
            if boards.phase(from, old) == Some(Phase::Stopped) {
                boards.start(place.board, place.task, *job, true, now);
            }
            if boards.phase(place.board, place.task) == Some(Phase::Running) && boards.remove(from, old, now) {
                place.from = None;
            }
        }
    }
}
