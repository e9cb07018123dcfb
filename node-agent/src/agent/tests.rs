//! The whole loop: a controller played over HTTP, a runtime that keeps containers in memory, the real `nft`.
//!
//! Each test lives in a network namespace of its own and so needs root.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use roost_types::size::Resources;
use roost_types::stream::Resize;
use roost_types::sync::{NodeNetwork, SyncRequest, SyncResponse};
use roost_types::{
    AllocationId, AllocationReport, AllocationSpec, AllocationState, ExitStatus, FileRequest, ImageDigest,
    InstanceStats, Timestamp,
};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Parts, run};
use crate::clock;
use crate::config::Config;
use crate::controller::Controller;
use crate::runtime::{
    ContainerState, ContainerStatus, ExecPlan, ExecSession, LogChunk, Runtime, RuntimeError, RuntimeEvent, Started,
};
use crate::testing::{Scratch, allocation, desired, spec};

/// Containers in memory, and when each was started.
struct Memory {
    containers: Mutex<BTreeMap<AllocationId, ContainerState>>,
    starts: Mutex<Vec<(AllocationId, Instant)>>,
    events_in: mpsc::UnboundedSender<RuntimeEvent>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<RuntimeEvent>>,
}

impl Memory {
    fn new() -> Arc<Self> {
        let (events_in, events) = mpsc::unbounded_channel();
        let events = tokio::sync::Mutex::new(events);
        Arc::new(Self { containers: Mutex::default(), starts: Mutex::default(), events_in, events })
    }

    fn end(&self, id: AllocationId, code: i32) {
        let exit = ExitStatus { code, oom_killed: false, at: clock::now() };
        self.containers.lock().unwrap().insert(id, ContainerState::Exited { exit: Some(exit) });
        self.events_in.send(RuntimeEvent::Exited { id, exit }).unwrap();
    }

    fn starts(&self) -> usize {
        self.starts.lock().unwrap().len()
    }
}

impl Runtime for Memory {
    async fn list(&self) -> Result<Vec<ContainerStatus>, RuntimeError> {
        let containers = self.containers.lock().unwrap();
        Ok(containers.iter().map(|(id, state)| ContainerStatus { id: *id, state: state.clone(), starts: 0 }).collect())
    }

    async fn ensure_network(&self, _: &NodeNetwork) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn start(&self, spec: &AllocationSpec, image: &Path, _: &NodeNetwork) -> Result<Started, RuntimeError> {
        assert!(image.exists(), "started before its image was here");
        let at = clock::now();
        self.starts.lock().unwrap().push((spec.id, Instant::now()));
        let running = ContainerState::Running { epoch: spec.epoch, pid: 1, started_at: at };
        self.containers.lock().unwrap().insert(spec.id, running);
        Ok(Started { pid: 1, at })
    }

    async fn limit(&self, _: AllocationId, _: &Resources) -> Result<(), RuntimeError> {
        Ok(())
    }

    fn counters(&self, _: AllocationId) -> Option<roost_allocation::Counters> {
        None
    }

    async fn stop(&self, id: AllocationId, _: Duration) -> Result<(), RuntimeError> {
        self.end(id, 143);
        Ok(())
    }

    async fn delete(&self, id: AllocationId) -> Result<(), RuntimeError> {
        self.containers.lock().unwrap().remove(&id);
        Ok(())
    }

    async fn freeze(&self, _: AllocationId) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn thaw(&self, _: AllocationId) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn exec(&self, _: AllocationId, _: &ExecPlan) -> Result<ExecSession, RuntimeError> {
        Err(RuntimeError::NotRunning)
    }

    async fn files(&self, _: AllocationId, _: &FileRequest) -> Result<ExecSession, RuntimeError> {
        Err(RuntimeError::NotRunning)
    }

    async fn attach(&self, _: AllocationId, _: u32) -> Result<OwnedFd, RuntimeError> {
        Err(RuntimeError::NotRunning)
    }

    async fn resize_console(&self, _: AllocationId, _: Resize) -> Result<(), RuntimeError> {
        Err(RuntimeError::NotRunning)
    }

    async fn logs(&self, id: AllocationId, _: Option<u32>, _: bool) -> Result<mpsc::Receiver<LogChunk>, RuntimeError> {
        Err(RuntimeError::NoContainer(id))
    }

    async fn stats(&self, _: AllocationId) -> Result<InstanceStats, RuntimeError> {
        Ok(InstanceStats::default())
    }

    async fn next_event(&self) -> RuntimeEvent {
        match self.events.lock().await.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}

/// A controller with one desired set and one image.
struct Played {
    wanted: Mutex<(u64, Vec<AllocationSpec>)>,
    /// When each generation was first sent.
    sent_at: Mutex<BTreeMap<u64, Instant>>,
    image: Vec<u8>,
    reports: Mutex<BTreeMap<AllocationId, AllocationReport>>,
    gone: Mutex<Vec<AllocationId>>,
    wake: tokio::sync::Notify,
}

impl Played {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            wanted: Mutex::new((0, vec![])),
            sent_at: Mutex::default(),
            image: vec![7; 10_000],
            reports: Mutex::default(),
            gone: Mutex::default(),
            wake: tokio::sync::Notify::new(),
        })
    }

    fn spec(&self, n: u8) -> AllocationSpec {
        let digest = ImageDigest::from_sha256(&Sha256::digest(&self.image).into());
        let publish = vec![format!("{}:80", 18_000 + u16::from(n)).parse().unwrap()];
        AllocationSpec { publish, ..spec(n, digest, self.image.len() as u64) }
    }

    fn want(&self, generation: u64, specs: Vec<AllocationSpec>) {
        *self.wanted.lock().unwrap() = (generation, specs);
        self.wake.notify_waiters();
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path().starts_with("/agent/v1/images/") {
            return Response::new(Full::new(self.image.clone().into()));
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let request: SyncRequest = serde_json::from_slice(&body).unwrap();
        for report in request.allocations {
            self.reports.lock().unwrap().insert(report.id, report);
        }
        self.gone.lock().unwrap().extend(request.gone);
        let woken = self.wake.notified();
        if request.wait_ms > 0 && request.applied_generation >= self.wanted.lock().unwrap().0 {
            let _ = tokio::time::timeout(Duration::from_millis(u64::from(request.wait_ms)), woken).await;
        }
        let (generation, specs) = self.wanted.lock().unwrap().clone();
        let news = generation != request.applied_generation && generation > 0;
        let desired = news.then(|| desired(specs));
        if news {
            self.sent_at.lock().unwrap().entry(generation).or_insert_with(Instant::now);
        }
        let node = "n01".parse().unwrap();
        let response =
            SyncResponse { node, generation, desired, streams: vec![], want_full: false, names: None, grants: None };
        Response::new(Full::new(serde_json::to_vec(&response).unwrap().into()))
    }

    fn state(&self, n: u8) -> Option<AllocationState> {
        self.reports.lock().unwrap().get(&allocation(n)).map(|r| r.state)
    }
}

async fn serve(played: Arc<Played>) -> Controller {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let played = played.clone();
            let service = service_fn(move |request| {
                let played = played.clone();
                async move { Ok::<_, Infallible>(played.answer(request).await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Controller::new(&format!("http://{address}"), "s3cret").unwrap()
}

/// An agent over `runtime` and what is in `state`; ends with the returned handle.
fn agent(controller: &Controller, runtime: &Arc<Memory>, state: &Path) -> tokio::task::JoinHandle<()> {
    let config = Config {
        controller: controller.clone(),
        state: state.to_owned(),
        run_dir: state.join("run"),
        cgroup_parent: None,
        thermal_root: PathBuf::from("/nonexistent"),
        boot_id: "boot".to_owned(),
        cpu_millis: Some(1_000),
        address: None,
        image_server: None,
        lan_interface: None,
        without: BTreeSet::new(),
        resolv_conf: crate::resolv_conf::PATH.into(),
    };
    let layers = state.join("layers");
    let layer_dir = Arc::new(move |id: AllocationId| layers.join(id.to_string()));
    let parts = Parts { runtime: runtime.clone(), features: vec![], layer_dir };
    tokio::spawn(async move { run(config, parts).await.unwrap() })
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs `test` in a thread with a network namespace of its own, with loopback up.
fn in_own_network<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        assert!(std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    thread.join().unwrap();
}

#[test]
fn a_wish_becomes_a_container_with_its_port_open_and_ends_in_gone() {
    in_own_network(|| async {
        let (played, memory, scratch) = (Played::new(), Memory::new(), Scratch::new("agent"));
        let controller = serve(played.clone()).await;
        let _agent = agent(&controller, &memory, scratch.path());
        played.want(1, vec![played.spec(1)]);
        until("running", || played.state(1) == Some(AllocationState::Running)).await;
        let rules = std::process::Command::new("nft").args(["list", "table", "inet", "roost"]).output().unwrap();
        assert!(String::from_utf8(rules.stdout).unwrap().contains("tcp . 18001 : 10.77.1.11 . 80"));

        played.want(2, vec![played.spec(1), played.spec(2)]);
        until("the second one too", || played.state(2) == Some(AllocationState::Running)).await;
        let started = memory.starts.lock().unwrap()[1].1;
        let latency = started.duration_since(played.sent_at.lock().unwrap()[&2]);
        println!("desired set to start call: {latency:?}");
        assert!(latency < Duration::from_millis(50), "{latency:?}");

        memory.end(allocation(1), 0);
        until("stopped by itself", || played.state(1) == Some(AllocationState::Stopped)).await;
        played.want(3, vec![played.spec(2)]);
        until("gone", || played.gone.lock().unwrap().contains(&allocation(1))).await;
        assert_eq!(memory.containers.lock().unwrap().len(), 1);
    });
}

#[test]
fn an_agent_that_starts_again_adopts_what_runs_even_without_a_controller() {
    in_own_network(|| async {
        let (played, memory, scratch) = (Played::new(), Memory::new(), Scratch::new("agent"));
        let controller = serve(played.clone()).await;
        let first = agent(&controller, &memory, scratch.path());
        played.want(5, vec![played.spec(1), played.spec(2)]);
        until("both run", || (1..=2).all(|n| played.state(n) == Some(AllocationState::Running))).await;
        until("the set is stored", || scratch.path().join("desired.json").exists()).await;
        first.abort();

        // The board lost power meanwhile as far as the second one is concerned, and nobody answers.
        memory.containers.lock().unwrap().insert(allocation(2), ContainerState::Exited { exit: None });
        let nobody = Controller::new("http://127.0.0.1:9", "s3cret").unwrap();
        let second = agent(&nobody, &memory, scratch.path());
        until("the second one starts again", || memory.starts() == 3).await;
        second.abort();

        played.reports.lock().unwrap().clear();
        played.want(4, vec![]);
        let _third = agent(&controller, &memory, scratch.path());
        until("told again", || (1..=2).all(|n| played.state(n) == Some(AllocationState::Running))).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!((memory.containers.lock().unwrap().len(), memory.starts()), (2, 3), "an older set changes nothing");
    });
}

#[test]
fn a_container_that_fails_is_started_again_after_a_pause() {
    in_own_network(|| async {
        let (played, memory, scratch) = (Played::new(), Memory::new(), Scratch::new("agent"));
        let controller = serve(played.clone()).await;
        let _agent = agent(&controller, &memory, scratch.path());
        played.want(1, vec![played.spec(1)]);
        until("running", || played.state(1) == Some(AllocationState::Running)).await;
        let ended = Instant::now();
        memory.end(allocation(1), 3);
        until("said why", || {
            let reports = played.reports.lock().unwrap();
            reports[&allocation(1)].reason == "exited with code 3, starts again after 1 s"
        })
        .await;
        until("started again", || memory.starts() == 2).await;
        assert!(ended.elapsed() >= Duration::from_millis(990));
        until("running again", || played.state(1) == Some(AllocationState::Running)).await;
        let reports = played.reports.lock().unwrap();
        let report = &reports[&allocation(1)];
        assert_eq!((report.restarts, report.exit.map(|e| e.code)), (1, Some(3)));
        assert!(report.started_at > Some(Timestamp(0)));
    });
}
