//! One allocation: what is wished of it, what is seen of it, and what follows.

mod shown;

use std::time::Duration;

use roost_types::allocation::{AllocationDesired, DEFAULT_STOP_SECONDS};
use roost_types::instance::RestartPolicy;
use roost_types::size::Resources;
use roost_types::snapshot::SnapshotOutcome;
use roost_types::{AllocationId, AllocationReport, AllocationSpec, ExitStatus, MemoryBytes, SnapshotId, Timestamp};

use crate::backoff::{Backoff, STABLE_AFTER};
use crate::snapshots::Snapshots;
use crate::strain::{Counters, Gauge};
use crate::work::{FirewallInstance, Seen, SeenState, Work};

/// What is known of the container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Container {
    /// It was never made here, or was deleted.
    Absent,
    Running {
        epoch: u64,
        started_at: Timestamp,
    },
    /// Nothing of it runs; its layer is there.
    Exited,
}

/// The kind of work under way; at most one per allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ongoing {
    Layer,
    Start {
        epoch: u64,
        resources: Resources,
    },
    Limit {
        resources: Resources,
    },
    /// Asked so often, and so long is the shortest grace that was given. It is over when all have been answered.
    Stop {
        asked: u32,
        grace: Duration,
    },
    Delete,
    Snapshot(SnapshotId),
    DropSnapshot(SnapshotId),
    Restore(u64),
}

impl Ongoing {
    /// What runs goes on as before meanwhile, and ends as it would otherwise.
    const fn leaves_it_alone(self) -> bool {
        match self {
            Self::Limit { .. } | Self::Snapshot(_) | Self::DropSnapshot(_) => true,
            Self::Layer | Self::Start { .. } | Self::Stop { .. } | Self::Delete | Self::Restore(_) => false,
        }
    }
}

/// Why an allocation that should run is left alone.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Halt {
    /// It did what it had to and ended with 0.
    Completed,
    /// It failed, and trying again is not wanted or would not help.
    Failed(String),
}

/// An allocation of this node.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    id: AllocationId,
    /// None: it was found here and no desired set names it (yet).
    spec: Option<AllocationSpec>,
    /// It has left the desired set.
    dropped: bool,
    /// Nothing of it is left; kept while the desired set names it.
    gone: bool,
    container: Container,
    ongoing: Option<Ongoing>,
    /// An exit that was seen before the start it ends was answered.
    early_exit: Option<ExitStatus>,
    seeded: bool,
    /// The limits in force; none when it was found running and nobody knows.
    limits: Option<Resources>,
    halt: Option<Halt>,
    gauge: Gauge,
    backoff: Backoff,
    snapshots: Snapshots,
    /// What went wrong last, until it goes well.
    trouble: String,
    /// How often it was started; those that an earlier agent saw, too.
    starts: u32,
    started_at: Option<Timestamp>,
    exit: Option<ExitStatus>,
    reported: Option<AllocationReport>,
    /// The firewall has let it through since it was started; one that is found running was let through by whoever
    /// started it.
    open: bool,
}

/// What came of work that ended well.
pub(crate) enum Done {
    /// Nothing but the change itself.
    Plainly,
    /// The first process was executed then.
    Started(Timestamp),
    /// A snapshot has so many bytes.
    Kept(MemoryBytes),
    /// The layer came with these snapshots.
    Filled(Vec<(SnapshotId, MemoryBytes)>),
}

/// What the rest of the node offers an allocation.
pub(crate) struct Ready {
    pub image: bool,
    pub network: bool,
    pub ports: bool,
    /// What is wrong with the image, the network or the firewall; empty when nothing is.
    pub trouble: String,
}

impl Entry {
    pub(crate) fn new(id: AllocationId) -> Self {
        Self {
            id,
            spec: None,
            dropped: false,
            gone: false,
            container: Container::Absent,
            ongoing: None,
            early_exit: None,
            seeded: false,
            limits: None,
            halt: None,
            gauge: Gauge::default(),
            backoff: Backoff::default(),
            snapshots: Snapshots::default(),
            trouble: String::new(),
            starts: 0,
            started_at: None,
            exit: None,
            reported: None,
            open: false,
        }
    }

    pub(crate) fn spec(&self) -> Option<&AllocationSpec> {
        self.spec.as_ref()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped
    }

    pub(crate) fn desired(&self) -> AllocationDesired {
        match &self.spec {
            Some(spec) if !self.dropped => spec.desired,
            Some(_) | None => AllocationDesired::Deleted,
        }
    }

    fn wants_to_run(&self) -> bool {
        self.desired() == AllocationDesired::Running && self.halt.is_none()
    }

    /// The image is needed before the next start.
    pub(crate) fn needs_image(&self) -> bool {
        self.wants_to_run() && !self.is_running()
    }

    pub(crate) fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.backoff.waits_until(now).into_iter().chain(self.snapshots.waits_until(now)).min()
    }

    /// Work under way that changes what runs, or the files below it.
    fn changing(&self) -> Option<Ongoing> {
        self.ongoing.filter(|ongoing| !ongoing.leaves_it_alone())
    }

    /// A spec of the newest desired set. A new wish to run, or a new epoch, forgives what failed before.
    pub(crate) fn wish(&mut self, spec: AllocationSpec, now: Timestamp) {
        let first = self.spec.is_none();
        let before = (self.desired(), self.spec.as_ref().map(|s| s.epoch));
        let after = (spec.desired, Some(spec.epoch));
        self.dropped = false;
        self.snapshots.wish(&spec);
        self.spec = Some(spec);
        if before != after {
            self.halt = None;
            self.backoff.reset();
            self.trouble.clear();
        }
        if self.gone && self.desired() != AllocationDesired::Deleted {
            self.gone = false;
        }
        if first
            && self.container == Container::Exited
            && let Some(exit) = self.exit
        {
            self.ended_by_itself(exit, now);
        }
    }

    /// The newest desired set does not name it.
    pub(crate) fn drop_wish(&mut self) {
        if !self.dropped {
            self.dropped = true;
            self.backoff.reset();
        }
    }

    /// The next piece of work, if one is due.
    pub(crate) fn next_work(&self, ready: &Ready, now: Timestamp) -> Option<Work> {
        if let Some(Ongoing::Stop { grace, .. }) = self.ongoing {
            return (self.grace() < grace).then_some(Work::Stop { id: self.id, grace: self.grace() });
        }
        if self.ongoing.is_some() {
            return None;
        }
        if let Some(work) = self.snapshot_work(now) {
            return Some(work);
        }
        if !self.backoff.is_due(now) {
            return None;
        }
        match self.desired() {
            AllocationDesired::Deleted => (!self.gone).then_some(Work::Delete { id: self.id }),
            AllocationDesired::Stopped => self.stop_if_running().or_else(|| self.restore_if_wished()),
            AllocationDesired::Running => self.work_towards_running(ready),
        }
    }

    /// Before anything else, so that a snapshot holds the files as they were when it was asked for.
    fn snapshot_work(&self, now: Timestamp) -> Option<Work> {
        let spec = self.spec.as_ref().filter(|_| self.desired() != AllocationDesired::Deleted)?;
        // Where nothing was made and nothing will be, the shell finds that out and says so.
        let has_files = self.container != Container::Absent || !self.wants_to_run();
        self.snapshots.next_work(self.id, spec, has_files, now)
    }

    fn restore_if_wished(&self) -> Option<Work> {
        let wish = self.snapshots.restore_due(self.spec.as_ref()?)?;
        Some(Work::Restore { id: self.id, wish })
    }

    fn stop_if_running(&self) -> Option<Work> {
        self.is_running().then_some(Work::Stop { id: self.id, grace: self.grace() })
    }

    /// How long it may take to end now.
    fn grace(&self) -> Duration {
        let seconds = self.spec.as_ref().and_then(|spec| spec.stop_seconds).unwrap_or(DEFAULT_STOP_SECONDS);
        match self.desired() {
            AllocationDesired::Deleted => Duration::ZERO,
            AllocationDesired::Running | AllocationDesired::Stopped => Duration::from_secs(seconds.into()),
        }
    }

    fn work_towards_running(&self, ready: &Ready) -> Option<Work> {
        let spec = self.spec.as_ref()?;
        match self.container {
            Container::Running { epoch, .. } if epoch == spec.epoch => {
                let (id, resources) = (self.id, spec.resources);
                (self.limits != Some(resources)).then_some(Work::Limit { id, resources })
            }
            Container::Running { .. } => self.stop_if_running(),
            Container::Absent | Container::Exited if self.halt.is_some() || !ready.image => None,
            Container::Absent if spec.seed_from.is_some() && !self.seeded => {
                Some(Work::FetchLayer(Box::new(spec.clone())))
            }
            Container::Absent | Container::Exited if ready.network => Some(Work::Start(Box::new(spec.clone()))),
            Container::Absent | Container::Exited => None,
        }
    }

    /// `work` of this allocation was handed out.
    pub(crate) fn begin(&mut self, work: &Work) {
        self.ongoing = match work {
            Work::FetchLayer(_) => Some(Ongoing::Layer),
            Work::Start(spec) => Some(Ongoing::Start { epoch: spec.epoch, resources: spec.resources }),
            Work::Limit { id: _, resources } => Some(Ongoing::Limit { resources: *resources }),
            Work::Stop { grace, .. } => {
                let asked = if let Some(Ongoing::Stop { asked, .. }) = self.ongoing { asked + 1 } else { 1 };
                Some(Ongoing::Stop { asked, grace: *grace })
            }
            Work::Delete { .. } => Some(Ongoing::Delete),
            Work::Snapshot { snapshot, .. } => Some(Ongoing::Snapshot(*snapshot)),
            Work::DropSnapshot { snapshot, .. } => Some(Ongoing::DropSnapshot(*snapshot)),
            Work::Restore { wish, .. } => Some(Ongoing::Restore(wish.number)),
            Work::EnsureNetwork(_) | Work::ApplyFirewall(_) | Work::FetchImage(_) => None,
        };
    }

    /// The work under way ended well.
    pub(crate) fn finish(&mut self, done: Done, now: Timestamp) {
        let Some(ongoing) = self.ongoing.take() else { return };
        if self.ended_meanwhile(ongoing) {
            return;
        }
        if !ongoing.leaves_it_alone() {
            self.trouble.clear();
        }
        match ongoing {
            Ongoing::Layer => {
                self.seeded = true;
                self.backoff.reset();
                if let Done::Filled(snapshots) = done {
                    self.snapshots.seen(&snapshots);
                }
            }
            Ongoing::Start { epoch, resources } => {
                let at = if let Done::Started(at) = done { at } else { now };
                self.limits = Some(resources);
                self.started(epoch, at, now);
            }
            Ongoing::Limit { resources } => {
                self.trouble.clear();
                self.limits = Some(resources);
                self.backoff.reset();
            }
            Ongoing::Snapshot(id) => {
                let bytes = if let Done::Kept(bytes) = done { bytes } else { MemoryBytes(0) };
                self.snapshots.made(id, SnapshotOutcome::Held(bytes));
            }
            Ongoing::DropSnapshot(id) => self.snapshots.dropped(id),
            Ongoing::Restore(number) => self.snapshots.restored(number, None),
            Ongoing::Stop { asked, grace } => {
                self.container = Container::Exited;
                self.backoff.reset();
                self.ongoing = (asked > 1).then_some(Ongoing::Stop { asked: asked - 1, grace });
            }
            Ongoing::Delete => {
                self.container = Container::Absent;
                self.snapshots.clear();
                self.seeded = false;
                self.gone = self.desired() == AllocationDesired::Deleted;
            }
        }
    }

    /// New limits for a container that has ended by itself: what follows from its end stands.
    fn ended_meanwhile(&self, ongoing: Ongoing) -> bool {
        matches!(ongoing, Ongoing::Limit { .. }) && !self.is_running()
    }

    fn started(&mut self, epoch: u64, at: Timestamp, now: Timestamp) {
        self.starts = self.starts.saturating_add(1);
        self.container = Container::Running { epoch, started_at: at };
        self.gauge = Gauge::default();
        self.started_at = Some(at);
        self.open = false;
        if let Some(exit) = self.early_exit.take() {
            self.exited(exit, now);
        }
    }

    /// The work under way failed.
    pub(crate) fn fail(&mut self, reason: String, possible: bool, now: Timestamp) {
        let Some(ongoing) = self.ongoing.take() else { return };
        if self.ended_meanwhile(ongoing) {
            return;
        }
        self.early_exit = None;
        match ongoing {
            Ongoing::Start { .. } if !possible => self.halt = Some(Halt::Failed(reason)),
            Ongoing::Snapshot(id) => self.snapshots.made(id, SnapshotOutcome::Failed(reason)),
            Ongoing::DropSnapshot(_) => self.snapshots.drop_failed(now),
            Ongoing::Restore(number) => self.snapshots.restored(number, Some(reason)),
            Ongoing::Stop { asked: asked @ 2.., grace } => {
                self.ongoing = Some(Ongoing::Stop { asked: asked - 1, grace })
            }
            Ongoing::Layer | Ongoing::Start { .. } | Ongoing::Limit { .. } | Ongoing::Stop { .. } | Ongoing::Delete => {
                self.backoff.fail(now);
                self.trouble = reason;
            }
        }
    }

    /// The first process ended.
    pub(crate) fn exited(&mut self, exit: ExitStatus, now: Timestamp) {
        match self.container {
            Container::Running { started_at, .. } if exit.at >= started_at => {
                self.container = Container::Exited;
                self.exit = Some(exit);
                if self.changing().is_none() {
                    self.ended_by_itself(exit, now);
                }
            }
            Container::Absent | Container::Exited if matches!(self.ongoing, Some(Ongoing::Start { .. })) => {
                self.early_exit = Some(exit);
            }
            Container::Running { .. } | Container::Absent | Container::Exited => {}
        }
    }

    fn ended_by_itself(&mut self, exit: ExitStatus, now: Timestamp) {
        if self.desired() != AllocationDesired::Running {
            return;
        }
        let Some(policy) = self.spec.as_ref().map(|s| s.restart) else { return };
        match (policy, exit.code) {
            (RestartPolicy::Never | RestartPolicy::OnFailure, 0) => self.halt = Some(Halt::Completed),
            (RestartPolicy::Never, _) => self.halt = Some(Halt::Failed(describe(exit))),
            (RestartPolicy::OnFailure | RestartPolicy::Always, _) => {
                if self.started_at.is_some_and(|at| exit.at.since(at) >= STABLE_AFTER) {
                    self.backoff.reset();
                }
                let pause = self.backoff.fail(now);
                self.trouble = format!("{}, starts again after {} s", describe(exit), pause.as_secs());
            }
        }
    }

    /// The container is there.
    pub(crate) fn seen(&mut self, seen: &Seen, now: Timestamp) {
        if self.ongoing.is_some() || self.gone {
            return;
        }
        self.snapshots.seen(&seen.snapshots);
        self.starts = self.starts.max(seen.starts);
        match seen.state {
            SeenState::Running { epoch, started_at } => {
                self.starts = self.starts.max(1);
                self.open |= !self.is_running();
                self.container = Container::Running { epoch, started_at };
                self.started_at = Some(started_at);
                self.halt = None;
            }
            SeenState::Exited { exit: None } => self.container = Container::Exited,
            SeenState::Exited { exit: Some(exit) } if self.container == Container::Absent => {
                self.container = Container::Exited;
                self.exit = Some(exit);
                self.ended_by_itself(exit, now);
            }
            SeenState::Exited { exit: Some(exit) } => self.exited(exit, now),
        }
    }

    /// Counters of the running container were read.
    pub(crate) fn counted(&mut self, counters: Counters, now: Timestamp) {
        if self.is_running() {
            self.gauge.read(counters, now);
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.container, Container::Running { .. })
    }

    /// No container of it is there.
    pub(crate) fn unseen(&mut self) {
        if self.ongoing.is_none() {
            self.container = Container::Absent;
        }
    }

    /// What the firewall should know of it: from before its start until after its end.
    pub(crate) fn firewall(&self) -> Option<FirewallInstance> {
        // One on the LAN is none of its business.
        let spec = self.spec.as_ref().filter(|spec| spec.network.is_bridge())?;
        let publish = if self.wants_to_run() { spec.publish.clone() } else { Vec::new() };
        let present = self.is_running() || self.changing().is_some();
        (present || self.wants_to_run()).then(|| FirewallInstance {
            id: self.id,
            name: spec.name.clone(),
            project: spec.project.clone(),
            address: spec.address,
            publish,
        })
    }
}

fn describe(exit: ExitStatus) -> String {
    match exit {
        ExitStatus { oom_killed: true, .. } => "killed for want of memory".to_owned(),
        ExitStatus { code: code @ 129..=192, .. } => format!("killed by signal {}", code - 128),
        ExitStatus { code, .. } => format!("exited with code {code}"),
    }
}
