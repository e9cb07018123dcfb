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

use crate::archive::{gzip, harmless, sha256};
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
