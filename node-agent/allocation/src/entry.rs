//! One allocation: what is wished of it, what is seen of it, and what follows.

use roost_types::allocation::AllocationDesired;
use roost_types::instance::RestartPolicy;
use roost_types::size::Resources;
use roost_types::{AllocationId, AllocationReport, AllocationSpec, AllocationState, ExitStatus, Timestamp};

use crate::backoff::{Backoff, STABLE_AFTER};
use crate::strain::{Counters, Gauge};
use crate::work::{FirewallInstance, STOP_GRACE, Seen, SeenState, Work};

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
    Start { epoch: u64, resources: Resources },
    Limit { resources: Resources },
    Stop,
    Delete,
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
    /// What went wrong last, until it goes well.
    trouble: String,
    restarts: u32,
    started_at: Option<Timestamp>,
    exit: Option<ExitStatus>,
    reported: Option<AllocationReport>,
    /// The firewall has let it through since it was started; one that is found running was let through by whoever
    /// started it.
    open: bool,
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
            trouble: String::new(),
            restarts: 0,
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
        self.wants_to_run() && !matches!(self.container, Container::Running { .. })
    }

    pub(crate) fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.backoff.waits_until(now)
    }

    /// A spec of the newest desired set. A new wish to run, or a new epoch, forgives what failed before.
    pub(crate) fn wish(&mut self, spec: AllocationSpec, now: Timestamp) {
        let first = self.spec.is_none();
        let before = (self.desired(), self.spec.as_ref().map(|s| s.epoch));
        let after = (spec.desired, Some(spec.epoch));
        self.dropped = false;
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
        if self.ongoing.is_some() || !self.backoff.is_due(now) {
            return None;
        }
        match self.desired() {
            AllocationDesired::Deleted => (!self.gone).then_some(Work::Delete { id: self.id }),
            AllocationDesired::Stopped => self.stop_if_running(),
            AllocationDesired::Running => self.work_towards_running(ready),
        }
    }

    fn stop_if_running(&self) -> Option<Work> {
        self.is_running().then_some(Work::Stop { id: self.id, grace: STOP_GRACE })
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
            Work::Stop { .. } => Some(Ongoing::Stop),
            Work::Delete { .. } => Some(Ongoing::Delete),
            Work::EnsureNetwork(_) | Work::ApplyFirewall(_) | Work::FetchImage(_) => None,
        };
    }

    /// The work under way ended well.
    pub(crate) fn finish(&mut self, started: Option<Timestamp>, now: Timestamp) {
        let Some(ongoing) = self.ongoing.take() else { return };
        if self.ended_meanwhile(ongoing) {
            return;
        }
        self.trouble.clear();
        match ongoing {
            Ongoing::Layer => {
                self.seeded = true;
                self.backoff.reset();
            }
            Ongoing::Start { epoch, resources } => {
                self.limits = Some(resources);
                self.started(epoch, started.unwrap_or(now), now);
            }
            Ongoing::Limit { resources } => {
                self.limits = Some(resources);
                self.backoff.reset();
            }
            Ongoing::Stop => {
                self.container = Container::Exited;
                self.backoff.reset();
            }
            Ongoing::Delete => {
                self.container = Container::Absent;
                self.seeded = false;
                self.gone = self.desired() == AllocationDesired::Deleted;
            }
        }
    }

    /// New limits for a container that has ended by itself: what follows from its end stands.
    fn ended_meanwhile(&self, ongoing: Ongoing) -> bool {
        matches!(ongoing, Ongoing::Limit { .. }) && !matches!(self.container, Container::Running { .. })
    }

    fn started(&mut self, epoch: u64, at: Timestamp, now: Timestamp) {
        if self.started_at.is_some() {
            self.restarts = self.restarts.saturating_add(1);
        }
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
            Ongoing::Layer | Ongoing::Start { .. } | Ongoing::Limit { .. } | Ongoing::Stop | Ongoing::Delete => {
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
                if matches!(self.ongoing, None | Some(Ongoing::Limit { .. })) {
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
        match seen.state {
            SeenState::Running { epoch, started_at } => {
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
        let present = matches!(self.container, Container::Running { .. }) || self.ongoing.is_some();
        (present || self.wants_to_run()).then(|| FirewallInstance {
            id: self.id,
            name: spec.name.clone(),
            project: spec.project.clone(),
            address: spec.address,
            publish,
        })
    }

    /// The report to send, if it says something new. Nothing is said of what the desired set does not name.
    pub(crate) fn take_change(&mut self, ready: &Ready) -> Option<AllocationReport> {
        self.open |= self.is_running() && ready.ports;
        let report = self.report(ready)?;
        if self.reported.as_ref() == Some(&report) {
            return None;
        }
        self.reported = Some(report.clone());
        Some(report)
    }

    pub(crate) fn report(&self, ready: &Ready) -> Option<AllocationReport> {
        let spec = self.spec.as_ref().filter(|_| !self.dropped && !self.gone)?;
        let (state, reason) = self.state(spec, ready);
        // A start is told with the state that it leads to, so that whoever is told sees it as one.
        let untold = self.is_running() && !self.is_open(ready);
        let (restarts, started_at) = match &self.reported {
            Some(told) if untold => (told.restarts, told.started_at),
            None if untold => (0, None),
            Some(_) | None => (self.restarts, self.started_at),
        };
        Some(AllocationReport {
            id: self.id,
            generation: spec.generation,
            state,
            reason,
            restarts,
            started_at,
            exit: self.exit,
            strain: self.gauge.strain(),
        })
    }

    fn is_open(&self, ready: &Ready) -> bool {
        self.open || ready.ports
    }

    fn state(&self, spec: &AllocationSpec, ready: &Ready) -> (AllocationState, String) {
        let running = self.is_running();
        match spec.desired {
            AllocationDesired::Deleted => (AllocationState::Stopping, self.trouble.clone()),
            AllocationDesired::Stopped if running || self.ongoing.is_some() => {
                (AllocationState::Stopping, self.trouble.clone())
            }
            AllocationDesired::Stopped => (AllocationState::Stopped, String::new()),
            AllocationDesired::Running => self.state_towards_running(spec, ready),
        }
    }

    fn state_towards_running(&self, spec: &AllocationSpec, ready: &Ready) -> (AllocationState, String) {
        let trouble = if self.trouble.is_empty() { &ready.trouble } else { &self.trouble };
        match (&self.halt, self.container, self.ongoing) {
            (_, _, Some(Ongoing::Stop | Ongoing::Delete)) => (AllocationState::Stopping, self.trouble.clone()),
            (Some(Halt::Completed), ..) => (AllocationState::Stopped, "exited with code 0".to_owned()),
            (Some(Halt::Failed(reason)), ..) => (AllocationState::Failed, reason.clone()),
            (None, Container::Running { epoch, .. }, _) if epoch != spec.epoch => {
                (AllocationState::Stopping, self.trouble.clone())
            }
            // What goes wrong with a running container is that its new limits are not in force yet.
            (None, Container::Running { .. }, _) if self.is_open(ready) => {
                (AllocationState::Running, self.trouble.clone())
            }
            (None, Container::Running { .. }, _) => (AllocationState::Starting, ready.trouble.clone()),
            (None, _, Some(Ongoing::Start { .. })) => (AllocationState::Starting, trouble.clone()),
            (None, _, Some(Ongoing::Layer)) => (AllocationState::Preparing, trouble.clone()),
            (None, Container::Absent, None) if spec.seed_from.is_some() && !self.seeded => {
                (AllocationState::Preparing, trouble.clone())
            }
            (None, Container::Absent | Container::Exited, None | Some(Ongoing::Limit { .. })) if !ready.image => {
                (AllocationState::Preparing, trouble.clone())
            }
            (None, Container::Absent | Container::Exited, None | Some(Ongoing::Limit { .. })) => {
                (AllocationState::Starting, trouble.clone())
            }
        }
    }
}

fn describe(exit: ExitStatus) -> String {
    match exit {
        ExitStatus { oom_killed: true, .. } => "killed for want of memory".to_owned(),
        ExitStatus { code: code @ 129..=192, .. } => format!("killed by signal {}", code - 128),
        ExitStatus { code, .. } => format!("exited with code {code}"),
    }
}
