//! Downloads against a small HTTP server: what is right, wrong, cut, too long, resumed.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use roost_types::ImageDigest;
use roost_types::image::RootfsFormat;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use super::{ImageError, Images, Wanted};
use crate::controller::Controller;
use crate::testing::Scratch;

/// An image server: sends `body`, only its first `cut` bytes where that is set, and remembers the ranges asked for.
#[derive(Default)]
struct Server {
    body: Vec<u8>,
    cut: Mutex<Option<usize>>,
    knows_ranges: bool,
    ranges: Mutex<Vec<Option<String>>>,
}

impl Server {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let range = request.headers().get("range").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let from = range
            .as_deref()
            .filter(|_| self.knows_ranges)
            .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        self.ranges.lock().unwrap().push(range);
        let end = self.cut.lock().unwrap().take().unwrap_or(self.body.len());
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
                let response = server.answer(&request);
                async move { Ok::<_, Infallible>(response) }
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
    let images = Images::open(scratch.path()).unwrap();
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
    let images = Images::open(scratch.path()).unwrap();
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
    let images = Images::open(scratch.path()).unwrap();
    let error = images.fetch(&controller, &wanted).await.unwrap_err();
    assert!(matches!(error, ImageError::TooLong(_, 200_000)), "{error}");
    assert_absent(&images, &wanted);
}

#[tokio::test]
async fn a_download_that_broke_off_goes_on_where_it_was() {
    for knows_ranges in [true, false] {
        let (body, wanted) = image();
        let server = Server { body: body.clone(), cut: Mutex::new(Some(70_000)), knows_ranges, ..Server::default() };
        let server = Arc::new(server);
        let (scratch, controller) = (Scratch::new("images"), controller(server.clone()).await);
        let images = Images::open(scratch.path()).unwrap();
        let error = images.fetch(&controller, &wanted).await.unwrap_err();
        assert!(matches!(error, ImageError::Truncated { have: 70_000, want: 200_000, .. }), "{error}");
        assert_absent(&images, &wanted);
        images.fetch(&controller, &wanted).await.unwrap();
        assert_eq!(std::fs::read(images.path(&wanted.digest, wanted.format)).unwrap(), body);
        assert_eq!(*server.ranges.lock().unwrap(), [None, Some("bytes=70000-".to_owned())]);
    }
}
