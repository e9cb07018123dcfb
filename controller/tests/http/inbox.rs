//! Those who are told of alerts, for tests: a receiver of webhooks and a mail server, both real.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// A request that came.
#[derive(Clone)]
pub struct Posted {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What was answered.
    pub status: u16,
}

impl Posted {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Inner {
    posted: Mutex<Vec<Posted>>,
    broken: Mutex<bool>,
}

/// A receiver of webhooks: `/moved` redirects to `/target`, `/gone` is no more, `/slow` never answers, all others take what
/// comes unless broken.
#[derive(Clone)]
pub struct Inbox {
    inner: Arc<Inner>,
    pub url: String,
}

impl Inbox {
    pub async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::<Inner>::default();
        let router = Router::new().fallback(take).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, url }
    }

    /// From now on it answers 503, or not.
    pub fn set_broken(&self, broken: bool) {
        *self.inner.broken.lock().unwrap() = broken;
    }

    /// What came to a path, oldest first.
    pub fn posted(&self, path: &str) -> Vec<Posted> {
        self.inner.posted.lock().unwrap().iter().filter(|posted| posted.path == path).cloned().collect()
    }

    /// What it took there.
    pub fn taken(&self, path: &str) -> Vec<Posted> {
        self.posted(path).into_iter().filter(|posted| posted.status == 200).collect()
    }
}

async fn take(State(inner): State<Arc<Inner>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let status = match uri.path() {
        "/moved" => 307,
        "/gone" => 410,
        _ if *inner.broken.lock().unwrap() => 503,
        _ => 200,
    };
    inner.posted.lock().unwrap().push(Posted { path: uri.path().to_owned(), headers, body, status });
    if uri.path() == "/slow" {
        std::future::pending::<()>().await;
    }
    let mut response = StatusCode::from_u16(status).unwrap().into_response();
    response.headers_mut().insert("location", HeaderValue::from_static("/target"));
    response
}

/// Makes `ca.pem`, and `cert.pem` with `key.pem` of localhost, in a directory.
pub fn certificates(dir: &Path) {
    const SCRIPT: &str = "set -e
        new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        openssl req -x509 $new -keyout ca.key -out ca.pem -days 2 -subj '/CN=Test authority'
        openssl req $new -keyout key.pem -out leaf.csr -subj /CN=localhost
        echo subjectAltName=DNS:localhost > ext
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile ext";
    let made = Command::new("sh").args(["-c", SCRIPT]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A mail server over TLS. User `roost`, password `pass word`.
pub struct MailServer {
    child: Child,
    /// The server ends with this.
    _stdin: ChildStdin,
    dir: PathBuf,
    pub port: u16,
}

impl MailServer {
    /// Starts one with the certificate in the directory, in Debian's own Python, which puts the first `refusals` messages off.
    pub fn start(dir: &Path, mode: &str, refusals: u32) -> Self {
        let kept = dir.join(mode);
        std::fs::create_dir_all(&kept).unwrap();
        let mut child = Command::new("/usr/bin/python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/smtp.py"))
            .arg(mode)
            .args([&kept, &dir.join("cert.pem"), &dir.join("key.pem")])
            .arg(refusals.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the mail server says its port (package python3-aiosmtpd)");
        Self { _stdin: child.stdin.take().unwrap(), child, dir: kept, port }
    }

    /// Messages with this ending (`eml`, `refused`), oldest first.
    pub fn mails(&self, ending: &str) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of a mail's header.
pub fn header<'m>(mail: &'m str, name: &str) -> &'m str {
    let prefix = format!("{name}: ");
    mail.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default().trim()
}
