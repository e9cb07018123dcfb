//! The agent itself: one loop that owns the state machine and everything that changes it.
//!
//! ```text
//!   sync lanes ──desired set, streams──▶ ┌───────────┐ ──work──▶ executor ──▶ runtime, images, firewall
//!   executor ────how it went───────────▶ │ this loop │
//!   runtime ─────exits─────────────────▶ └───────────┘ ──news──▶ outbox ──▶ report lane
//! ```
//!
//! The loop never waits for work. Containers outlive it: it adopts what it finds and leaves what runs.

use std::sync::Arc;
use std::time::Duration;

use roost_allocation::{FirewallPlan, Machine, Observation};
use roost_types::NodeFacts;
use roost_types::node::Feature;
use roost_types::sync::{DesiredSet, NameTable, NodeNetwork};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, interval_at};

use crate::cgroup::Cgroup;
use crate::clock;
use crate::config::Config;
use crate::errors::chain;
use crate::executor::Executor;
use crate::facts;
use crate::firewall::Firewall;
use crate::images::{self, ImageError, Images};
use crate::names::{self, Kept};
use crate::outbox::Outbox;
use crate::repair::Repairer;
use crate::runtime::{Runtime, RuntimeError, RuntimeEvent};
use crate::store::{Store, StoreError, Stored};
use crate::streams::{self, LayerDir, Streams};
use crate::sync::{Link, Told};
use crate::vitals::Sampler;

/// How often containers and facts are looked at although nothing happened.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often the counters of running containers are read.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Messages from the controller that may wait for the loop.
const TOLD_QUEUE: usize = 16;

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its images.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// Its containers.
    #[error("list the containers of this node")]
    Runtime(#[from] RuntimeError),
    /// The kernel's randomness.
    #[error("read random bytes")]
    Random(#[source] std::io::Error),
}

/// What differs between a real node and a test.
pub struct Parts<R> {
    /// What runs containers.
    pub runtime: Arc<R>,
    /// What the runtime found the kernel to be able to do.
    pub features: Vec<Feature>,
    /// Where an allocation's writable layer is.
    pub layer_dir: LayerDir,
}

/// The agent of one node.
struct Agent<R> {
    config: Config,
    cgroup: Cgroup,
    features: Vec<Feature>,
    machine: Machine,
    executor: Arc<Executor<R>>,
    streams: Arc<Streams<R>>,
    store: Store,
    stored_generation: Option<u64>,
    outbox: Arc<Outbox>,
    link: Arc<Link>,
    said: Option<NodeFacts>,
    names: Kept,
    /// The firewall's plan, for the answerer of names.
    plans: watch::Sender<Option<Arc<FirewallPlan>>>,
    /// The network that was made.
    network: watch::Sender<Option<NodeNetwork>>,
}

/// Runs the agent until its task is dropped.
pub async fn run<R: Runtime>(config: Config, parts: Parts<R>) -> Result<(), AgentError> {
    let (observations_in, mut observations) = mpsc::unbounded_channel();
    let (told_in, mut told) = mpsc::channel(TOLD_QUEUE);
    let mut agent = Agent::start(config, parts, observations_in.clone(), told_in).await?;
    let runtime = agent.executor.runtime.clone();
    tokio::spawn(forward_exits(runtime, observations_in));
    tokio::spawn(agent.repairer().run());
    tokio::spawn(names::serve(agent.plans.subscribe(), agent.config.resolv_conf.clone()));
    tokio::spawn(agent.link.clone().report_lane());
    tokio::spawn(agent.link.clone().poll_lane());
    if let Some(place) = agent.config.image_server {
        tokio::spawn(images::server::serve(agent.executor.images.clone(), place));
    }
    agent.say_everything();
    let mut look = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
    let mut count = interval_at(Instant::now() + COUNT_EVERY, COUNT_EVERY);
    loop {
        let wake = agent.step();
        tokio::select! {
            Some(news) = told.recv() => agent.hear(news),
            Some(observation) = observations.recv() => agent.machine.observe(observation, clock::now()),
            _ = look.tick() => agent.look().await,
            _ = count.tick() => agent.count(),
            () = tokio::time::sleep(wake) => {}
        }
        while let Ok(observation) = observations.try_recv() {
            agent.machine.observe(observation, clock::now());
        }
    }
}

impl<R: Runtime> Agent<R> {
    async fn start(
        config: Config,
        parts: Parts<R>,
        observations: mpsc::UnboundedSender<Observation>,
        told: mpsc::Sender<Told>,
    ) -> Result<Self, AgentError> {
        let store = Store::open(&config.state)?;
        let images = Images::open(&config.state, config.address)?;
        let stored = store.load()?;
        let cgroup = Cgroup::new(config.cgroup_parent.clone());
        let sampler = Sampler::new(config.thermal_root.clone(), cgroup.clone(), facts::cpu_millis(&config));
        let outbox = Arc::new(Outbox::default());
        let ids = (config.boot_id.clone(), crate::random::token().map_err(AgentError::Random)?);
        let stored_generation = stored.as_ref().map(|s| s.generation);
        let kept = Kept::new(&config.run_dir);
        let names = Arc::new(kept.load().unwrap_or_default());
        let controller = config.controller.clone();
        let known = (stored_generation.unwrap_or(0), names.generation);
        let link = Link::new(controller.clone(), ids, known, (outbox.clone(), images.clone()), sampler, told);
        let firewall = Arc::new(Firewall::new(controller.host(), controller.port(), config.image_server));
        let Parts { runtime, features, layer_dir } = parts;
        let streams =
            Streams { runtime: runtime.clone(), controller: controller.clone(), layer_dir: layer_dir.clone() };
        let held = images.held()?;
        let executor = Executor::new(runtime, (images, firewall), controller, layer_dir, observations);
        let seen = executor.look().await?;
        executor.sweep(&seen);
        let mut machine = adopt(stored, held, seen);
        machine.set_names(names);
        Ok(Self {
            config,
            cgroup,
            features,
            machine,
            executor: Arc::new(executor),
            streams: Arc::new(streams),
            store,
            stored_generation,
            outbox,
            link: Arc::new(link),
            said: None,
            names: kept,
            plans: watch::Sender::new(None),
            network: watch::Sender::new(None),
        })
    }

    /// Plans, begins the work, and passes on the news; returns how long nothing needs to be done.
    fn step(&mut self) -> Duration {
        let now = clock::now();
        let plan = self.machine.plan(now);
        self.executor.images.set_in_use(self.machine.images_in_use());
        if let Some(network) = self.machine.network() {
            for action in plan.actions {
                self.executor.spawn(action, network);
            }
        }
        self.outbox.add(self.machine.take_changes());
        self.publish();
        self.say_new_images();
        plan.wake_at.map_or(LOOK_EVERY, |at| at.since(now)).min(LOOK_EVERY)
    }

    /// Shows what others of this agent follow.
    fn publish(&self) {
        let plan = self.machine.firewall();
        self.plans.send_if_modified(|shown| {
            let is_new = shown.as_ref() != plan;
            if is_new {
                *shown = plan.cloned();
            }
            is_new
        });
        let network = self.machine.network_in_force();
        self.network.send_if_modified(|shown| {
            let is_new = shown.as_ref() != network;
            if is_new {
                *shown = network.cloned();
            }
            is_new
        });
    }

    fn repairer(&self) -> Repairer<R> {
        let Executor { runtime, firewall, .. } = &*self.executor;
        Repairer {
            runtime: runtime.clone(),
            firewall: firewall.clone(),
            network: self.network.subscribe(),
            outbox: self.outbox.clone(),
        }
    }

    fn take_names(&mut self, names: NameTable) {
        if let Err(error) = self.names.save(&names) {
            tracing::warn!(%error, "the table of names could not be kept for the next agent");
        }
        self.machine.set_names(Arc::new(names));
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Names(names) => self.take_names(names),
            Told::Desired { generation, desired, stored } => self.take_desired(generation, desired, stored),
            Told::WantFull => self.say_everything(),
            Told::Stream(request) => {
                tokio::spawn(streams::serve(self.streams.clone(), request));
            }
        }
    }

    /// Acts on the set at once; writes it down meanwhile, if its generation is new.
    fn take_desired(&mut self, generation: u64, desired: DesiredSet, stored: oneshot::Sender<()>) {
        if !self.machine.set_desired(generation, desired.clone(), clock::now()) {
            tracing::info!(generation, "ignored an older desired set");
            return;
        }
        if self.stored_generation == Some(generation) {
            return;
        }
        self.stored_generation = Some(generation);
        let (store, link) = (self.store.clone(), self.link.clone());
        tokio::spawn(async move {
            let saved = spawn_blocking(move || store.save(&Stored { generation, desired })).await;
            match saved {
                Ok(Ok(())) => link.applied(generation),
                Ok(Err(error)) => tracing::error!(error = %chain(&error), "the desired set could not be stored"),
                Err(error) => tracing::error!(%error, "the desired set could not be stored"),
            }
            // The lane that waits may have ended.
            let _ = stored.send(());
        });
    }

    fn facts(&self) -> Option<NodeFacts> {
        match self.executor.images.held() {
            Ok(images) => Some(facts::gather(&self.config, &self.cgroup, &self.features, images)),
            Err(error) => {
                tracing::error!(error = %chain(&error), "the images of this node cannot be listed");
                None
            }
        }
    }

    fn say_everything(&mut self) {
        if let Some(facts) = self.facts() {
            self.said = Some(facts.clone());
            self.outbox.add_everything(facts, self.machine.everything());
        }
    }

    fn say_facts_if_new(&mut self) {
        let facts = self.facts();
        if facts.is_some() && facts != self.said {
            self.said.clone_from(&facts);
            facts.into_iter().for_each(|facts| self.outbox.add_facts(facts));
        }
    }

    fn say_new_images(&mut self) {
        if self.machine.take_new_images() {
            self.say_facts_if_new();
        }
    }

    /// Reads what running containers suffer.
    fn count(&mut self) {
        let running: Vec<_> = self.machine.running().collect();
        for id in running {
            if let Some(counters) = self.executor.runtime.counters(id) {
                self.machine.observe(Observation::Counted { id, counters }, clock::now());
            }
        }
    }

    /// Keeps a part of the disk free, at the cost of images that nobody needs.
    async fn keep_room(&mut self) {
        match self.executor.images.make_room(0).await {
            Ok(removed) if removed.is_empty() => {}
            Ok(_) => match self.executor.images.held() {
                Ok(held) => self.machine.observe(Observation::ImagesHeld(held), clock::now()),
                Err(error) => tracing::error!(error = %chain(&error), "the images of this node cannot be listed"),
            },
            Err(error) => tracing::warn!(error = %chain(&error), "no room could be made on the disk"),
        }
    }

    /// Compares what there is with what is believed, unless something is under way.
    async fn look(&mut self) {
        self.keep_room().await;
        self.say_facts_if_new();
        if !self.machine.is_quiet() {
            return;
        }
        match self.executor.look().await {
            Ok(seen) => self.machine.observe(Observation::Listed(seen), clock::now()),
            Err(error) => tracing::warn!(error = %chain(&error), "the containers of this node cannot be listed"),
        }
    }
}

/// A machine that knows what an earlier agent left.
fn adopt(stored: Option<Stored>, held: Vec<roost_types::ImageDigest>, seen: Vec<roost_allocation::Seen>) -> Machine {
    let (mut machine, now) = (Machine::new(), clock::now());
    if let Some(Stored { generation, desired }) = stored {
        machine.set_desired(generation, desired, now);
    }
    tracing::info!(
        containers = seen.len(),
        images = held.len(),
        generation = machine.generation(),
        "found on this node"
    );
    machine.observe(Observation::ImagesHeld(held), now);
    machine.observe(Observation::Listed(seen), now);
    machine
}

async fn forward_exits<R: Runtime>(runtime: Arc<R>, observations: mpsc::UnboundedSender<Observation>) {
    loop {
        let RuntimeEvent::Exited { id, exit } = runtime.next_event().await;
        tracing::info!(allocation.id = %id, code = exit.code, oom_killed = exit.oom_killed, "a container ended");
        if observations.send(Observation::Exited { id, exit }).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
