//! All allocations of a node together, and what they share: images, the network, the firewall.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roost_types::sync::{DesiredSet, NameTable, NodeNetwork};
use roost_types::{AllocationId, AllocationReport, AllocationSpec, ImageDigest, Timestamp};

use crate::backoff::Backoff;
use crate::entry::{Done, Entry, Ready};
use crate::work::{Action, FirewallPlan, Observation, Outcome, Seen, Work};

/// What to do now, and when to ask again if nothing happens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Work to do, independent of each other; endings come first.
    pub actions: Vec<Action>,
    /// When something that failed is to be tried again.
    pub wake_at: Option<Timestamp>,
}

/// What the controller does not know yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Allocations, by id.
    pub reports: Vec<AllocationReport>,
    /// Allocations of which nothing is left, by id.
    pub gone: Vec<AllocationId>,
}

/// An image some allocation wants or the store holds.
#[derive(Clone, Debug, Default)]
struct Image {
    held: bool,
    fetching: bool,
    backoff: Backoff,
    trouble: String,
}

/// Something of which the whole node has one: wanted, in force, being changed.
#[derive(Clone, Debug)]
struct Shared<T> {
    in_force: Option<T>,
    changing_to: Option<T>,
    backoff: Backoff,
    trouble: String,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { in_force: None, changing_to: None, backoff: Backoff::default(), trouble: String::new() }
    }
}

impl<T: PartialEq + Clone> Shared<T> {
    fn begin(&mut self, wanted: &T, now: Timestamp) -> bool {
        let go = self.changing_to.is_none() && self.in_force.as_ref() != Some(wanted) && self.backoff.is_due(now);
        if go {
            self.changing_to = Some(wanted.clone());
        }
        go
    }

    fn complete(&mut self, failure: Option<String>, now: Timestamp) {
        let target = self.changing_to.take();
        match failure {
            None => {
                self.in_force = target;
                self.backoff.reset();
                self.trouble.clear();
            }
            Some(reason) => {
                self.backoff.fail(now);
                self.trouble = reason;
            }
        }
    }
}

/// Whose work an op is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Target {
    Network,
    Firewall,
    Image(ImageDigest),
    Allocation(AllocationId),
}

/// The node's allocations.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    generation: Option<u64>,
    network: Option<NodeNetwork>,
    names: Arc<NameTable>,
    entries: BTreeMap<AllocationId, Entry>,
    images: BTreeMap<ImageDigest, Image>,
    network_state: Shared<NodeNetwork>,
    firewall: Shared<FirewallPlan>,
    planned_firewall: Option<Arc<FirewallPlan>>,
    ops: BTreeMap<u64, Target>,
    next_op: u64,
    gone: BTreeSet<AllocationId>,
    new_images: bool,
}

impl Machine {
    /// A node of which nothing is known: it deletes nothing before it has a desired set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Generation of the desired set it works towards.
    #[must_use]
    pub const fn generation(&self) -> Option<u64> {
        self.generation
    }

    /// The node's network, once a desired set named it.
    #[must_use]
    pub const fn network(&self) -> Option<&NodeNetwork> {
        self.network.as_ref()
    }

    /// Allocations whose container runs.
    pub fn running(&self) -> impl Iterator<Item = AllocationId> + '_ {
        self.entries.iter().filter(|(_, entry)| entry.is_running()).map(|(id, _)| *id)
    }

    /// No work is under way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.ops.is_empty()
    }

    /// Ops handed out so far: equal before and after a look at the world means that nothing was begun meanwhile.
    #[must_use]
    pub const fn ops_begun(&self) -> u64 {
        self.next_op
    }

    /// Takes a desired set; false when it is older than the one in force, and ignored.
    pub fn set_desired(&mut self, generation: u64, desired: DesiredSet, now: Timestamp) -> bool {
        if self.generation.is_some_and(|current| generation < current) {
            return false;
        }
        self.generation = Some(generation);
        self.network = Some(desired.network);
        let named: BTreeSet<AllocationId> = desired.allocations.iter().map(|spec| spec.id).collect();
        for spec in desired.allocations {
            self.entry(spec.id).wish(spec, now);
        }
        self.entries.retain(|id, entry| named.contains(id) || !entry.is_gone());
        for (_, entry) in self.entries.iter_mut().filter(|(id, _)| !named.contains(id)) {
            entry.drop_wish();
        }
        true
    }

    /// Takes what was seen.
    pub fn observe(&mut self, observation: Observation, now: Timestamp) {
        match observation {
            Observation::Completed { op, outcome } => self.complete(op, outcome, now),
            Observation::Exited { id, exit } => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.exited(exit, now);
                }
            }
            Observation::Counted { id, counters } => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.counted(counters, now);
                }
            }
            Observation::Listed(containers) => self.listed(&containers, now),
            Observation::ImagesHeld(held) => {
                for (digest, image) in &mut self.images {
                    image.held = held.contains(digest);
                }
                for digest in held {
                    self.images.entry(digest).or_default().held = true;
                }
            }
        }
    }

    fn entry(&mut self, id: AllocationId) -> &mut Entry {
        self.entries.entry(id).or_insert_with(|| Entry::new(id))
    }

    fn listed(&mut self, containers: &[Seen], now: Timestamp) {
        let ids: BTreeSet<AllocationId> = containers.iter().map(|seen| seen.id).collect();
        for (_, entry) in self.entries.iter_mut().filter(|(id, _)| !ids.contains(id)) {
            entry.unseen();
        }
        for seen in containers {
            self.entry(seen.id).seen(seen, now);
        }
    }

    fn complete(&mut self, op: u64, outcome: Outcome, now: Timestamp) {
        let Some(target) = self.ops.remove(&op) else { return };
        let (failure, possible) = match &outcome {
            Outcome::Done | Outcome::Started(_) | Outcome::Kept(_) | Outcome::Filled(_) => (None, true),
            Outcome::Failed(reason) => (Some(reason.clone()), true),
            Outcome::Impossible(reason) => (Some(reason.clone()), false),
        };
        match target {
            Target::Network => self.network_state.complete(failure, now),
            Target::Firewall => self.firewall.complete(failure, now),
            Target::Image(digest) => self.image_completed(&digest, failure, now),
            Target::Allocation(id) => {
                let Some(entry) = self.entries.get_mut(&id) else { return };
                match outcome {
                    Outcome::Failed(reason) | Outcome::Impossible(reason) => entry.fail(reason, possible, now),
                    Outcome::Done => entry.finish(Done::Plainly, now),
                    Outcome::Started(at) => entry.finish(Done::Started(at), now),
                    Outcome::Kept(bytes) => entry.finish(Done::Kept(bytes), now),
                    Outcome::Filled(snapshots) => entry.finish(Done::Filled(snapshots), now),
                }
                self.note_gone(id);
            }
        }
    }

    fn note_gone(&mut self, id: AllocationId) {
        let Some(entry) = self.entries.get(&id).filter(|entry| entry.is_gone()) else { return };
        let forget = entry.is_dropped() || entry.spec().is_none();
        self.gone.insert(id);
        if forget {
            self.entries.remove(&id);
        }
    }

    fn image_completed(&mut self, digest: &ImageDigest, failure: Option<String>, now: Timestamp) {
        let image = self.images.entry(digest.clone()).or_default();
        image.fetching = false;
        match failure {
            None => {
                image.held = true;
                self.new_images = true;
                image.backoff.reset();
                image.trouble.clear();
            }
            Some(reason) => {
                image.backoff.fail(now);
                image.trouble = reason;
            }
        }
    }

    /// What to do at `now`. Work that it hands out is under way until it is answered.
    pub fn plan(&mut self, now: Timestamp) -> Plan {
        let Some(network) = self.network.clone() else { return Plan::default() };
        let mut actions = Vec::new();
        if self.network_state.begin(&network, now) {
            actions.push(self.begin(Target::Network, Work::EnsureNetwork(network.clone())));
        }
        self.plan_allocations(now, &mut actions);
        self.plan_images(now, &mut actions);
        let wanted = self.wanted_firewall(network);
        if self.firewall.begin(&wanted, now) {
            actions.push(self.begin(Target::Firewall, Work::ApplyFirewall(wanted.clone())));
        }
        if self.planned_firewall.as_deref() != Some(&wanted) {
            self.planned_firewall = Some(Arc::new(wanted));
        }
        actions.sort_by_key(|action| rank(&action.work));
        Plan { actions, wake_at: self.wake_at(now) }
    }

    fn begin(&mut self, target: Target, work: Work) -> Action {
        self.next_op += 1;
        self.ops.insert(self.next_op, target);
        Action { op: self.next_op, work }
    }

    fn plan_allocations(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let due: Vec<(AllocationId, Work)> = self
            .entries
            .iter()
            .filter_map(|(id, entry)| Some((*id, entry.next_work(&self.ready(entry), now)?)))
            .collect();
        for (id, work) in due {
            self.entry(id).begin(&work);
            actions.push(self.begin(Target::Allocation(id), work));
        }
    }

    fn plan_images(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let needed: BTreeMap<ImageDigest, AllocationSpec> = self
            .entries
            .values()
            .filter(|entry| entry.needs_image())
            .filter_map(|entry| entry.spec().map(|spec| (spec.image.clone(), spec.clone())))
            .collect();
        self.images.retain(|digest, image| image.held || image.fetching || needed.contains_key(digest));
        for (digest, spec) in needed {
            let image = self.images.entry(digest.clone()).or_default();
            if !image.held && !image.fetching && image.backoff.is_due(now) {
                image.fetching = true;
                actions.push(self.begin(Target::Image(digest), Work::FetchImage(Box::new(spec))));
            }
        }
    }

    fn wanted_firewall(&self, network: NodeNetwork) -> FirewallPlan {
        let instances = self.entries.values().filter_map(Entry::firewall).collect();
        FirewallPlan { network, instances, names: self.names.clone() }
    }

    /// What the firewall should be, as of the last plan; none before the first desired set.
    #[must_use]
    pub const fn firewall(&self) -> Option<&Arc<FirewallPlan>> {
        self.planned_firewall.as_ref()
    }

    /// The network that was made; none while it is being changed.
    #[must_use]
    pub fn network_in_force(&self) -> Option<&NodeNetwork> {
        self.network_state.in_force.as_ref().filter(|_| self.network_state.changing_to.is_none())
    }

    /// Takes a table of names.
    pub fn set_names(&mut self, names: Arc<NameTable>) {
        self.names = names;
    }

    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let entries = self.entries.values().filter_map(|entry| entry.waits_until(now));
        let images = self.images.values().filter_map(|image| image.backoff.waits_until(now));
        let shared = [self.network_state.backoff.waits_until(now), self.firewall.backoff.waits_until(now)];
        entries.chain(images).chain(shared.into_iter().flatten()).min()
    }

    fn ready(&self, entry: &Entry) -> Ready {
        let image = entry.spec().and_then(|spec| self.images.get(&spec.image));
        let same_bridge = |now: &NodeNetwork, wanted: &NodeNetwork| {
            now.gateway == wanted.gateway && now.prefix_len == wanted.prefix_len
        };
        let network = match (&self.network_state.in_force, &self.network) {
            (Some(now), Some(wanted)) => same_bridge(now, wanted),
            (None, _) | (_, None) => false,
        };
        let ports = entry.firewall().is_none_or(|mine| self.is_in_force(&mine));
        let troubles = [
            image.map_or("", |image| image.trouble.as_str()),
            if network { "" } else { self.network_state.trouble.as_str() },
            if ports { "" } else { self.firewall.trouble.as_str() },
        ];
        let trouble = troubles.into_iter().find(|t| !t.is_empty()).unwrap_or_default().to_owned();
        Ready { image: image.is_some_and(|image| image.held), network, ports, trouble }
    }

    fn is_in_force(&self, mine: &crate::work::FirewallInstance) -> bool {
        self.firewall.in_force.as_ref().is_some_and(|plan| plan.instances.contains(mine))
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        let readiness: Vec<(AllocationId, Ready)> =
            self.entries.iter().map(|(id, entry)| (*id, self.ready(entry))).collect();
        let reports = readiness
            .into_iter()
            .filter_map(|(id, ready)| self.entries.get_mut(&id).and_then(|entry| entry.take_change(&ready)))
            .collect();
        Changes { reports, gone: std::mem::take(&mut self.gone).into_iter().collect() }
    }

    /// Images that an allocation needs, or that are on their way: all others may go when room is short.
    #[must_use]
    pub fn images_in_use(&self) -> BTreeSet<ImageDigest> {
        let needed = self.entries.values().filter_map(|entry| entry.spec().map(|spec| spec.image.clone()));
        let coming = self.images.iter().filter(|(_, image)| image.fetching).map(|(digest, _)| digest.clone());
        needed.chain(coming).collect()
    }

    /// Whether an image arrived since the last call.
    pub const fn take_new_images(&mut self) -> bool {
        std::mem::replace(&mut self.new_images, false)
    }

    /// Everything there is to say, changed or not.
    #[must_use]
    pub fn everything(&self) -> Changes {
        Changes {
            reports: self.entries.values().filter_map(|entry| entry.report(&self.ready(entry))).collect(),
            gone: self.entries.iter().filter(|(_, entry)| entry.is_gone()).map(|(id, _)| *id).collect(),
        }
    }
}

/// Endings first: what they free, the others need.
const fn rank(work: &Work) -> u8 {
    match work {
        Work::Stop { .. } | Work::Delete { .. } => 0,
        Work::Snapshot { .. } | Work::DropSnapshot { .. } | Work::Restore { .. } | Work::EnsureNetwork(_) => 1,
        // A container's first packet should find its port open.
        Work::ApplyFirewall(_) => 2,
        Work::Start(_) | Work::Limit { .. } => 3,
        Work::FetchImage(_) | Work::FetchLayer(_) => 4,
    }
}
