//! A controller of its own for each test.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::blocking as http;

use crate::archive::sha256;

/// What people's token is in these tests.
const TOKEN: &str = "a token for tests";

/// A running controller and its state.
pub struct Server {
    child: Child,
    pub dir: PathBuf,
    url: String,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: serde_json::Value,
}

impl Answer {
    /// Status, code and detail in one, for a message.
    pub fn told(&self) -> String {
        format!("{} {} {}", self.status, self.body["code"], self.body["detail"])
    }
}

impl Server {
    pub fn start(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("roost-images-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let mut server = Self { child: run(&dir, 1), dir, url: String::new() };
        server.restart();
        server
    }

    /// Kills it, as a power cut would, and starts it on the same state.
    pub fn restart(&mut self) {
        self.kill();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        self.child = run(&self.dir, port);
        self.url = format!("http://127.0.0.1:{port}");
        let end = Instant::now() + Duration::from_secs(20);
        while http::get(format!("{}/healthz", self.url)).is_err() {
            assert!(Instant::now() < end, "the controller does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn request(&self, method: reqwest::Method, path: &str) -> http::RequestBuilder {
        let client = http::Client::builder().timeout(Duration::from_secs(120)).no_proxy().build().unwrap();
        client.request(method, format!("{}{path}", self.url)).bearer_auth(TOKEN)
    }

    /// Uploads an archive and waits for what becomes of it.
    pub fn import(&self, query: &str, archive: &[u8]) -> Answer {
        let request = self.request(reqwest::Method::POST, &format!("/v1/images?{query}"));
        answer(request.header("Prefer", "wait=60").body(archive.to_vec()))
    }

    /// Asks for an image to be fetched and waits for what becomes of it.
    pub fn fetch(&self, body: &serde_json::Value) -> Answer {
        answer(self.request(reqwest::Method::POST, "/v1/images").header("Prefer", "wait=60").json(body))
    }

    /// Uploads an archive and does not wait.
    pub fn begin(&self, query: &str, archive: Vec<u8>) -> Answer {
        answer(self.request(reqwest::Method::POST, &format!("/v1/images?{query}")).body(archive))
    }

    pub fn get(&self, path: &str) -> Answer {
        answer(self.request(reqwest::Method::GET, path))
    }

    pub fn delete(&self, path: &str) -> Answer {
        answer(self.request(reqwest::Method::DELETE, path))
    }

    /// Files of images, and what is in staging.
    pub fn files(&self) -> (Vec<String>, Vec<String>) {
        let images = self.dir.join("state/images");
        let mut stored = names(&images);
        stored.retain(|name| name != "staging");
        (stored, names(&images.join("staging")))
    }

    /// Processes that the controller started and that still are.
    pub fn children(&self) -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()).collect()
    }

    /// What is in a stored image, as the kernel shows it: a line `PATH TYPE MODE UID:GID SIZE TARGET` for each name.
    pub fn listing(&self, digest: &str) -> Vec<String> {
        let file = self.dir.join("state/images").join(digest.trim_start_matches("sha256:"));
        let (file, at) = (file.display(), self.dir.join("mnt"));
        let _ = fs::create_dir(&at);
        let script = format!(
            "mount -t erofs -o loop,ro {file} {at}; cd {at}; \
             find . -mindepth 1 -printf '%P %y %m %U:%G %s %l\\n' | LC_ALL=C sort",
            at = at.display()
        );
        let output = Command::new("unshare").args(["-m", "sh", "-ec", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn run(dir: &Path, port: u16) -> Child {
    let file = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let token = sha256(TOKEN.as_bytes());
    let token = token.trim_start_matches("sha256:");
    Command::new(env!("CARGO_BIN_EXE_roost-controller"))
        .arg("run")
        .arg("--state")
        .arg(dir.join("state"))
        .args(["--listen", &format!("127.0.0.1:{port}"), "--die-with-parent"])
        .arg("--rack")
        .arg(file("rack.yaml", String::new()))
        .arg("--nodes")
        .arg(file("nodes.yaml", String::new()))
        .arg("--tokens")
        .arg(file("tokens.yaml", format!("- {{name: root, role: admin, token_sha256: {token}}}")))
        .args(["--allow-image-sources", "127.0.0.1/32"])
        .stdout(Stdio::null())
        .stderr(fs::File::options().create(true).append(true).open(dir.join("log")).unwrap())
        .spawn()
        .unwrap()
}

fn answer(request: http::RequestBuilder) -> Answer {
    let response = request.send().unwrap();
    let status = response.status().as_u16();
    let text = response.text().unwrap();
    Answer { status, body: serde_json::from_str(&text).unwrap_or(serde_json::Value::Null) }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
