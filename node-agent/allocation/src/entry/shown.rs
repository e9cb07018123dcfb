//! What the controller is told of an allocation.

use roost_types::allocation::AllocationDesired;
use roost_types::{AllocationReport, AllocationSpec, AllocationState};

use super::{Container, Entry, Halt, Ongoing, Ready};

impl Entry {
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
            Some(_) | None => (self.starts.saturating_sub(1), self.started_at),
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
            snapshots: self.snapshots.report(),
            restore: self.snapshots.restore_report(spec),
        })
    }

    fn is_open(&self, ready: &Ready) -> bool {
        self.open || ready.ports
    }

    fn state(&self, spec: &AllocationSpec, ready: &Ready) -> (AllocationState, String) {
        let running = self.is_running();
        match spec.desired {
            AllocationDesired::Deleted => (AllocationState::Stopping, self.trouble.clone()),
            AllocationDesired::Stopped
                if running || self.changing().is_some() || self.snapshots.restore_due(spec).is_some() =>
            {
                (AllocationState::Stopping, self.trouble.clone())
            }
            AllocationDesired::Stopped => (AllocationState::Stopped, String::new()),
            AllocationDesired::Running => self.state_towards_running(spec, ready),
        }
    }

    fn state_towards_running(&self, spec: &AllocationSpec, ready: &Ready) -> (AllocationState, String) {
        let trouble = if self.trouble.is_empty() { &ready.trouble } else { &self.trouble };
        match (&self.halt, self.container, self.changing()) {
            (_, _, Some(Ongoing::Stop { .. } | Ongoing::Delete | Ongoing::Restore(_))) => {
                (AllocationState::Stopping, self.trouble.clone())
            }
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
            (None, Container::Absent, _) if spec.seed_from.is_some() && !self.seeded => {
                (AllocationState::Preparing, trouble.clone())
            }
            (None, Container::Absent | Container::Exited, _) if !ready.image => {
                (AllocationState::Preparing, trouble.clone())
            }
            (None, Container::Absent | Container::Exited, _) => (AllocationState::Starting, trouble.clone()),
        }
    }
}
