//! Images for other nodes of the rack: the one port that a board opens.
//!
//! On the node's own address on the rack's LAN, read-only, by digest, for whom the controller gave a ticket: the agent knows
//! the ticket's digest, the image and the address it is for. One request per connection; everything about it is bounded:
//! connections, the size and time of a request, how long a reader may be slow, and the bytes per second of all together.
//! The firewall lets only nodes of the rack come here, and no instance (see [`crate::firewall::rules`]).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{AUTHORIZATION, CONTENT_RANGE, RANGE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use roost_types::ImageDigest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Images;
use super::pacer::Pacer;

/// Connections at once, and from one address.
const CONNECTIONS: usize = 16;
const CONNECTIONS_EACH: usize = 4;
/// How long a request may take to arrive, and its size.
const REQUEST_TIME: Duration = Duration::from_secs(5);
const REQUEST_BYTES: usize = 8 << 10;
const REQUEST_HEADERS: usize = 16;
/// A reader that takes nothing for so long is cut off.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes read from the disk at a time; at most four such pieces wait for one reader.
const PIECE: usize = 64 << 10;
const QUEUE: usize = 2;
/// Pause between two tries to open the port.
const OPEN_AGAIN: Duration = Duration::from_secs(5);

/// Where images are given to other nodes, and how fast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The node's address on the rack's LAN.
    pub address: Ipv4Addr,
    /// TCP port.
    pub port: u16,
    /// For all readers together.
    pub bytes_per_second: u64,
}

/// Serves for ever.
pub async fn serve(images: Images, place: Place) {
    let listener = open(place).await;
    images.traffic.opened(listener.local_addr().map_or(place.port, |address| address.port()));
    let server = Arc::new(Server { images, pacer: Pacer::new(place.bytes_per_second), open: Mutex::default() });
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if let Some(seat) = server.clone().seat(from.ip()) {
                    tokio::spawn(talk(seat, stream));
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a node's connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The address may come later than the agent, with DHCP.
async fn open(Place { address, port, .. }: Place) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind((address, port)).await {
            Ok(listener) => return listener,
            Err(error) => {
                if !told {
                    tracing::warn!(%address, port, %error, "no images can be given to other nodes yet: the port cannot be opened");
                    told = true;
                }
                tokio::time::sleep(OPEN_AGAIN).await;
            }
        }
    }
}

struct Server {
    images: Images,
    pacer: Pacer,
    /// Connections by address.
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A connection's place among all.
struct Seat {
    server: Arc<Server>,
    from: IpAddr,
}

impl Server {
    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seat(self: Arc<Self>, from: IpAddr) -> Option<Seat> {
        {
            let mut open = self.open();
            let (all, own) = (open.values().sum::<usize>(), open.get(&from).copied().unwrap_or(0));
            if all >= CONNECTIONS || own >= CONNECTIONS_EACH {
                return None;
            }
            open.insert(from, own + 1);
        }
        Some(Seat { server: self, from })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.server.open();
        match open.get_mut(&self.from) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => {
                open.remove(&self.from);
            }
        }
    }
}

/// One request and its answer.
async fn talk(seat: Seat, stream: TcpStream) {
    let taken = Arc::new(AtomicU64::new(0));
    let service = service_fn(|request| {
        let (server, taken, from) = (seat.server.clone(), taken.clone(), seat.from);
        async move { Ok::<_, Infallible>(server.answer(&request, from, taken).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIME).max_headers(REQUEST_HEADERS);
    http.max_buf_size(REQUEST_BYTES).keep_alive(false).half_close(false);
    tokio::select! {
        ended = http.serve_connection(TokioIo::new(stream), service) => {
            if let Err(error) = ended {
                tracing::debug!(from = %seat.from, %error, "a node's connection ended");
            }
        }
        () = stuck(&taken) => tracing::debug!(from = %seat.from, "a node takes nothing any more: its connection is cut"),
    }
}

/// Ends when nothing was taken for [`PATIENCE`].
async fn stuck(taken: &AtomicU64) {
    let mut before = taken.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(PATIENCE).await;
        let now = taken.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

impl Server {
    async fn answer(
        self: Arc<Self>,
        request: &Request<Incoming>,
        from: IpAddr,
        taken: Arc<AtomicU64>,
    ) -> Response<Pieces> {
        let wanted = request.uri().path().strip_prefix("/image/").and_then(|digest| digest.parse::<ImageDigest>().ok());
        let Some(digest) = wanted.filter(|_| request.method() == Method::GET) else {
            return plain(StatusCode::NOT_FOUND);
        };
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let ticket = header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if !self.images.traffic.may_have(&digest, from, ticket) {
            return plain(StatusCode::FORBIDDEN);
        }
        let Some(path) = self.images.find(&digest) else { return plain(StatusCode::NOT_FOUND) };
        let opened = spawn_blocking(move || {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            Ok::<_, io::Error>((file, size))
        });
        let Ok(Ok((file, size))) = opened.await else { return plain(StatusCode::INTERNAL_SERVER_ERROR) };
        let first = match header(RANGE) {
            None => 0,
            Some(range) => match range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse().ok()) {
                Some(first) if first < size => first,
                Some(_) | None => return plain(StatusCode::RANGE_NOT_SATISFIABLE),
            },
        };
        let (pieces, arriving) = mpsc::channel(QUEUE);
        tokio::spawn(self.send(digest, file, first..size, pieces));
        let mut response = Response::new(Pieces { arriving: Some(arriving), left: size - first, taken });
        if first > 0 || header(RANGE).is_some() {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            if let Ok(range) = format!("bytes {first}-{}/{size}", size - 1).parse() {
                response.headers_mut().insert(CONTENT_RANGE, range);
            }
        }
        response
    }

    /// Reads the file piece by piece, each when its turn has come.
    async fn send(
        self: Arc<Self>,
        digest: ImageDigest,
        file: File,
        mut range: std::ops::Range<u64>,
        pieces: mpsc::Sender<io::Result<Bytes>>,
    ) {
        let file = Arc::new(file);
        while !range.is_empty() {
            let size = usize::try_from(range.end - range.start).map_or(PIECE, |left| left.min(PIECE));
            self.pacer.turn(size as u64).await;
            let (file, at) = (file.clone(), range.start);
            let read = spawn_blocking(move || {
                let mut piece = vec![0; size];
                file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
            });
            let piece = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            let is_last = piece.is_err();
            if pieces.send(piece).await.is_err() || is_last {
                return;
            }
            self.images.traffic.sent(&digest, size as u64);
            range.start += size as u64;
        }
    }
}

fn plain(status: StatusCode) -> Response<Pieces> {
    let mut response = Response::new(Pieces { arriving: None, left: 0, taken: Arc::default() });
    *response.status_mut() = status;
    response
}

/// A part of an image on its way.
struct Pieces {
    arriving: Option<mpsc::Receiver<io::Result<Bytes>>>,
    left: u64,
    /// Pieces that the connection took, for [`stuck`].
    taken: Arc<AtomicU64>,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(arriving) = &mut self.arriving else { return Poll::Ready(None) };
        arriving.poll_recv(context).map(|piece| {
            self.taken.fetch_add(1, Ordering::Relaxed);
            piece.map(|piece| {
                let piece = piece?;
                self.left = self.left.saturating_sub(piece.len() as u64);
                Ok(Frame::data(piece))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
