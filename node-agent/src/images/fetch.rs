//! Getting an image: from where the controller says, going on elsewhere when that fails.
//!
//! ```text
//!   ask the controller ─▶ later: ask again
//!                      ├▶ a node: ask it with the ticket; what fails is named with the next question
//!                      └▶ the controller itself
//! ```
//!
//! Whoever sends the bytes, the digest decides. When it is wrong, every node that gave a part is named as failed and the
//! download begins anew.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HOST, RANGE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use roost_types::Name;
use roost_types::image_transfer::{AskImageSource, ImageSource, MAX_FAILED};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::partial::Partial;
use super::traffic::Fetching;
use super::{ImageError, Images, Wanted, blocking, joined};
use crate::controller::{Controller, HttpError};
use crate::errors::chain;
use crate::random::jittered;

/// How long the controller and a node may be silent.
const CONTROLLER_SILENCE: Duration = Duration::from_secs(30);
const NODE_SILENCE: Duration = Duration::from_secs(5);
/// How long a node may take to accept a connection.
const NODE_CONNECT: Duration = Duration::from_secs(3);
/// A node may not know of the ticket yet.
const TICKET_TRIES: u32 = 10;
const TICKET_PAUSE: Duration = Duration::from_millis(500);
/// What a node must send in every so many seconds.
const NODE_WINDOW: Duration = Duration::from_secs(10);
const NODE_WINDOW_BYTES: u64 = 1 << 20;
/// Tries of the controller without a byte more, and the pause between them.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// How long a download waits for its turn before it gives way.
const TURN: Duration = Duration::from_secs(600);
/// Pieces on the way from the network to the disk: at most 16 of what one read yields.
const QUEUE: usize = 16;
/// The largest word on where an image is.
const MAX_SOURCE: usize = 4 << 10;

/// What is known of a download besides its bytes.
#[derive(Default)]
struct History {
    /// Nodes that could not give it.
    failed: Vec<Name>,
    /// Nodes that gave a part of what is here.
    gave: Vec<Name>,
    /// Some of what is here came to an earlier agent, from wherever.
    is_inherited: bool,
    /// Tries of the controller since the last byte.
    tries: u32,
}

impl History {
    fn fail(&mut self, node: Name) {
        if !self.failed.contains(&node) && self.failed.len() < MAX_FAILED {
            self.failed.push(node);
        }
    }

    /// Whether wrong bytes may be somebody else's than the controller's: then it is worth to begin anew.
    fn begin_anew(&mut self) -> bool {
        let is_worth_it = self.is_inherited || !self.gave.is_empty();
        self.is_inherited = false;
        for node in std::mem::take(&mut self.gave) {
            self.fail(node);
        }
        is_worth_it
    }
}

/// How a source's part of a download ended; a file that cannot be written is no matter of the source.
type Ended = (Partial, Result<(), ImageError>);

impl Images {
    /// Brings the image here; nothing to do when it is.
    pub async fn fetch(&self, controller: &Controller, wanted: &Wanted) -> Result<(), ImageError> {
        let target = self.path(&wanted.digest, wanted.format);
        if target.exists() {
            return Ok(());
        }
        let mut history = History::default();
        loop {
            let part = self.staging.join(format!("{}.part", wanted.digest.hex()));
            let resumed = {
                let wanted = wanted.clone();
                blocking(move || Partial::resume(part, wanted)).await?
            };
            history.is_inherited |= resumed.have > 0;
            let partial = self.complete(controller, wanted, resumed, &mut history).await?;
            let (target, dir) = (target.clone(), self.dir.clone());
            match blocking(move || partial.publish(&target, &dir)).await {
                Err(error @ ImageError::WrongDigest(_)) if history.begin_anew() => {
                    tracing::warn!(error = %chain(&error), nodes = ?history.failed, "an image is fetched anew");
                }
                other => return other,
            }
        }
    }

    /// Gets every byte that is missing.
    async fn complete(
        &self,
        controller: &Controller,
        wanted: &Wanted,
        mut partial: Partial,
        history: &mut History,
    ) -> Result<Partial, ImageError> {
        while partial.have < wanted.bytes {
            let before = partial.have;
            let source = self.source(controller, wanted, history).await?;
            let fetching = self.traffic.fetching(&wanted.digest, partial.have);
            let (kept, ended) = match &source {
                Source::Controller => from_controller(controller, wanted, partial, &fetching).await?,
                Source::Node(peer) => from_node(peer, wanted, partial, &fetching).await?,
            };
            partial = kept;
            let error = match ended {
                Ok(()) if partial.have == wanted.bytes => None,
                Ok(()) => {
                    let (digest, have, want) = (wanted.digest.clone(), partial.have, wanted.bytes);
                    Some(ImageError::Truncated { digest, have, want })
                }
                Err(error) => Some(error),
            };
            match source {
                Source::Node(peer) => {
                    if partial.have > before {
                        history.gave.push(peer.node.clone());
                    }
                    if let Some(error) = error {
                        tracing::warn!(node = %peer.node, error = %chain(&error), "an image is had elsewhere");
                        history.fail(peer.node);
                    }
                }
                Source::Controller => {
                    history.tries = if partial.have > before { 0 } else { history.tries + 1 };
                    match error {
                        Some(error @ ImageError::TooLong(..)) => return Err(error),
                        Some(error) if history.tries >= TRIES => return Err(error),
                        Some(error) => {
                            tracing::info!(error = %chain(&error), have = partial.have, "a download goes on where it was");
                            tokio::time::sleep(jittered(PAUSE)).await;
                        }
                        None => {}
                    }
                }
            }
        }
        Ok(partial)
    }

    /// Asks where to get the image, until it is its turn.
    async fn source(&self, controller: &Controller, wanted: &Wanted, history: &History) -> Result<Source, ImageError> {
        let Some(own_address) = self.address else { return Ok(Source::Controller) };
        let began = Instant::now();
        while began.elapsed() < TURN {
            match ask(controller, wanted, &history.failed).await? {
                ImageSource::Controller => return Ok(Source::Controller),
                ImageSource::Node { node, address, port, ticket } => {
                    return Ok(Source::Node(Peer { node, own_address, address, port, ticket }));
                }
                ImageSource::Later => {}
            }
        }
        Err(ImageError::NoTurn(wanted.digest.clone(), TURN.as_secs()))
    }
}

enum Source {
    Controller,
    Node(Peer),
}

/// A node that has the image.
struct Peer {
    node: Name,
    own_address: Ipv4Addr,
    address: Ipv4Addr,
    port: u16,
    ticket: String,
}

async fn ask(controller: &Controller, wanted: &Wanted, failed: &[Name]) -> Result<ImageSource, ImageError> {
    let http = http_error(wanted, "the controller");
    let unreadable = |error| ImageError::Source(wanted.digest.clone(), error);
    let body = serde_json::to_vec(&AskImageSource { failed: failed.to_vec() }).map_err(unreadable)?;
    let mut connection = controller.connect().await.map_err(&http)?;
    let request = controller.request(Method::POST, &format!("/agent/v1/images/{}/source", wanted.digest));
    let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)));
    let request = request.map_err(|error| http(HttpError::Request(error)))?;
    let response = connection.send(request, CONTROLLER_SILENCE).await.map_err(&http)?;
    match response.status() {
        StatusCode::OK => {}
        // A controller of an earlier release does not know the question.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ok(ImageSource::Controller),
        status => return Err(status_error(wanted, "the controller", status)),
    }
    let body = timeout(CONTROLLER_SILENCE, Limited::new(response.into_body(), MAX_SOURCE).collect()).await;
    let silent = || http(HttpError::Timeout(format!("{controller:?}")));
    let body = body.map_err(|_| silent())?.map_err(|_| silent())?.to_bytes();
    serde_json::from_slice(&body).map_err(unreadable)
}

async fn from_controller(
    controller: &Controller,
    wanted: &Wanted,
    partial: Partial,
    fetching: &Fetching<'_>,
) -> Result<Ended, ImageError> {
    let http = http_error(wanted, "the controller");
    let asked = async {
        let mut connection = controller.connect().await.map_err(&http)?;
        let request = controller.request(Method::GET, &format!("/agent/v1/images/{}", wanted.digest));
        let request = ranged(request, partial.have).map_err(&http)?;
        connection.send(request, CONTROLLER_SILENCE).await.map_err(&http)
    };
    match asked.await {
        Ok(response) => {
            let pace = Pace { from: "the controller".to_owned(), silence: CONTROLLER_SILENCE, is_timed: false };
            take(response, wanted, partial, fetching, &pace).await
        }
        Err(error) => Ok((partial, Err(error))),
    }
}

async fn from_node(
    peer: &Peer,
    wanted: &Wanted,
    partial: Partial,
    fetching: &Fetching<'_>,
) -> Result<Ended, ImageError> {
    let mut tries = 0;
    loop {
        match peer.ask(wanted, partial.have).await {
            Ok(response) if response.status() == StatusCode::FORBIDDEN && tries < TICKET_TRIES => {
                tries += 1;
                tokio::time::sleep(TICKET_PAUSE).await;
            }
            Ok(response) => {
                let pace = Pace { from: format!("node {}", peer.node), silence: NODE_SILENCE, is_timed: true };
                return take(response, wanted, partial, fetching, &pace).await;
            }
            Err(error) => {
                return Ok((partial, Err(http_error(wanted, &format!("node {}", peer.node))(error))));
            }
        }
    }
}

impl Peer {
    async fn ask(&self, wanted: &Wanted, have: u64) -> Result<Response<Incoming>, HttpError> {
        let name = format!("http://{}:{}", self.address, self.port);
        let connect = |source| HttpError::Connect(name.clone(), source);
        let socket = TcpSocket::new_v4().map_err(connect)?;
        // Its ticket is good for this address only.
        socket.bind((self.own_address, 0).into()).map_err(connect)?;
        let stream = timeout(NODE_CONNECT, socket.connect((self.address, self.port).into())).await;
        let stream = stream.map_err(|_| HttpError::Timeout(name.clone()))?.map_err(connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the body, or when that is dropped.
        tokio::spawn(connection);
        let request = Request::builder().uri(format!("/image/{}", wanted.digest));
        let request = request.header(HOST, self.address.to_string());
        let request = ranged(request.header(AUTHORIZATION, format!("Bearer {}", self.ticket)), have)?;
        match timeout(NODE_SILENCE, sender.send_request(request)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(HttpError::Timeout(name)),
        }
    }
}

fn ranged(request: hyper::http::request::Builder, have: u64) -> Result<Request<Full<Bytes>>, HttpError> {
    let request = if have > 0 { request.header(RANGE, format!("bytes={have}-")) } else { request };
    request.body(Full::new(Bytes::new())).map_err(HttpError::Request)
}

fn http_error(wanted: &Wanted, from: &str) -> impl Fn(HttpError) -> ImageError {
    let (digest, from) = (wanted.digest.clone(), from.to_owned());
    move |source| ImageError::Http { digest: digest.clone(), from: from.clone(), source }
}

fn status_error(wanted: &Wanted, from: &str, status: StatusCode) -> ImageError {
    ImageError::Status { digest: wanted.digest.clone(), from: from.to_owned(), status }
}

/// What is expected of a source.
struct Pace {
    from: String,
    silence: Duration,
    /// It must send [`NODE_WINDOW_BYTES`] in every [`NODE_WINDOW`].
    is_timed: bool,
}

/// Takes an answer: the rest of the image, or all of it from a source that knows no ranges.
async fn take(
    response: Response<Incoming>,
    wanted: &Wanted,
    partial: Partial,
    fetching: &Fetching<'_>,
    pace: &Pace,
) -> Result<Ended, ImageError> {
    let partial = match response.status() {
        StatusCode::OK => blocking(move || partial.restart()).await?,
        StatusCode::PARTIAL_CONTENT if starts_at(&response, partial.have) => partial,
        status @ (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE) => {
            return Ok((blocking(move || partial.restart()).await?, Err(status_error(wanted, &pace.from, status))));
        }
        status => return Ok((partial, Err(status_error(wanted, &pace.from, status)))),
    };
    receive(response.into_body(), wanted, partial, fetching, pace).await
}

fn starts_at(response: &Response<Incoming>, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}

/// Takes the body off the network; a thread of its own hashes and writes it.
async fn receive(
    mut body: Incoming,
    wanted: &Wanted,
    partial: Partial,
    fetching: &Fetching<'_>,
    pace: &Pace,
) -> Result<Ended, ImageError> {
    let mut arrived = partial.have;
    let (pieces, mut arriving) = mpsc::channel::<Bytes>(QUEUE);
    let writer = spawn_blocking(move || {
        let mut partial = partial;
        while let Some(piece) = arriving.blocking_recv() {
            match partial.write(&piece) {
                Ok(()) => {}
                Err(error @ ImageError::TooLong(..)) => return Ok((partial.restart()?, Err(error))),
                Err(error) => return Err(error),
            }
        }
        Ok((partial, Ok(())))
    });
    let http = http_error(wanted, &pace.from);
    let mut window = (Instant::now(), arrived);
    let ended = loop {
        match timeout(pace.silence, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let Ok(piece) = frame.into_data() else { continue };
                arrived += piece.len() as u64;
                fetching.has(arrived.min(wanted.bytes));
                if pieces.send(piece).await.is_err() {
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Ok(Some(Err(error))) => break Err(http(HttpError::Http(error))),
            Err(_) => break Err(http(HttpError::Timeout(pace.from.clone()))),
        }
        if pace.is_timed && window.0.elapsed() >= NODE_WINDOW {
            if arrived - window.1 < NODE_WINDOW_BYTES {
                break Err(ImageError::Slow(wanted.digest.clone(), pace.from.clone()));
            }
            window = (Instant::now(), arrived);
        }
    };
    drop(pieces);
    let (partial, written): Ended = joined(writer.await)?;
    Ok((partial, written.and(ended)))
}
