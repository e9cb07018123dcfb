//! The work: services that stay and short jobs that come and go, the same for every policy.

use roost_heat_model::Random;

use crate::trial::Setup;

/// Number of a job, in the order of arrival.
pub type JobId = usize;

/// Memory of a board that can be given out, MiB: 1 GiB less what the model keeps back.
pub const BOARD_MIB: u64 = 1024 - 96;
/// Thousandths of a core of a board.
pub const BOARD_MILLIS: u32 = 4_000;
/// Cpu is shared by weight and given out twice, as the model does by default.
pub const GIVEN_OUT_MILLIS: u32 = 2 * BOARD_MILLIS;

/// Named sizes: thousandths of a core, MiB, and how many of a hundred jobs have it.
const SIZES: [(u32, u64, usize); 4] = [(250, 64, 40), (500, 128, 35), (1000, 256, 20), (2000, 512, 5)];
/// Share of the memory in use that services hold; short jobs hold the rest.
const SERVICES: f64 = 0.7;
/// Services are launched during the first minutes, seconds.
const LAUNCHES: f64 = 300.0;
/// Short jobs run this long at least and at most, seconds.
const SHORT: (f64, f64) = (300.0, 1_500.0);

/// One job.
#[derive(Clone, PartialEq, Debug)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// When it arrives, second.
    pub arrives: i64,
    /// When it leaves; none for a service.
    pub leaves: Option<i64>,
    /// Cpu it was promised, thousandths of a core.
    pub cpu_millis: u32,
    /// Memory it was promised, MiB.
    pub memory_mib: u64,
    /// Share of its cpu that it uses on average.
    busy: f64,
    /// What makes its load go up and down.
    seed: u64,
}

impl Job {
    /// What it would use in a second, thousandths of a core: its average, and a new deviation every minute.
    #[must_use]
    pub fn demand(&self, second: i64) -> f64 {
        let minute = u64::try_from(second / 60).unwrap_or(0);
        let deviation = 0.15 * Random::new(self.seed.wrapping_add(minute.wrapping_mul(0x9E37_79B9))).normal();
        f64::from(self.cpu_millis) * (self.busy + deviation).clamp(0.05, 1.0)
    }
}

/// Every job of a trial, in the order of arrival.
#[must_use]
pub fn make(setup: &Setup) -> Vec<Job> {
    let mut random = Random::new(setup.seed ^ 0x10B5);
    #[expect(clippy::cast_precision_loss, reason = "some thousands of MiB")]
    let goal = (setup.boards() as u64 * BOARD_MIB) as f64 * setup.load;
    let mut jobs = services(&mut random, goal * SERVICES);
    #[expect(clippy::cast_precision_loss, reason = "some thousand seconds")]
    let seconds = setup.seconds as f64;
    jobs.extend(short_jobs(&mut random, goal * (1.0 - SERVICES), seconds));
    jobs.sort_by_key(|job| job.arrives);
    for (id, job) in jobs.iter_mut().enumerate() {
        job.id = id;
    }
    jobs
}

fn services(random: &mut Random, goal: f64) -> Vec<Job> {
    let (mut jobs, mut held) = (Vec::new(), 0.0);
    while held < goal {
        let mut job = sized(random);
        job.arrives = whole(random.between(0.0, LAUNCHES));
        job.busy = random.between(0.5, 1.0);
        held += mib(&job);
        jobs.push(job);
    }
    jobs
}

/// Arrivals as far apart as keeps their memory at the goal on average.
fn short_jobs(random: &mut Random, goal: f64, seconds: f64) -> Vec<Job> {
    let (mut jobs, mut clock) = (Vec::new(), 0.0);
    while clock < seconds {
        let mut job = sized(random);
        let lasts = random.between(SHORT.0, SHORT.1);
        job.arrives = whole(clock);
        job.leaves = Some(whole(clock + lasts));
        job.busy = random.between(0.8, 1.0);
        // Memory × time of this job, spread over the time until the next arrives.
        clock += mib(&job) * lasts / goal * random.between(0.5, 1.5);
        jobs.push(job);
    }
    jobs
}

fn sized(random: &mut Random) -> Job {
    let mut lot = random.below(100);
    let mut size = SIZES[0];
    for candidate in SIZES {
        size = candidate;
        match lot.checked_sub(candidate.2) {
            Some(rest) => lot = rest,
            None => break,
        }
    }
    let seed = random.bits();
    Job { id: 0, arrives: 0, leaves: None, cpu_millis: size.0, memory_mib: size.1, busy: 0.0, seed }
}

#[expect(clippy::cast_precision_loss, reason = "at most 512")]
const fn mib(job: &Job) -> f64 {
    job.memory_mib as f64
}

#[expect(clippy::cast_possible_truncation, reason = "seconds of a trial")]
const fn whole(seconds: f64) -> i64 {
    seconds as i64
}
