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
use roost_types::AllocationSpec;
use roost_types::sync::NodeNetwork;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;

use crate::clock::chain;
use crate::controller::Controller;
use crate::firewall::Firewall;
use crate::images::{Images, Wanted};
use crate::layers;
use crate::runtime::{ContainerState, ContainerStatus, Runtime, RuntimeError};
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
    Layer(#[from] crate::trees::TreeError),
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
                outcome(self.images.fetch(&self.controller, &wanted).await)
            }
            Work::FetchLayer(spec) => {
                let _turn = self.fetches.acquire().await;
                outcome(self.fetch_layer(&spec).await)
            }
            Work::Start(spec) => self.start(&spec, network).await,
            Work::Stop { id, grace } => match self.runtime.stop(id, grace).await {
                Err(RuntimeError::NoContainer(_) | RuntimeError::NotRunning) => Outcome::Done,
                other => runtime_outcome(other),
            },
            Work::Delete { id } => match self.runtime.delete(id).await {
                Err(RuntimeError::NoContainer(_)) => Outcome::Done,
                other => runtime_outcome(other),
            },
        }
    }

    async fn start(&self, spec: &AllocationSpec, network: &NodeNetwork) -> Outcome {
        let _turn = self.starts.acquire().await;
        let image = self.images.path(&spec.image, spec.format);
        match self.runtime.start(spec, &image, network).await {
            Ok(started) => {
                tracing::info!(allocation.id = %spec.id, name = %spec.name, pid = started.pid, "a container runs");
                Outcome::Started(started.at)
            }
            Err(error @ (RuntimeError::Command { .. } | RuntimeError::Unsupported(_))) => {
                Outcome::Impossible(chain(&error))
            }
            Err(error) => Outcome::Failed(chain(&error)),
        }
    }

    /// Fills a new layer beside the real one, then puts it in its place: a layer is whole or not there.
    async fn fetch_layer(&self, spec: &AllocationSpec) -> Result<(), FetchLayerError> {
        let Some(from) = spec.seed_from else { return Ok(()) };
        let ask = |error: Box<dyn std::error::Error + Send + Sync>| FetchLayerError::Ask(from, error);
        let mut connection = self.controller.connect().await.map_err(|e| ask(e.into()))?;
        let request = self.controller.request(Method::GET, &format!("/agent/v1/layers/{from}"));
        let request = request.body(Full::new(Bytes::new())).map_err(|e| ask(e.into()))?;
        let response = connection.send(request, SILENCE).await.map_err(|e| ask(e.into()))?;
        if response.status() != StatusCode::OK {
            return Err(FetchLayerError::Status(from, response.status()));
        }
        let (dir, most) = ((self.layer_dir)(spec.id), spec.resources.disk_bytes.0);
        let (pieces, arriving) = mpsc::channel(4);
        let filling =
            spawn_blocking(move || fill_layer(&dir, Arriving { pieces: arriving, piece: Bytes::new() }, most));
        pump(response.into_body(), pieces).await;
        filling.await.map_err(|e| ask(e.into()))?
    }

    /// Tells of every container there is.
    pub async fn look(&self) -> Result<Vec<Seen>, RuntimeError> {
        Ok(self.runtime.list().await?.into_iter().map(seen).collect())
    }
}

fn fill_layer(dir: &Path, archive: impl Read, most: u64) -> Result<(), FetchLayerError> {
    let staging = dir.with_extension("new");
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| FetchLayerError::Prepare(path, source)
    };
    for path in [staging.as_path(), dir] {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(path)(error)),
            Ok(()) | Err(_) => {}
        }
    }
    std::fs::create_dir_all(&staging).map_err(failed(&staging))?;
    layers::import(&staging, archive, most)?;
    std::fs::rename(&staging, dir).map_err(failed(dir))
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

fn seen(status: ContainerStatus) -> Seen {
    let state = match status.state {
        ContainerState::Running { epoch, started_at, pid: _ } => SeenState::Running { epoch, started_at },
        ContainerState::Exited { exit } => SeenState::Exited { exit },
    };
    Seen { id: status.id, state }
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
