//! Downloads against a small HTTP server that plays the controller, and a real server of another node: what is right, wrong,
//! cut, too long, resumed, had elsewhere.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use roost_types::ImageDigest;
use roost_types::image::RootfsFormat;
use roost_types::image_transfer::{AskImageSource, ImageGrant, ImageGrants, ImageSource};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::server::{self, Place};
use super::{ImageError, Images, Wanted};
use crate::controller::Controller;
use crate::testing::Scratch;

/// A controller: sends `body`, each time only its first bytes as long as `cuts` says so, and remembers what was asked for.
#[derive(Default)]
struct Server {
    body: Vec<u8>,
    cuts: Mutex<VecDeque<usize>>,
    knows_ranges: bool,
    ranges: Mutex<Vec<Option<String>>>,
    /// Where it says the image is; itself when nothing is left here.
    sources: Mutex<VecDeque<ImageSource>>,
    /// Nodes that were named as failed with each question.
    failed: Mutex<Vec<Vec<String>>>,
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path().ends_with("/source") {
            let asked = request.into_body().collect().await.unwrap().to_bytes();
            let asked: AskImageSource = serde_json::from_slice(&asked).unwrap();
            self.failed.lock().unwrap().push(asked.failed.iter().map(ToString::to_string).collect());
            let source = self.sources.lock().unwrap().pop_front().unwrap_or(ImageSource::Controller);
            return Response::new(Full::new(serde_json::to_vec(&source).unwrap().into()));
        }
        let range = request.headers().get("range").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let from = range
            .as_deref()
            .filter(|_| self.knows_ranges)
            .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        self.ranges.lock().unwrap().push(range);
        let end = self.cuts.lock().unwrap().pop_front().unwrap_or(self.body.len());
        let piece = Bytes::copy_from_slice(&self.body[from.unwrap_or(0)..end]);
        let mut response = Response::builder();
        if let Some(from) = from {
            let total = self.body.len();
            response = response.status(206).header("content-range", format!("bytes {from}-{}/{total}", total - 1));
        }
        response.body(Full::new(piece)).unwrap()
    }
}

async fn controller(server: Arc<Server>) -> Controller {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = server.clone();
            let service = service_fn(move |request| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Controller::new(&format!("http://{address}"), "s3cret").unwrap()
}

fn image() -> (Vec<u8>, Wanted) {
    let body: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = ImageDigest::from_sha256(&Sha256::digest(&body).into());
    let bytes = body.len() as u64;
    (body, Wanted { digest, format: RootfsFormat::Erofs, bytes })
}

/// Nothing is visible, whatever lies in the staging directory.
fn assert_absent(images: &Images, wanted: &Wanted) {
    assert!(images.held().unwrap().is_empty());
    assert!(!images.path(&wanted.digest, wanted.format).exists());
}

#[tokio::test]
async fn a_good_download_becomes_visible_once_and_is_not_repeated() {
    let (body, wanted) = image();
    let server = Arc::new(Server { body: body.clone(), ..Server::default() });
    let (scratch, controller) = (Scratch::new("images"), controller(server.clone()).await);
    let images = Images::open(scratch.path(), None).unwrap();
    images.fetch(&controller, &wanted).await.unwrap();
    images.fetch(&controller, &wanted).await.unwrap();
    assert_eq!(std::fs::read(images.path(&wanted.digest, wanted.format)).unwrap(), body);
    assert_eq!(images.held().unwrap(), [wanted.digest]);
    assert_eq!(server.ranges.lock().unwrap().len(), 1);
    assert_eq!(std::fs::read_dir(scratch.path().join("staging")).unwrap().count(), 0);
}

#[tokio::test]
async fn other_bytes_are_refused_and_forgotten() {
    let (mut body, wanted) = image();
    body[1234] ^= 1;
    let (scratch, controller) =
        (Scratch::new("images"), controller(Arc::new(Server { body, ..Server::default() })).await);
    let images = Images::open(scratch.path(), None).unwrap();
    let error = images.fetch(&controller, &wanted).await.unwrap_err();
    assert!(matches!(error, ImageError::WrongDigest(_)), "{error}");
    assert_absent(&images, &wanted);
    assert_eq!(std::fs::read_dir(scratch.path().join("staging")).unwrap().count(), 0);
}

#[tokio::test]
async fn more_bytes_than_announced_are_refused() {
    let (mut body, wanted) = image();
    body.push(0);
    let (scratch, controller) =
        (Scratch::new("images"), controller(Arc::new(Server { body, ..Server::default() })).await);
    let images = Images::open(scratch.path(), None).unwrap();
    let error = images.fetch(&controller, &wanted).await.unwrap_err();
    assert!(matches!(error, ImageError::TooLong(_, 200_000)), "{error}");
    assert_absent(&images, &wanted);
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    for knows_ranges in [true, false] {
        let (body, wanted) = image();
        let server =
            Server { body: body.clone(), cuts: Mutex::new([70_000].into()), knows_ranges, ..Server::default() };
        let server = Arc::new(server);
        let (scratch, controller) = (Scratch::new("images"), controller(server.clone()).await);
        let images = Images::open(scratch.path(), None).unwrap();
        images.fetch(&controller, &wanted).await.unwrap();
        assert_eq!(std::fs::read(images.path(&wanted.digest, wanted.format)).unwrap(), body);
        assert_eq!(*server.ranges.lock().unwrap(), [None, Some("bytes=70000-".to_owned())]);
    }
}

#[tokio::test]
async fn what_a_killed_agent_had_is_not_fetched_again() {
    let (body, wanted) = image();
    let server = Arc::new(Server { body: body.clone(), knows_ranges: true, ..Server::default() });
    let (scratch, controller) = (Scratch::new("images"), controller(server.clone()).await);
    let images = Images::open(scratch.path(), None).unwrap();
    std::fs::write(scratch.path().join("staging").join(format!("{}.part", wanted.digest.hex())), &body[..150_000])
        .unwrap();
    images.fetch(&controller, &wanted).await.unwrap();
    assert_eq!(std::fs::read(images.path(&wanted.digest, wanted.format)).unwrap(), body);
    assert_eq!(*server.ranges.lock().unwrap(), [Some("bytes=150000-".to_owned())]);
}

#[tokio::test]
async fn wrong_bytes_of_a_killed_agent_are_fetched_again() {
    let (body, wanted) = image();
    let server = Arc::new(Server { body: body.clone(), knows_ranges: true, ..Server::default() });
    let (scratch, controller) = (Scratch::new("images"), controller(server.clone()).await);
    let images = Images::open(scratch.path(), None).unwrap();
    std::fs::write(scratch.path().join("staging").join(format!("{}.part", wanted.digest.hex())), vec![9; 150_000])
        .unwrap();
    images.fetch(&controller, &wanted).await.unwrap();
    assert_eq!(std::fs::read(images.path(&wanted.digest, wanted.format)).unwrap(), body);
    assert_eq!(*server.ranges.lock().unwrap(), [Some("bytes=150000-".to_owned()), None]);
}

#[tokio::test]
async fn a_controller_that_sends_nothing_more_is_given_up() {
    let (body, wanted) = image();
    let cuts = Mutex::new([70_000; 20].into());
    let server = Arc::new(Server { body, cuts, knows_ranges: true, ..Server::default() });
    let (scratch, controller) = (Scratch::new("images"), controller(server.clone()).await);
    let images = Images::open(scratch.path(), None).unwrap();
    let error = images.fetch(&controller, &wanted).await.unwrap_err();
    assert!(matches!(error, ImageError::Truncated { have: 70_000, want: 200_000, .. }), "{error}");
    assert_absent(&images, &wanted);
    assert_eq!(server.ranges.lock().unwrap().len(), 4, "one that helped and three that did not");
}

/// Everything in these tests has this address.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const TICKET: &str = "a ticket";

/// Another node, with the image or what it says is the image.
struct Node {
    images: Images,
    _scratch: Scratch,
}

impl Node {
    async fn new(wanted: &Wanted, content: &[u8]) -> Self {
        let scratch = Scratch::new("images-node");
        let images = Images::open(scratch.path(), Some(HERE)).unwrap();
        std::fs::write(images.path(&wanted.digest, wanted.format), content).unwrap();
        tokio::spawn(server::serve(images.clone(), Place { address: HERE, port: 0, bytes_per_second: 1 << 30 }));
        while images.traffic().port.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let node = Self { images, _scratch: scratch };
        node.grant(&wanted.digest);
        node
    }

    fn grant(&self, image: &ImageDigest) {
        let ticket_sha256 = ImageDigest::from_sha256(&Sha256::digest(TICKET).into()).hex().to_owned();
        let grant = ImageGrant { image: image.clone(), to: HERE, ticket_sha256, seconds: 60 };
        self.images.grant(ImageGrants { generation: 1, grants: vec![grant] });
    }

    fn port(&self) -> u16 {
        self.images.traffic().port.unwrap()
    }

    /// What it answers to this text, until it closes the connection.
    async fn says(&self, request: String) -> String {
        let port = self.port();
        let said = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect((HERE, port)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // It may close the connection before it has read everything.
            let _ = stream.write_all(request.as_bytes());
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        said.await.unwrap()
    }
}

fn at(node: &str, port: u16) -> ImageSource {
    ImageSource::Node { node: node.parse().unwrap(), address: HERE, port, ticket: TICKET.to_owned() }
}

fn sources(sources: impl IntoIterator<Item = ImageSource>) -> Mutex<VecDeque<ImageSource>> {
    Mutex::new(sources.into_iter().collect())
}

#[tokio::test]
async fn another_node_gives_the_image_and_counts_it() {
    let (body, wanted) = image();
    let node = Node::new(&wanted, &body).await;
    let told = sources([ImageSource::Later, ImageSource::Later, at("n02", node.port())]);
    let server = Arc::new(Server { body: body.clone(), sources: told, ..Server::default() });
    let (scratch, controller) = (Scratch::new("images"), controller(server.clone()).await);
    let images = Images::open(scratch.path(), Some(HERE)).unwrap();
    images.fetch(&controller, &wanted).await.unwrap();
    assert_eq!(std::fs::read(images.path(&wanted.digest, wanted.format)).unwrap(), body);
    assert!(server.ranges.lock().unwrap().is_empty(), "the controller was asked for bytes");
    assert_eq!(node.images.traffic().sent.get(&wanted.digest), Some(&200_000));
    assert!(images.traffic().fetching.is_empty());
}

#[tokio::test]
async fn a_node_that_lies_is_named_and_another_source_is_taken() {
    let (body, wanted) = image();
    let mut other = body.clone();
    other[150_000] ^= 1;
    let liar = Node::new(&wanted, &other).await;
    let server =
        Arc::new(Server { body: body.clone(), sources: sources([at("n02", liar.port())]), ..Server::default() });
    let (scratch, controller) = (Scratch::new("images"), controller(server.clone()).await);
    let images = Images::open(scratch.path(), Some(HERE)).unwrap();
    images.fetch(&controller, &wanted).await.unwrap();
    assert_eq!(std::fs::read(images.path(&wanted.digest, wanted.format)).unwrap(), body);
    assert_eq!(*server.failed.lock().unwrap(), [vec![], vec!["n02".to_owned()]]);
    assert_eq!(*server.ranges.lock().unwrap(), [None], "nothing of the liar's is kept");
}

#[tokio::test]
async fn too_long_an_answer_of_a_node_is_no_answer() {
    let (body, wanted) = image();
    let liar = Node::new(&wanted, &[&body[..], b"x"].concat()).await;
    let server =
        Arc::new(Server { body: body.clone(), sources: sources([at("n02", liar.port())]), ..Server::default() });
    let (scratch, controller) = (Scratch::new("images"), controller(server.clone()).await);
    let images = Images::open(scratch.path(), Some(HERE)).unwrap();
    images.fetch(&controller, &wanted).await.unwrap();
    assert_eq!(*server.failed.lock().unwrap(), [vec![], vec!["n02".to_owned()]]);
}

#[tokio::test]
async fn a_node_that_dies_meanwhile_is_replaced_and_its_part_is_kept() {
    let (body, wanted) = image();
    let dying = TcpListener::bind((HERE, 0)).await.unwrap();
    let dying_port = dying.local_addr().unwrap().port();
    let part = body[..120_000].to_vec();
    tokio::spawn(async move {
        let (mut stream, _) = dying.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n").await.unwrap();
        stream.write_all(&part).await.unwrap();
    });
    let gone = TcpListener::bind((HERE, 0)).await.unwrap().local_addr().unwrap().port();
    let told = sources([at("n02", dying_port), at("n03", gone)]);
    let server = Arc::new(Server { body: body.clone(), knows_ranges: true, sources: told, ..Server::default() });
    let (scratch, controller) = (Scratch::new("images"), controller(server.clone()).await);
    let images = Images::open(scratch.path(), Some(HERE)).unwrap();
    images.fetch(&controller, &wanted).await.unwrap();
    assert_eq!(std::fs::read(images.path(&wanted.digest, wanted.format)).unwrap(), body);
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(*server.failed.lock().unwrap(), [names(&[]), names(&["n02"]), names(&["n02", "n03"])]);
    assert_eq!(*server.ranges.lock().unwrap(), [Some("bytes=120000-".to_owned())]);
}

#[tokio::test]
async fn nothing_is_given_without_a_ticket_and_nothing_but_images() {
    let (body, wanted) = image();
    let node = Node::new(&wanted, &body).await;
    let other = ImageDigest::from_sha256(&[1; 32]);
    std::fs::write(node.images.path(&other, wanted.format), "another image").unwrap();
    let request =
        |method: &str, path: &str, headers: &str| format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let path = format!("/image/{}", wanted.digest);
    let good = format!("authorization: Bearer {TICKET}\r\n");
    for (text, status) in [
        (request("GET", &path, &good), "200"),
        (request("GET", &path, &format!("{good}range: bytes=199999-\r\n")), "206"),
        (request("GET", &path, &format!("{good}range: bytes=200000-\r\n")), "416"),
        (request("GET", &path, &format!("{good}range: bytes=1-2,3-4\r\n")), "416"),
        (request("GET", &path, ""), "403"),
        (request("GET", &path, "authorization: Bearer another\r\n"), "403"),
        (request("GET", &format!("/image/{other}"), &good), "403"),
        (request("GET", "/image/../../etc/passwd", &good), "404"),
        (request("GET", &format!("/image/{}", wanted.digest.hex()), &good), "404"),
        (request("POST", &path, &good), "404"),
        (request("DELETE", &path, &good), "404"),
        (request("GET", "/", &good), "404"),
        (request("GET", &path, &format!("{good}x: {}\r\n", "y".repeat(20_000))), "431"),
        (request("GET", &path, &format!("{good}{}", "x: y\r\n".repeat(40))), "431"),
        ("SSH-2.0-OpenSSH_9\r\n\r\n".to_owned(), "400"),
    ] {
        let said = node.says(text.clone()).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}: {said:.100?}");
        let (_, given) = said.split_once("\r\n\r\n").unwrap();
        assert_eq!(given.is_empty(), !status.starts_with('2'), "{text:?}");
    }
    let twice = node.says(request("GET", &path, "").repeat(2)).await;
    assert_eq!(twice.matches("HTTP/1.1").count(), 1, "one request per connection");
}

#[tokio::test]
async fn connections_of_one_address_are_counted_and_a_silent_one_is_closed() {
    let (body, wanted) = image();
    let node = Node::new(&wanted, &body).await;
    let began = Instant::now();
    let silent: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect((HERE, node.port())).unwrap()).collect();
    let refused = node.says(format!("GET /image/{} HTTP/1.1\r\n\r\n", wanted.digest)).await;
    assert_eq!(refused, "", "the fifth");
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let ended = tokio::task::spawn_blocking(move || stream.read(&mut [0; 100]));
        assert!(ended.await.unwrap().is_ok(), "it is kept open");
    }
    assert!(began.elapsed() >= Duration::from_secs(4), "they were not given their time");
    let said = node.says(format!("GET /image/{} HTTP/1.1\r\nhost: x\r\n\r\n", wanted.digest)).await;
    assert!(said.starts_with("HTTP/1.1 403"), "{said}");
}
