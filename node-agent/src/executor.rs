//! Does planned work, each piece in a task of its own, and tells how it went. Holds no policy.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use roost_allocation::{Action, Observation, Outcome, Seen, SeenState, Work};
use roost_types::sync::NodeNetwork;
use roost_types::{AllocationId, AllocationSpec, MemoryBytes, SnapshotId};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;

use crate::controller::Controller;
use crate::errors::chain;
use crate::firewall::Firewall;
use crate::first_boot;
use crate::images::{Images, Wanted};
use crate::layers::{self, snapshots};
use crate::runtime::{ContainerState, ContainerStatus, FIRST_BOOT_FILE, Runtime, RuntimeError};
use crate::streams::LayerDir;

/// Containers started at the same time.
const STARTS: usize = 4;
/// Images and layers fetched at the same time.
const FETCHES: usize = 2;
/// How long the controller may be silent while a layer is fetched.
const SILENCE: Duration = Duration::from_secs(30);

/// What the work is done with.
pub struct Executor<R> {
    /// What runs containers.
    pub runtime: Arc<R>,
    /// The node's images.
    pub images: Images,
    /// The node's firewall.
    pub firewall: Arc<Firewall>,
    /// Where images and layers come from.
    pub controller: Controller,
    /// Where layers are.
    pub layer_dir: LayerDir,
    /// Where what was seen goes.
    pub observations: mpsc::UnboundedSender<Observation>,
    starts: Semaphore,
    fetches: Semaphore,
}

/// Why a layer could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchLayerError {
    #[error("ask for the layer of {0}")]
    Ask(roost_types::AllocationId, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the controller has no layer of {0} to give (status {1})")]
    Status(roost_types::AllocationId, StatusCode),
    #[error("prepare {0}")]
    Prepare(String, #[source] io::Error),
    #[error(transparent)]
    Layer(#[from] layers::LayerError),
}

/// Why a snapshot could not be made.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("pause the instance")]
    Pause(#[from] RuntimeError),
    #[error(transparent)]
    Layer(#[from] layers::LayerError),
    #[error("copy its files")]
    Copy(#[from] tokio::task::JoinError),
}

impl<R: Runtime> Executor<R> {
    /// An executor over these parts.
    pub fn new(
        runtime: Arc<R>,
        (images, firewall): (Images, Arc<Firewall>),
        controller: Controller,
        layer_dir: LayerDir,
        observations: mpsc::UnboundedSender<Observation>,
    ) -> Self {
        let (starts, fetches) = (Semaphore::new(STARTS), Semaphore::new(FETCHES));
        Self { runtime, images, firewall, controller, layer_dir, observations, starts, fetches }
    }

    /// Begins `action`; its outcome arrives as an observation. `network` is the node's, once known.
    pub fn spawn(self: &Arc<Self>, action: Action, network: &NodeNetwork) {
        let (executor, network) = (self.clone(), network.clone());
        tokio::spawn(async move {
            let outcome = executor.perform(action.work, &network).await;
            if let Outcome::Failed(reason) | Outcome::Impossible(reason) = &outcome {
                tracing::warn!(reason, "a piece of work failed");
            }
            // The receiver is gone only when the agent is ending.
            let _ = executor.observations.send(Observation::Completed { op: action.op, outcome });
        });
    }

    async fn perform(&self, work: Work, network: &NodeNetwork) -> Outcome {
        match work {
            Work::EnsureNetwork(network) => runtime_outcome(self.runtime.ensure_network(&network).await),
            Work::ApplyFirewall(plan) => outcome(self.firewall.apply(&plan).await),
            Work::FetchImage(spec) => {
                let _turn = self.fetches.acquire().await;
                let wanted = Wanted { digest: spec.image, format: spec.format, bytes: spec.image_bytes };
                let room = self.images.make_room_for(&wanted).await;
                if let Ok(removed) = &room
                    && !removed.is_empty()
                    && let Ok(held) = self.images.held()
                {
                    // The receiver is gone only when the agent is ending.
                    let _ = self.observations.send(Observation::ImagesHeld(held));
                }
                match room {
                    Ok(_) => outcome(self.images.fetch(&self.controller, &wanted).await),
                    Err(error) => Outcome::Failed(chain(&error)),
                }
            }
            Work::FetchLayer(spec) => {
                let _turn = self.fetches.acquire().await;
                match self.fetch_layer(&spec).await {
                    Ok(snapshots) => Outcome::Filled(snapshots),
                    Err(error) => Outcome::Failed(chain(&error)),
                }
            }
            Work::Start(spec) => self.start(&spec, network).await,
            Work::Limit { id, resources } => runtime_outcome(self.runtime.limit(id, &resources).await),
            Work::Stop { id, grace } => match self.runtime.stop(id, grace).await {
                Err(RuntimeError::NoContainer(_) | RuntimeError::NotRunning) => Outcome::Done,
                other => runtime_outcome(other),
            },
            Work::Snapshot { id, snapshot } => match self.keep(id, snapshot).await {
                Ok(bytes) => Outcome::Kept(bytes),
                Err(error) => Outcome::Failed(chain(&error)),
            },
            Work::DropSnapshot { id, snapshot } => {
                self.on_layer(id, move |layer| snapshots::delete(layer, snapshot)).await
            }
            Work::Restore { id, wish } => self.on_layer(id, move |layer| snapshots::restore(layer, &wish)).await,
            Work::Delete { id } => match self.runtime.delete(id).await {
                Err(RuntimeError::NoContainer(_)) => Outcome::Done,
                other => runtime_outcome(other),
            },
        }
    }

    async fn start(&self, spec: &AllocationSpec, network: &NodeNetwork) -> Outcome {
        let _turn = self.starts.acquire().await;
        if spec.first_boot {
            let file = (self.layer_dir)(spec.id).with_file_name(FIRST_BOOT_FILE);
            if let Err(error) = first_boot::fetch(&self.controller, spec.id, &file).await {
                return Outcome::Failed(chain(&error));
            }
        }
        let image = self.images.path(&spec.image, spec.format);
        match self.runtime.start(spec, &image, network).await {
            Ok(started) => {
                tracing::info!(allocation.id = %spec.id, name = %spec.name, pid = started.pid, "a container runs");
                if spec.first_boot && spec.system {
                    tokio::spawn(first_boot::run(self.runtime.clone(), spec.id));
                }
                Outcome::Started(started.at)
            }
            Err(error @ (RuntimeError::Command { .. } | RuntimeError::Unsupported(_))) => {
                Outcome::Impossible(chain(&error))
            }
            Err(error) => Outcome::Failed(chain(&error)),
        }
    }

    /// Does something to an allocation's files, in a thread of its own.
    async fn on_layer(
        &self,
        id: AllocationId,
        work: impl FnOnce(&Path) -> Result<(), layers::LayerError> + Send + 'static,
    ) -> Outcome {
        let layer = (self.layer_dir)(id);
        match spawn_blocking(move || work(&layer)).await {
            Ok(result) => outcome(result),
            Err(error) => Outcome::Failed(chain(&error)),
        }
    }

    /// Copies an allocation's files while nothing writes them: what runs is paused. A copy during which it went on all
    /// the same is thrown away.
    async fn keep(&self, id: AllocationId, snapshot: SnapshotId) -> Result<MemoryBytes, KeepError> {
        let paused = match self.runtime.freeze(id).await {
            Ok(()) => true,
            Err(RuntimeError::NoContainer(_) | RuntimeError::NotRunning) => false,
            Err(error) => return Err(error.into()),
        };
        let layer = (self.layer_dir)(id);
        let staged = spawn_blocking(move || snapshots::stage(&layer, snapshot)).await;
        if paused {
            self.runtime.thaw(id).await?;
        }
        let staged = staged??;
        Ok(spawn_blocking(move || staged.commit()).await??)
    }

    /// Fills a new layer beside the real one, then puts it in its place: a layer is whole or not there. What a moved
    /// allocation takes over of snapshots comes first.
    async fn fetch_layer(&self, spec: &AllocationSpec) -> Result<Vec<(SnapshotId, MemoryBytes)>, FetchLayerError> {
        let Some(from) = spec.seed_from else { return Ok(Vec::new()) };
        let (layer, most) = ((self.layer_dir)(spec.id), spec.resources.disk_bytes.0);
        let cleared = layer.clone();
        spawn_blocking(move || clear(&cleared)).await.map_err(|error| FetchLayerError::Ask(from, error.into()))??;
        let carried = spec.snapshots.iter().filter(|wish| !wish.make && spec.seed_snapshot.is_none());
        let mut held = Vec::new();
        for wish in carried {
            let (into, id) = (layer.clone(), wish.id);
            let write = move |archive: Arriving| -> Result<MemoryBytes, FetchLayerError> {
                let staged = snapshots::stage_with(&into, id, |files| layers::import(files, archive, most))?;
                Ok(staged.commit()?)
            };
            held.push((wish.id, self.fetch(from, Some(wish.id), write).await?));
        }
        let near =
            spec.seed_snapshot.map(|id| snapshots::files(&(self.layer_dir)(from), id)).filter(|dir| dir.is_dir());
        match near {
            Some(files) => {
                let copying = spawn_blocking(move || fill_layer(&layer, |new| layers::copy(&files, new)));
                copying.await.map_err(|error| FetchLayerError::Ask(from, error.into()))??;
            }
            None => {
                let write = move |archive| fill_layer(&layer, |new| layers::import(new, archive, most));
                self.fetch(from, spec.seed_snapshot, write).await?;
            }
        }
        Ok(held)
    }

    /// Has `write` read a layer, or a snapshot of it, that another node has.
    async fn fetch<T: Send + 'static>(
        &self,
        from: AllocationId,
        snapshot: Option<SnapshotId>,
        write: impl FnOnce(Arriving) -> Result<T, FetchLayerError> + Send + 'static,
    ) -> Result<T, FetchLayerError> {
        let ask = |error: Box<dyn std::error::Error + Send + Sync>| FetchLayerError::Ask(from, error);
        let mut connection = self.controller.connect().await.map_err(|e| ask(e.into()))?;
        let query = snapshot.map_or_else(String::new, |id| format!("?snapshot={id}"));
        let request = self.controller.request(Method::GET, &format!("/agent/v1/layers/{from}{query}"));
        let request = request.body(Full::new(Bytes::new())).map_err(|e| ask(e.into()))?;
        let response = connection.send(request, SILENCE).await.map_err(|e| ask(e.into()))?;
        if response.status() != StatusCode::OK {
            return Err(FetchLayerError::Status(from, response.status()));
        }
        let (pieces, arriving) = mpsc::channel(4);
        let writing = spawn_blocking(move || write(Arriving { pieces: arriving, piece: Bytes::new() }));
        pump(response.into_body(), pieces).await;
        writing.await.map_err(|e| ask(e.into()))?
    }

    /// Tells of every container there is.
    pub async fn look(&self) -> Result<Vec<Seen>, RuntimeError> {
        let statuses = self.runtime.list().await?;
        let layer_dir = self.layer_dir.clone();
        let seen = move |status: ContainerStatus| {
            let snapshots = snapshots::list(&layer_dir(status.id)).unwrap_or_else(|error| {
                tracing::warn!(allocation.id = %status.id, error = %chain(&error), "its snapshots cannot be listed");
                Vec::new()
            });
            seen(status, snapshots)
        };
        let all = spawn_blocking(move || statuses.into_iter().map(seen).collect()).await;
        all.map_err(|error| RuntimeError::Step { step: "list snapshots".into(), source: io::Error::other(error) })
    }

    /// Removes what an agent that died left half done of snapshots.
    pub fn sweep(&self, seen: &[Seen]) {
        for one in seen {
            if let Err(error) = snapshots::sweep(&(self.layer_dir)(one.id)) {
                tracing::warn!(allocation.id = %one.id, error = %chain(&error), "an unfinished snapshot cannot be removed");
            }
        }
    }
}

/// Removes what an earlier attempt left of a layer and of its snapshots.
fn clear(layer: &Path) -> Result<(), FetchLayerError> {
    for path in [layer.with_extension("new"), layer.to_owned(), layer.with_file_name("snapshots")] {
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FetchLayerError::Prepare(path.display().to_string(), error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn fill_layer(
    layer: &Path,
    write: impl FnOnce(&Path) -> Result<u64, layers::LayerError>,
) -> Result<(), FetchLayerError> {
    let staging = layer.with_extension("new");
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| FetchLayerError::Prepare(path, source)
    };
    std::fs::create_dir_all(&staging).map_err(failed(&staging))?;
    write(&staging)?;
    std::fs::rename(&staging, layer).map_err(failed(layer))
}

/// Moves a body to the thread that reads it; an error there ends the archive early, and the thread sees that.
async fn pump(mut body: Incoming, pieces: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let piece = match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_trailers) => continue,
            },
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let is_last = piece.is_err();
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

/// A body as a reader.
struct Arriving {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = piece?,
            }
        }
        let n = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}

fn seen(status: ContainerStatus, snapshots: Vec<(SnapshotId, MemoryBytes)>) -> Seen {
    let state = match status.state {
        ContainerState::Running { epoch, started_at, pid: _ } => SeenState::Running { epoch, started_at },
        ContainerState::Exited { exit } => SeenState::Exited { exit },
    };
    Seen { id: status.id, state, starts: status.starts, snapshots }
}

fn outcome<E: std::error::Error>(result: Result<(), E>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed(chain(&error)),
    }
}

fn runtime_outcome(result: Result<(), RuntimeError>) -> Outcome {
    outcome(result)
}
