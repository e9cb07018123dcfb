//! Both lanes against a small HTTP server that plays the controller.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use roost_allocation::Changes;
use roost_types::sync::{SyncRequest, SyncResponse};
use roost_types::{AllocationState, NodeFacts};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use super::{Link, Told};
use crate::cgroup::Cgroup;
use crate::controller::Controller;
use crate::images::Images;
use crate::outbox::Outbox;
use crate::testing::{Scratch, allocation, desired, report};
use crate::vitals::Sampler;

/// What the server saw, and what it is to answer.
#[derive(Default)]
struct Script {
    seen: Mutex<Vec<SyncRequest>>,
    answers: Mutex<VecDeque<SyncResponse>>,
    /// Connections to break right after their next request.
    breaks: Mutex<u32>,
    arrived: Notify,
}

fn nothing() -> SyncResponse {
    let node = "n01".parse().unwrap();
    SyncResponse { node, generation: 0, desired: None, streams: vec![], want_full: false, names: None, grants: None }
}

impl Script {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        assert_eq!(request.headers()["authorization"], "Bearer s3cret");
        let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
        let request: SyncRequest = serde_json::from_slice(&body).unwrap();
        let is_poll = request.wait_ms > 0;
        self.seen.lock().unwrap().push(request);
        self.arrived.notify_waiters();
        {
            let mut breaks = self.breaks.lock().unwrap();
            if *breaks > 0 {
                *breaks -= 1;
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
        }
        let answer = self.answers.lock().unwrap().pop_front();
        if is_poll && answer.is_none() {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let body = serde_json::to_vec(&answer.unwrap_or_else(nothing)).unwrap();
        Ok(Response::new(Full::new(body.into())))
    }

    /// Waits until a request like this was seen.
    async fn until(&self, wanted: impl Fn(&SyncRequest) -> bool) -> SyncRequest {
        let waiting = async {
            loop {
                let arrived = self.arrived.notified();
                if let Some(found) = self.seen.lock().unwrap().iter().find(|r| wanted(r)) {
                    return found.clone();
                }
                arrived.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("no such request in 10 s")
    }
}

async fn serve(script: Arc<Script>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let script = script.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let script = script.clone();
                    async move { script.answer(request).await }
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

struct Rig {
    script: Arc<Script>,
    outbox: Arc<Outbox>,
    link: Arc<Link>,
    told: mpsc::Receiver<Told>,
}

async fn rig(script: Script) -> Rig {
    let script = Arc::new(script);
    let address = serve(script.clone()).await;
    let controller = Controller::new(&format!("http://{address}"), "s3cret").unwrap();
    let outbox = Arc::new(Outbox::default());
    let sampler = Sampler::new(PathBuf::from("/nonexistent"), Cgroup::new(None), 1_000);
    let (told_in, told) = mpsc::channel(16);
    let scratch = Scratch::new("sync");
    let images = Images::open(scratch.path(), None).unwrap();
    let ids = ("boot".to_owned(), "agent".to_owned());
    let link = Arc::new(Link::new(controller, ids, (3, 0), (outbox.clone(), images), sampler, told_in));
    tokio::spawn(link.clone().report_lane());
    tokio::spawn(link.clone().poll_lane());
    Rig { script, outbox, link, told }
}

fn facts() -> NodeFacts {
    NodeFacts {
        arch: roost_types::Arch::Amd64,
        cpu_millis: 1_000,
        memory_bytes: roost_types::MemoryBytes::mib(512),
        disk_bytes: roost_types::MemoryBytes::mib(512),
        kernel: "6.1".to_owned(),
        agent_version: "0".to_owned(),
        address: None,
        cgroup: roost_types::node::CgroupMode::V1,
        features: vec![],
        images: vec![],
    }
}

fn introduce(rig: &Rig) {
    rig.outbox.add_everything(facts(), Changes { reports: vec![report(1, AllocationState::Running)], gone: vec![] });
}

#[tokio::test]
async fn the_first_request_is_full_and_the_poll_follows_it() {
    let rig = rig(Script::default()).await;
    introduce(&rig);
    rig.script.until(|r| r.wait_ms > 0).await;
    let seen = rig.script.seen.lock().unwrap().clone();
    assert!(seen[0].full && seen[0].facts.is_some() && seen[0].wait_ms == 0);
    assert_eq!(seen[0].allocations[0].id, allocation(1));
    assert_eq!((seen[0].applied_generation, seen[0].boot_id.as_str()), (3, "boot"));
    assert!(seen[1].wait_ms > 0 && !seen[1].full && seen[1].vitals.is_some());
}

#[tokio::test]
async fn a_report_does_not_wait_for_the_poll_and_numbers_grow_over_both_lanes() {
    let rig = rig(Script::default()).await;
    introduce(&rig);
    rig.script.until(|r| r.wait_ms > 0).await;
    rig.outbox.add(Changes { reports: vec![report(2, AllocationState::Starting)], gone: vec![] });
    rig.outbox.add(Changes { reports: vec![report(2, AllocationState::Running)], gone: vec![allocation(1)] });
    let together = rig.script.until(|r| !r.full && !r.allocations.is_empty()).await;
    assert_eq!(together.allocations, [report(2, AllocationState::Running)], "what waited together went together");
    assert_eq!((together.gone, together.wait_ms), (vec![allocation(1)], 0));
    let mut numbers: Vec<u64> = rig.script.seen.lock().unwrap().iter().map(|r| r.seq).collect();
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((numbers[0], numbers.len()), (1, count));
}

#[tokio::test]
async fn what_was_lost_with_a_connection_is_said_again() {
    let rig = rig(Script { breaks: Mutex::new(2), ..Script::default() }).await;
    introduce(&rig);
    rig.script.until(|r| r.wait_ms > 0).await;
    let full = rig.script.seen.lock().unwrap().iter().filter(|r| r.full).cloned().collect::<Vec<_>>();
    assert_eq!(full.len(), 3, "two were lost");
    assert!(full.iter().all(|r| r.allocations == full[0].allocations && r.facts == full[0].facts));
    *rig.script.breaks.lock().unwrap() = 1;
    let before = rig.script.seen.lock().unwrap().len();
    rig.script.until(|r| r.wait_ms > 0 && r.seq > u64::try_from(before).unwrap() + 2).await;
}

#[tokio::test]
async fn the_next_poll_waits_until_a_desired_set_is_stored_and_then_says_so() {
    let mut rig = rig(Script::default()).await;
    let news = SyncResponse { generation: 9, desired: Some(desired(vec![])), ..nothing() };
    introduce(&rig);
    rig.script.until(|r| r.wait_ms > 0).await;
    rig.script.answers.lock().unwrap().push_back(news);
    let Some(Told::Desired { generation: 9, stored, .. }) = rig.told.recv().await else { panic!("no desired set") };
    let polls = |script: &Script| script.seen.lock().unwrap().iter().filter(|r| r.wait_ms > 0).count();
    let before = polls(&rig.script);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(polls(&rig.script), before, "no poll before it is stored");
    rig.link.applied(9);
    stored.send(()).unwrap();
    rig.script.until(|r| r.applied_generation == 9).await;
}

#[tokio::test]
async fn a_controller_that_forgot_asks_for_everything_and_a_stream_is_dialled_once() {
    let mut rig = rig(Script::default()).await;
    introduce(&rig);
    rig.script.until(|r| r.wait_ms > 0).await;
    let stream = roost_types::stream::StreamRequest {
        id: roost_types::StreamId::mint(1, [1; 10]),
        allocation: allocation(1),
        kind: roost_types::stream::StreamKind::ExportLayer { snapshot: None },
    };
    let twice = SyncResponse { streams: vec![stream.clone()], want_full: true, ..nothing() };
    rig.script.answers.lock().unwrap().extend([twice.clone(), twice]);
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(tokio::time::timeout(Duration::from_secs(5), rig.told.recv()).await.unwrap().unwrap());
    }
    assert_eq!(heard.iter().filter(|t| matches!(t, Told::Stream(_))).count(), 1);
    assert_eq!(heard.iter().filter(|t| matches!(t, Told::WantFull)).count(), 2);
}
