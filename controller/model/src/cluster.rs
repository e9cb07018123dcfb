//! The one value that holds all cluster state, durable and live.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use roost_thermal::{FanControl, NodeHeat, ZoneHeat};
use roost_types::image_transfer::ImageTraffic;
use roost_types::node::NodeVitals;
use roost_types::rack::{HubCounters, ZoneConfig};
use roost_types::{
    AlertId, AllocationId, Arch, Desired, Event, EventId, HubOutput, Image, ImageDigest, InstanceId, MilliCelsius,
    MilliPercent, Name, NodeId, NodeStatus, NoticeId, Operation, OperationId, Placement, Problem, Timestamp,
};

use crate::actions::{Proposal, Step};
use crate::alerts::{AlertRow, NoticeRow, Telling};
use crate::config::Config;
use crate::cooling::{self, FanLive};
use crate::names::{Entry, Names};
use crate::relays::{self, RelayLive};
use crate::row::{AllocationRow, Change, FirstBootRow, InstanceRow, Kind, NodeRow, Row};
use crate::swarm::Swarm;

/// Events kept for replay: 10,000 of about 300 bytes are 3 MB.
pub const KEPT_EVENTS: usize = 10_000;
/// Finished operations kept for those who ask late.
pub const KEPT_OPERATIONS: usize = 1_000;
/// Readings kept per probe: half an hour at one a second, 24 bytes each.
pub const KEPT_READINGS: usize = 1_800;

/// What is known of a node only while the controller runs.
#[derive(Clone, Debug)]
pub struct NodeLive {
    /// Whether it answers.
    pub status: NodeStatus,
    /// When it was last heard.
    pub last_seen: Option<Timestamp>,
    /// Which start of the board.
    pub boot_id: String,
    /// Which start of the agent.
    pub agent_id: String,
    /// The newest request of that agent.
    pub last_seq: u64,
    /// Generation of the desired set that it has stored.
    pub applied_generation: u64,
    /// The last vitals.
    pub vitals: Option<NodeVitals>,
    /// What it does with images, as its last poll said.
    pub images: ImageTraffic,
    /// Its heat.
    pub heat: NodeHeat,
    /// Since when this controller waits for it, if it was never heard.
    pub since: Timestamp,
    /// Since when there has been evidence that it is critical.
    pub critical_since: Option<Timestamp>,
    /// When something was last stopped on it because of that.
    pub relieved_at: Option<Timestamp>,
}

/// One moment of a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeSample {
    /// When the controller received it.
    pub at: Timestamp,
    /// Temperature, if it could be measured.
    pub temperature: Option<MilliCelsius>,
    /// Relative humidity, if it could be measured.
    pub humidity: Option<MilliPercent>,
}

/// What is known of a hub only while the controller runs.
#[derive(Clone, Default, Debug)]
pub struct HubLive {
    /// Good frames arrive.
    pub connected: bool,
    /// What its firmware says of itself.
    pub firmware: Option<String>,
    /// Counters of the line.
    pub counters: HubCounters,
    /// When it was last heard.
    pub last_frame: Option<Timestamp>,
    /// Readings by probe number, oldest first.
    pub probes: OrdMap<u8, Vector<ProbeSample>>,
}

/// All cluster state. A clone costs a few reference counts.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(crate) config: Arc<Config>,
    pub(crate) revision: u64,
    pub(crate) images: OrdMap<ImageDigest, Arc<Image>>,
    /// What an alias stands for: one image per instruction set.
    pub(crate) aliases: OrdMap<String, OrdMap<Arch, ImageDigest>>,
    pub(crate) nodes: OrdMap<NodeId, Arc<NodeRow>>,
    pub(crate) node_names: OrdMap<Name, NodeId>,
    pub(crate) instances: OrdMap<InstanceId, Arc<InstanceRow>>,
    pub(crate) instance_names: OrdMap<(Name, Name), InstanceId>,
    pub(crate) idempotency: OrdMap<String, InstanceId>,
    pub(crate) first_boots: OrdMap<InstanceId, Arc<FirstBootRow>>,
    pub(crate) allocations: OrdMap<AllocationId, Arc<AllocationRow>>,
    pub(crate) on_node: OrdMap<NodeId, OrdSet<AllocationId>>,
    pub(crate) names: Names,
    pub(crate) of_instance: OrdMap<InstanceId, OrdSet<AllocationId>>,
    pub(crate) operations: OrdMap<OperationId, Arc<Operation>>,
    pub(crate) open_operations: OrdSet<OperationId>,
    /// Open operations by what they are done to.
    pub(crate) open_on: OrdMap<String, OrdSet<OperationId>>,
    pub(crate) alerts: OrdMap<AlertId, Arc<AlertRow>>,
    /// The newest alert of each key.
    pub(crate) alert_keys: OrdMap<String, AlertId>,
    /// Resolved alerts, in the order in which they ended.
    pub(crate) over: OrdSet<(Timestamp, AlertId)>,
    pub(crate) notices: OrdMap<NoticeId, Arc<NoticeRow>>,
    /// Messages about alerts that wait, by receiver.
    pub(crate) outbox: OrdMap<Name, OrdSet<NoticeId>>,
    /// The other messages, in the order in which they ended.
    pub(crate) ended_notices: OrdSet<(Timestamp, NoticeId)>,
    /// Messages that tell of an alert.
    pub(crate) told_by: OrdMap<AlertId, OrdSet<NoticeId>>,
    pub(crate) events: Vector<Arc<Event>>,
    pub(crate) last_event: EventId,

    pub(crate) live: OrdMap<NodeId, Arc<NodeLive>>,
    pub(crate) zones: OrdMap<Name, Arc<ZoneHeat>>,
    pub(crate) hubs: OrdMap<Name, Arc<HubLive>>,
    /// The loop that drives each zone's fans.
    pub(crate) fan_controls: OrdMap<Name, Arc<FanControl>>,
    pub(crate) fans: OrdMap<HubOutput, Arc<FanLive>>,
    pub(crate) relays: OrdMap<HubOutput, Arc<RelayLive>>,
    pub(crate) waiting: OrdMap<InstanceId, Arc<Placement>>,
    /// Instances that want a node and have none.
    pub(crate) pending: OrdSet<InstanceId>,
    /// Instances on their way to another node.
    pub(crate) moving: OrdSet<InstanceId>,
    /// Instances that have yet to begin with a snapshot of another.
    pub(crate) beginning: OrdSet<InstanceId>,
    /// Images on their way to nodes.
    pub(crate) swarm: Swarm,
    /// Grows whenever a node may have become able to take something.
    pub(crate) room: u64,
    /// `room` when the pending instances were last tried.
    pub(crate) tried: u64,
    /// Many nodes fell silent at once: nothing is moved.
    pub(crate) brake: bool,
    /// When the brake last had a reason.
    pub(crate) brake_at: Timestamp,
    /// Why hot nodes are not drained although they should be, if so.
    pub(crate) heat_brake: bool,
    /// Instances that are halted because of heat.
    pub(crate) halted: OrdSet<InstanceId>,
    /// When an instance last set out because of heat.
    pub(crate) moved_for_heat: Option<Timestamp>,
    /// Actions that wait for a person.
    pub(crate) proposals: OrdMap<Step, Arc<Proposal>>,
    /// What is gathered to be told.
    pub(crate) telling: Telling,
    /// Nodes whose power is to be cut, by the operation that ends when it is.
    pub(crate) power_orders: OrdMap<OperationId, NodeId>,
}

impl Cluster {
    /// A cluster in which nothing has happened.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let zones = config.rack.zones.iter().map(|z| (z.name.clone(), Arc::new(ZoneHeat::default()))).collect();
        let hubs = config.rack.hubs.iter().map(|h| (h.name.clone(), Arc::new(HubLive::default()))).collect();
        let (fans, relays) = (cooling::fans_of_rack(&config.rack), relays::relays_of_rack(&config.rack));
        Self {
            config: Arc::new(config),
            revision: 0,
            images: OrdMap::new(),
            aliases: OrdMap::new(),
            nodes: OrdMap::new(),
            node_names: OrdMap::new(),
            instances: OrdMap::new(),
            instance_names: OrdMap::new(),
            idempotency: OrdMap::new(),
            first_boots: OrdMap::new(),
            allocations: OrdMap::new(),
            on_node: OrdMap::new(),
            names: Names::default(),
            of_instance: OrdMap::new(),
            operations: OrdMap::new(),
            open_operations: OrdSet::new(),
            open_on: OrdMap::new(),
            alerts: OrdMap::new(),
            alert_keys: OrdMap::new(),
            over: OrdSet::new(),
            notices: OrdMap::new(),
            outbox: OrdMap::new(),
            ended_notices: OrdSet::new(),
            told_by: OrdMap::new(),
            events: Vector::new(),
            last_event: 0,
            live: OrdMap::new(),
            zones,
            hubs,
            fan_controls: OrdMap::new(),
            fans,
            relays,
            waiting: OrdMap::new(),
            pending: OrdSet::new(),
            moving: OrdSet::new(),
            beginning: OrdSet::new(),
            swarm: Swarm::default(),
            room: 1,
            tried: 0,
            brake: false,
            brake_at: Timestamp(0),
            heat_brake: false,
            halted: OrdSet::new(),
            moved_for_heat: None,
            proposals: OrdMap::new(),
            telling: Telling::default(),
            power_orders: OrdMap::new(),
        }
    }

    /// The cluster that these stored rows describe, at the time `now`.
    #[must_use]
    pub fn load(config: Config, rows: impl IntoIterator<Item = Row>, now: Timestamp) -> Self {
        let mut cluster = Self::new(config);
        for row in rows {
            cluster.apply(&Change::Put(row));
        }
        let ids: Vec<NodeId> = cluster.nodes.keys().copied().collect();
        for id in ids {
            cluster.live.insert(id, Arc::new(NodeLive::unheard(now)));
        }
        cluster
    }

    /// Makes one durable change to the state.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(row) => self.put(row),
            Change::Delete(kind, key) => self.delete(*kind, key),
        }
    }

    fn put(&mut self, row: &Row) {
        match row {
            Row::Meta(row) => self.revision = row.revision,
            Row::Image(row) => self.put_image(row),
            Row::Node(row) => {
                self.node_names.insert(row.name.clone(), row.id);
                self.nodes.insert(row.id, Arc::new(row.clone()));
            }
            Row::Instance(row) => self.put_instance(row),
            Row::FirstBoot(row) => {
                self.first_boots.insert(row.instance, Arc::new(row.clone()));
            }
            Row::Allocation(row) => {
                self.on_node.entry(row.node).or_default().insert(row.spec.id);
                self.of_instance.entry(row.spec.instance).or_default().insert(row.spec.id);
                if self.allocations.insert(row.spec.id, Arc::new(row.clone())).is_none() {
                    self.names.arrived(row.node, &row.spec);
                }
                self.name(row.spec.instance);
            }
            Row::Operation(row) => {
                if row.status.is_final() {
                    self.open_operations.remove(&row.id);
                    forget(&mut self.open_on, &row.resource, &row.id);
                } else {
                    self.open_operations.insert(row.id);
                    self.open_on.entry(row.resource.clone()).or_default().insert(row.id);
                }
                self.operations.insert(row.id, Arc::new(row.clone()));
            }
            Row::Alert(row) => {
                if let Some(at) = self.alerts.get(&row.id).and_then(|old| old.resolved_at) {
                    self.over.remove(&(at, row.id));
                }
                if let Some(at) = row.resolved_at {
                    self.over.insert((at, row.id));
                }
                // The end of an earlier one may be told after the next has begun.
                if self.alert_keys.get(&row.key).is_none_or(|newest| *newest <= row.id) {
                    self.alert_keys.insert(row.key.clone(), row.id);
                }
                self.alerts.insert(row.id, Arc::new(row.clone()));
            }
            Row::Notice(row) => self.put_notice(row),
            Row::Event(row) => {
                self.last_event = self.last_event.max(row.id);
                self.events.push_back(Arc::new(row.clone()));
                if self.events.len() > KEPT_EVENTS {
                    self.events.pop_front();
                }
            }
        }
    }

    fn put_image(&mut self, row: &Image) {
        if let Some(old) = self.images.get(&row.digest) {
            self.forget_aliases(&Arc::clone(old));
        }
        for alias in &row.aliases {
            self.aliases.entry(alias.clone()).or_default().insert(row.arch, row.digest.clone());
        }
        self.images.insert(row.digest.clone(), Arc::new(row.clone()));
    }

    fn forget_aliases(&mut self, row: &Image) {
        for alias in &row.aliases {
            let Some(stands_for) = self.aliases.get_mut(alias) else { continue };
            if stands_for.get(&row.arch) == Some(&row.digest) {
                stands_for.remove(&row.arch);
            }
            if stands_for.is_empty() {
                self.aliases.remove(alias);
            }
        }
    }

    fn put_instance(&mut self, row: &InstanceRow) {
        if let Some(old) = self.instances.get(&row.id) {
            self.instance_names.remove(&(old.project.clone(), old.name.clone()));
        }
        self.instance_names.insert((row.project.clone(), row.name.clone()), row.id);
        if let Some((key, _)) = &row.idempotency {
            self.idempotency.insert(key.clone(), row.id);
        }
        if (row.allocation.is_none() || row.stranded) && row.desired == Desired::Running {
            self.pending.insert(row.id);
        } else {
            self.pending.remove(&row.id);
            self.waiting.remove(&row.id);
        }
        if row.moving.is_some() {
            self.moving.insert(row.id);
        } else {
            self.moving.remove(&row.id);
        }
        if row.halted.is_some() && row.desired == Desired::Running {
            self.halted.insert(row.id);
        } else {
            self.halted.remove(&row.id);
        }
        if row.source.is_some() {
            self.beginning.insert(row.id);
        } else {
            self.beginning.remove(&row.id);
        }
        self.instances.insert(row.id, Arc::new(row.clone()));
        self.name(row.id);
    }

    /// Notes by what name and address others know the instance now.
    fn name(&mut self, id: InstanceId) {
        let is_named = |row: &&Arc<InstanceRow>| row.desired != Desired::Deleted && row.network.is_bridge();
        let entry = self.instances.get(&id).filter(is_named).and_then(|row| {
            let present = self.allocations.get(&row.allocation?)?;
            let left = row.moving.as_ref().filter(|_| present.held).and_then(|m| self.allocations.get(&m.from));
            let address = left.unwrap_or(present).spec.address;
            Some(Entry { project: row.project.clone(), name: row.name.clone(), address })
        });
        self.names.set(id, entry);
    }

    fn delete(&mut self, kind: Kind, key: &str) {
        match kind {
            Kind::Meta => self.revision = 0,
            Kind::Image => {
                if let Some(row) = key.parse().ok().and_then(|digest: ImageDigest| self.images.remove(&digest)) {
                    self.forget_aliases(&row);
                }
            }
            Kind::Node => {
                if let Some(row) = key.parse().ok().and_then(|id: NodeId| self.nodes.remove(&id)) {
                    self.node_names.remove(&row.name);
                    self.live.remove(&row.id);
                }
            }
            Kind::Instance => {
                if let Some(row) = key.parse().ok().and_then(|id: InstanceId| self.instances.remove(&id)) {
                    self.instance_names.remove(&(row.project.clone(), row.name.clone()));
                    self.pending.remove(&row.id);
                    self.moving.remove(&row.id);
                    self.halted.remove(&row.id);
                    self.beginning.remove(&row.id);
                    self.waiting.remove(&row.id);
                    self.names.set(row.id, None);
                    if let Some((key, _)) = &row.idempotency {
                        self.idempotency.remove(key);
                    }
                }
            }
            Kind::FirstBoot => {
                if let Ok(id) = key.parse::<InstanceId>() {
                    self.first_boots.remove(&id);
                }
            }
            Kind::Allocation => {
                if let Some(row) = key.parse().ok().and_then(|id: AllocationId| self.allocations.remove(&id)) {
                    forget(&mut self.on_node, &row.node, &row.spec.id);
                    forget(&mut self.of_instance, &row.spec.instance, &row.spec.id);
                    self.names.left(row.node, &row.spec);
                    self.name(row.spec.instance);
                }
            }
            Kind::Operation => {
                if let Some(row) = key.parse().ok().and_then(|id: OperationId| self.operations.remove(&id)) {
                    self.open_operations.remove(&row.id);
                    forget(&mut self.open_on, &row.resource, &row.id);
                }
            }
            Kind::Alert => {
                if let Some(row) = key.parse().ok().and_then(|id: AlertId| self.alerts.remove(&id)) {
                    if let Some(at) = row.resolved_at {
                        self.over.remove(&(at, row.id));
                    }
                    if self.alert_keys.get(&row.key) == Some(&row.id) {
                        self.alert_keys.remove(&row.key);
                    }
                }
            }
            Kind::Notice => {
                if let Ok(id) = key.parse() {
                    self.delete_notice(id);
                }
            }
            Kind::Event => self.events.retain(|event| event.id.to_string() != key),
        }
    }

    /// What is fixed while the controller runs.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// An instance by id, by name in the default project, or by `NAME.PROJECT`.
    ///
    /// # Errors
    /// `not_found`.
    pub fn find_instance(&self, reference: &str) -> Result<&Arc<InstanceRow>, Problem> {
        let by_name = || {
            let (name, project) = match reference.split_once('.') {
                Some((name, project)) => (name, project.parse().ok()?),
                None => (reference, crate::validate::default_project()),
            };
            self.instance_names.get(&(project, name.parse().ok()?)).copied()
        };
        reference
            .parse()
            .ok()
            .or_else(by_name)
            .and_then(|id: InstanceId| self.instances.get(&id))
            .ok_or_else(|| not_found("instance", reference))
    }

    /// A node by name or id.
    ///
    /// # Errors
    /// `not_found`.
    pub fn find_node(&self, reference: &str) -> Result<&Arc<NodeRow>, Problem> {
        let by_name = || self.node_names.get(&reference.parse::<Name>().ok()?).copied();
        reference
            .parse()
            .ok()
            .or_else(by_name)
            .and_then(|id: NodeId| self.nodes.get(&id))
            .ok_or_else(|| not_found("node", reference))
    }

    /// An image by alias, digest, or the first 8 or more digits of a digest.
    ///
    /// # Errors
    /// `unknown_image`; `conflict` for an alias that stands for several images.
    pub fn find_image(&self, reference: &str) -> Result<&Arc<Image>, Problem> {
        match self.find_images(reference)?.as_slice() {
            [only] => Ok(only),
            several => {
                let each: Vec<String> = several.iter().map(|row| format!("{} ({})", row.digest, row.arch)).collect();
                let detail = format!("'{reference}' stands for several images, name one: {}", each.join(", "));
                Err(Problem::new(roost_types::Code::Conflict, detail).field("image"))
            }
        }
    }

    /// The images that a reference stands for: one, or one per instruction set for an alias.
    ///
    /// # Errors
    /// `unknown_image`.
    pub fn find_images(&self, reference: &str) -> Result<Vec<&Arc<Image>>, Problem> {
        let by_digest = || {
            let hex = reference.strip_prefix("sha256:").unwrap_or(reference);
            let wanted = |digest: &&ImageDigest| hex.len() >= 8 && digest.hex().starts_with(hex);
            let mut found = self.images.keys().filter(wanted);
            let digest = found.next()?;
            if found.next().is_some() { None } else { self.images.get(digest) }
        };
        let by_alias = |alias: &str| -> Vec<&Arc<Image>> {
            let digests = self.aliases.get(alias).into_iter().flat_map(OrdMap::values);
            digests.filter_map(|digest| self.images.get(digest)).collect()
        };
        let found = match by_alias(reference) {
            none if none.is_empty() => by_digest().into_iter().collect(),
            some => some,
        };
        if found.is_empty() {
            let known: Vec<&str> = self.aliases.keys().map(String::as_str).collect();
            let detail = format!("there is no image '{reference}'; there are: {}", list_or_none(&known));
            return Err(Problem::new(roost_types::Code::UnknownImage, detail).field("image"));
        }
        Ok(found)
    }

    /// The node's allocations.
    pub fn allocations_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<AllocationRow>> {
        self.on_node.get(&node).into_iter().flatten().filter_map(|id| self.allocations.get(id))
    }

    /// The instance's allocations, older first.
    pub fn allocations_of(&self, instance: InstanceId) -> impl Iterator<Item = &Arc<AllocationRow>> {
        self.of_instance.get(&instance).into_iter().flatten().filter_map(|id| self.allocations.get(id))
    }

    /// A node's name for a sentence; its id when it is not known any more.
    pub(crate) fn node_name(&self, id: NodeId) -> String {
        self.nodes.get(&id).map_or_else(|| id.to_string(), |node| node.name.to_string())
    }

    /// The zone that a slot belongs to.
    #[must_use]
    pub fn zone_of(&self, node: &NodeRow) -> Option<&ZoneConfig> {
        let slot = node.slot.as_ref()?;
        self.config.rack.zones.iter().find(|zone| zone.slots.contains(slot))
    }
}

impl NodeLive {
    /// A node that this controller has not heard yet.
    #[must_use]
    pub fn unheard(now: Timestamp) -> Self {
        Self {
            status: NodeStatus::Joining,
            last_seen: None,
            boot_id: String::new(),
            agent_id: String::new(),
            last_seq: 0,
            applied_generation: 0,
            vitals: None,
            images: ImageTraffic::default(),
            heat: NodeHeat::default(),
            since: now,
            critical_since: None,
            relieved_at: None,
        }
    }
}

/// `not_found` for a kind of thing.
pub fn not_found(what: &str, reference: &str) -> Problem {
    Problem::new(roost_types::Code::NotFound, format!("there is no {what} '{reference}'"))
}

/// The words joined by commas, or `none`.
pub fn list_or_none(words: &[&str]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// Takes a value out of an index, and the key with its last value.
pub fn forget<K: Ord + Clone, V: Ord + Clone>(index: &mut OrdMap<K, OrdSet<V>>, key: &K, value: &V) {
    let Some(set) = index.get_mut(key) else { return };
    set.remove(value);
    if set.is_empty() {
        index.remove(key);
    }
}
