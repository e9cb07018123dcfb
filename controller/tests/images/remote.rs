//! Images from elsewhere: a real registry and a web server on loopback, which these controllers allow, and everything that
//! no controller asks.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::archive::{Random, gzip, harmless, sha256};
use crate::server::Server;

/// Debian's docker-registry on a port of its own.
struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    fn start(dir: &Path) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = dir.join("registry.yml");
        let store = dir.join("registry");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            store.display()
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < end, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, address }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tool(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_image_made_by_umoci_comes_from_a_real_registry() {
    let server = Server::start("registry");
    let registry = Registry::start(&server.dir);
    let layout = server.dir.join("layout").display().to_string();
    let image = format!("{layout}:1");
    tool("umoci", &["init", "--layout", &layout]);
    tool("umoci", &["new", "--image", &image]);
    for layer in [harmless().file("etc/gone", b"x").end(), harmless().file("etc/.wh.gone", b"").file("new", b"y").end()]
    {
        let path = server.dir.join("layer.tar").display().to_string();
        fs::write(&path, layer).unwrap();
        tool("umoci", &["raw", "add-layer", "--image", &image, &path]);
    }
    let settings = ["--config.cmd", "/bin/sh", "--config.env", "A=b", "--architecture", "amd64", "--os", "linux"];
    tool("umoci", &[&["config", "--image", &image], &settings[..]].concat());
    let there = format!("docker://{}/rack/app:1", registry.address);
    tool("skopeo", &["copy", "--dest-tls-verify=false", &format!("oci:{image}"), &there]);

    let answer = server.fetch(&json!({"alias": "app", "registry": format!("{}/rack/app:1", registry.address)}));
    assert_eq!(answer.status, 201, "{}", answer.told());
    assert_eq!(answer.body["startup"]["command"], json!(["/bin/sh"]));
    assert_eq!(answer.body["startup"]["env"]["A"], "b");
    let listing = server.listing(answer.body["digest"].as_str().unwrap());
    let names: Vec<&str> = listing.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["bin", "bin/sh", "etc", "etc/hostname", "new"]);

    // The same image as its layout gives the same bytes.
    let archive = server.dir.join("layout.tar").display().to_string();
    tool("tar", &["-C", &layout, "-cf", &archive, "."]);
    let same = server.import("from=auto&alias=same", &fs::read(&archive).unwrap());
    assert_eq!(same.body["digest"], answer.body["digest"], "{}", same.told());

    for (reference, status) in [("rack/app:2", 400), ("rack/none:1", 400), ("rack/app:1?x", 400)] {
        let answer = server.fetch(&json!({"alias": "app", "registry": format!("{}/{reference}", registry.address)}));
        assert_eq!((answer.status, answer.body["field"].as_str()), (status, Some("registry")), "{}", answer.told());
    }
    let other =
        server.fetch(&json!({"alias": "app", "arch": "armhf", "registry": format!("{}/rack/app:1", registry.address)}));
    assert!(other.status == 422 && other.told().contains("no image for armhf"), "{}", other.told());
    assert_eq!(server.files().1, Vec::<String>::new());
}

/// A web server that gives every request the next of these answers and counts the requests.
fn web(answers: Vec<Vec<u8>>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(&answer);
        }
    });
    (address, asked)
}

fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).as_bytes(), body]
        .concat()
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

#[test]
fn an_archive_from_a_web_server_must_have_its_digest() {
    let server = Server::start("web");
    let archive = gzip(&harmless().end());
    let digest = sha256(&archive);
    let ask = |url: String, sha256: &str| {
        server.fetch(&json!({"alias": "web", "url": url, "sha256": sha256, "arch": "amd64"}))
    };
    let (address, _) = web(vec![redirect("/moved"), ok(&archive)]);
    let answer = ask(format!("http://{address}/image.tar.gz"), &digest);
    assert_eq!(answer.status, 201, "{}", answer.told());

    let (address, _) = web(vec![ok(&archive)]);
    let answer = ask(format!("http://{address}/image.tar.gz"), &"0".repeat(64));
    assert!(answer.status == 422 && answer.told().contains(&digest), "{}", answer.told());

    for (body, why) in [
        (ok(&archive)[..200].to_vec(), "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n".to_vec(), "at most"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_vec(), "no such image"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec(), "status 500"),
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), "answer properly"),
    ] {
        let (address, _) = web(vec![body]);
        let answer = ask(format!("http://{address}/x"), &digest);
        assert!(answer.status >= 400 && answer.told().contains(why), "{why}: {}", answer.told());
    }
    let (files, staging) = server.files();
    assert_eq!((files.len(), staging.len()), (1, 0));
}

#[test]
fn nothing_private_is_asked_however_it_is_named() {
    let server = Server::start("ssrf");
    let digest = "0".repeat(64);
    let (victim, asked) = web(vec![ok(b"a secret"); 64]);
    let port = victim.rsplit(':').next().unwrap();
    let (bait, _) = web(vec![
        redirect(&format!("http://127.0.0.2:{port}/")),
        redirect("http://169.254.169.254/latest/meta-data/"),
        redirect("file:///etc/passwd"),
    ]);
    let mut urls: Vec<String> = [
        // 127.0.0.1 alone is allowed here; all of these reach the same machine or its network.
        "127.0.0.2",
        "127.1.1.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.2]",
        "[::ffff:7f00:2]",
        "2130706434",
        "0x7f000002",
        "0177.0.0.2",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "[64:ff9b::7f00:2]",
        "user:password@127.0.0.1",
        "user@127.0.0.1",
    ]
    .iter()
    .flat_map(|host| [format!("http://{host}:{port}/x"), format!("https://{host}:{port}/x")])
    .collect();
    urls.extend(
        ["file:///etc/passwd", "file:///dev/zero", "ftp://127.0.0.1/x", "gopher://127.0.0.1:70/x", "data:,x"]
            .map(str::to_owned),
    );
    urls.extend((0..3).map(|_| format!("http://{bait}/")));
    for url in urls {
        let (done, waiting) = mpsc::channel();
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| done.send(server.fetch(&json!({"alias": "x", "url": url, "sha256": digest}))));
            waiting.recv_timeout(Duration::from_secs(10)).unwrap_or_else(|_| panic!("{url}: it was asked, and waits"))
        });
        assert_eq!((answer.status, answer.body["field"].as_str()), (400, Some("url")), "{url}: {}", answer.told());
    }
    for registry in ["127.0.0.2:5000/a", "[::1]:5000/a", "10.0.0.1/a", "169.254.169.254/a"] {
        let answer = server.fetch(&json!({"alias": "x", "registry": registry}));
        assert_eq!(
            (answer.status, answer.body["field"].as_str()),
            (400, Some("registry")),
            "{registry}: {}",
            answer.told()
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "somebody was asked who may not be");
    assert_eq!(server.files(), (vec![], vec![]));
}

#[test]
fn a_wish_that_cannot_be_used_says_which_field() {
    let server = Server::start("wish");
    let digest = "0".repeat(64);
    for (body, status, field) in [
        (json!({"alias": "a"}), 400, "url"),
        (json!({"alias": "a", "url": "https://x.example/"}), 400, "sha256"),
        (json!({"alias": "a", "url": "https://x.example/", "sha256": "12"}), 400, "sha256"),
        (json!({"alias": "a", "url": "nonsense", "sha256": digest}), 400, "url"),
        (json!({"alias": "A", "registry": "alpine"}), 400, "alias"),
        (json!({"alias": "a", "registry": "alpine", "url": "https://x.example/", "sha256": digest}), 400, "registry"),
        (json!({"alias": "a", "registry": "UPPER"}), 400, "registry"),
        (json!({"alias": "a", "colour": "red"}), 400, "colour"),
        (json!({"url": "https://x.example/"}), 400, "alias"),
    ] {
        let answer = server.fetch(&body);
        assert_eq!((answer.status, answer.body["field"].as_str()), (status, Some(field)), "{body}: {}", answer.told());
    }
}

/// A web server that says what it is asked and answers by a function until nobody wants to know any more.
fn scripted(answer: impl Fn(usize, &str) -> Vec<u8> + Send + 'static) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (asked, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
            let _ = stream.write_all(&answer(number, &request));
            if asked.send(request).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

/// The byte that a request wants to begin at.
fn from(request: &str) -> Option<usize> {
    let range = request.lines().find_map(|line| line.strip_prefix("range: bytes="))?;
    range.trim().strip_suffix('-')?.parse().ok()
}

/// The rest of a body, or all of it; only so many bytes of it really.
fn part(body: &[u8], from: Option<usize>, headers: &str, most: usize) -> Vec<u8> {
    let rest = &body[from.unwrap_or(0)..];
    let status = match from {
        Some(from) => format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", body.len() - 1, body.len()),
        None => "200 OK".to_owned(),
    };
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", rest.len());
    [head.as_bytes(), &rest[..most.min(rest.len())]].concat()
}

/// An archive that does not come in one piece.
fn long() -> Vec<u8> {
    harmless().file("noise", &Random(3).bytes(100_000)).end()
}

#[test]
fn a_download_from_a_web_server_goes_on_where_it_broke_off() {
    let server = Server::start("cut");
    let archive = long();
    let ask = |address: &str, alias: &str| {
        let url = format!("http://{address}/image.tar");
        server.fetch(&json!({"alias": alias, "url": url, "sha256": sha256(&archive), "arch": "amd64"}))
    };

    // Every answer is cut; each goes on where the one before ended.
    let body = archive.clone();
    let (address, requests) = scripted(move |_, request| part(&body, from(request), "ETag: \"one\"\r\n", 30_000));
    let answer = ask(&address, "cut");
    assert_eq!(answer.status, 201, "{}", answer.told());
    let requests: Vec<String> = requests.try_iter().collect();
    let begins: Vec<Option<usize>> = requests.iter().map(|request| from(request)).collect();
    assert_eq!(begins, [None, Some(30_000), Some(60_000), Some(90_000)]);
    assert!(requests[1..].iter().all(|request| request.contains("if-range: \"one\"")), "{requests:?}");

    // A server that knows no ranges sends all of it again.
    let body = archive.clone();
    let (address, requests) = scripted(move |number, _| part(&body, None, "", 40_000 + 40_000 * number));
    let answer = ask(&address, "whole");
    assert_eq!(answer.status, 201, "{}", answer.told());
    assert_eq!(requests.try_iter().count(), 3);

    // What has changed meanwhile is not mixed.
    let body = archive.clone();
    let (address, _requests) = scripted(move |number, _| part(&body, None, &format!("ETag: \"{number}\"\r\n"), 40_000));
    let answer = ask(&address, "changed");
    assert!(answer.status == 422 && answer.told().contains("changed it while"), "{}", answer.told());

    // Nor is the wrong part.
    let body = archive.clone();
    let (address, _requests) = scripted(move |_, request| part(&body, from(request).map(|from| from - 1), "", 30_000));
    let answer = ask(&address, "wrong");
    assert!(answer.status == 503 && answer.told().contains("broke off"), "{}", answer.told());
    assert_eq!(server.files().1, Vec::<String>::new());
}

#[test]
fn a_layer_from_a_registry_goes_on_where_it_broke_off_with_a_new_token() {
    let server = Server::start("cut-layer");
    let layer = long();
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(&layer)]}});
    let config = config.to_string().into_bytes();
    let part_of = |media: &str, bytes: &[u8]| json!({"mediaType": media, "digest": sha256(bytes), "size": bytes.len()});
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": part_of("application/vnd.oci.image.config.v1+json", &config),
        "layers": [part_of("application/vnd.oci.image.layer.v1.tar", &layer)]});
    let manifest = manifest.to_string().into_bytes();
    let is_layer = format!("/blobs/{}", sha256(&layer));
    let tokens = AtomicUsize::new(0);
    let (address, requests) = scripted(move |_, request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().trim().to_owned();
        let ask = format!(
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"x\"\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        // A token is good until the next one is given, and the second part of the layer wants the second.
        let current = format!("authorization: bearer t{}", tokens.load(Ordering::SeqCst));
        if path == "/v2/" {
            ask.into_bytes()
        } else if path.starts_with("/token") {
            let number = tokens.fetch_add(1, Ordering::SeqCst) + 1;
            ok(format!("{{\"token\":\"t{number}\"}}").as_bytes())
        } else if !request.contains(&current) || from(request) == Some(60_000) && current.ends_with("t1") {
            ask.into_bytes()
        } else if path.contains("/manifests/") {
            part(&manifest, None, "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n", usize::MAX)
        } else if path.ends_with(&is_layer) {
            part(&layer, from(request), "", 60_000)
        } else {
            part(&config, None, "", usize::MAX)
        }
    });
    let answer = server.fetch(&json!({"alias": "cut", "registry": format!("{address}/app:1")}));
    assert_eq!(answer.status, 201, "{}", answer.told());
    let begins: Vec<Option<usize>> =
        requests.try_iter().filter(|request| request.contains("/blobs/")).map(|request| from(&request)).collect();
    assert_eq!(begins, [None, None, Some(60_000), Some(60_000)], "configuration, layer, the rest twice");
}
