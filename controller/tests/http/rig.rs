//! A controller of its own for a test: the real binary on a free port, with state that can outlive it.

#![allow(dead_code, reason = "every test binary uses its own part of this")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The admin's token.
pub const TOKEN: &str = "test-admin-token";

/// Directory, files and process of one controller.
pub struct Controller {
    dir: PathBuf,
    child: Option<Child>,
    url: String,
    client: reqwest::Client,
    arguments: Vec<String>,
}

fn sha(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The secret of a node.
pub fn secret(node: &str) -> String {
    format!("secret-of-{node}")
}

impl Controller {
    /// Starts one with three nodes, each in a slot of zone `shelf-1`, and a hub at `hub_path`.
    pub fn start_with_hub(hub_path: &Path) -> Self {
        Self::start_with(&format!("hubs: [{{name: hub0, path: {}}}]", hub_path.display()), "[hub0:1]", "[]")
    }

    /// The same, and the zone is cooled by fan 2 of the hub, whose relay 3 cuts the power of n01.
    pub fn start_with_outputs(hub_path: &Path) -> Self {
        let hubs = format!("hubs: [{{name: hub0, path: {}}}]\npower: {{n01: hub0:3}}", hub_path.display());
        Self::start_with(&hubs, "[hub0:1]", "[hub0:2]")
    }

    /// Starts one with three nodes and no hub, in which a person decides on actions against heat.
    pub fn start_recommending() -> Self {
        Self::start_with("hubs: []\nmode: recommend", "[]", "[]")
    }

    /// Starts one with three nodes and no hub.
    pub fn start() -> Self {
        Self::start_with("hubs: []", "[]", "[]")
    }

    /// Starts one with three nodes that tells people of alerts as this file says, on a clock that runs 60 times as fast for them;
    /// `DIR` in it is a directory with these files.
    pub fn start_telling(alerts: &str, files: &[(&str, &str)]) -> Self {
        let mut controller = Self::prepare("hubs: []", "[]", "[]");
        for (name, content) in files {
            std::fs::write(controller.dir.join(name), content).unwrap();
        }
        let alerts = alerts.replace("DIR", &controller.dir.display().to_string());
        std::fs::write(controller.dir.join("alerts.yaml"), alerts).unwrap();
        controller.arguments = ["--time-scale", "60"].map(str::to_owned).to_vec();
        controller.spawn();
        controller
    }

    fn start_with(hubs: &str, probes: &str, fans: &str) -> Self {
        let mut controller = Self::prepare(hubs, probes, fans);
        controller.spawn();
        controller
    }

    /// Writes the files of one.
    fn prepare(hubs: &str, probes: &str, fans: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("roost-controller-it-{}-{number}", std::process::id()));
        std::fs::create_dir_all(dir.join("state")).unwrap();
        let names = ["n01", "n02", "n03"];
        let nodes: String = names.map(|n| format!("- {{name: {n}, secret_sha256: {}}}\n", sha(&secret(n)))).concat();
        std::fs::write(dir.join("nodes.yaml"), nodes).unwrap();
        let tokens = format!("- {{name: root, role: admin, token_sha256: {}}}\n", sha(TOKEN));
        std::fs::write(dir.join("tokens.yaml"), tokens).unwrap();
        let rack = format!(
            "{hubs}\nzones: [{{name: shelf-1, slots: [r1/1/1, r1/1/2, r1/1/3], probes: {probes},\n\
             fans: {fans}}}]\n\
             nodes: {{n01: r1/1/1, n02: r1/1/2, n03: r1/1/3}}\n"
        );
        std::fs::write(dir.join("rack.yaml"), rack).unwrap();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        std::fs::write(dir.join("alerts.yaml"), "").unwrap();
        Self { dir, child: None, url: String::new(), client, arguments: Vec::new() }
    }

    /// Starts the process over the state there is, and waits until it listens.
    pub fn spawn(&mut self) {
        let file = |name: &str| self.dir.join(name).display().to_string();
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_roost-controller"))
            .args(["run", "--listen", "127.0.0.1:0", "--die-with-parent", "--state", &file("state")])
            .args(["--rack", &file("rack.yaml"), "--nodes", &file("nodes.yaml"), "--tokens", &file("tokens.yaml")])
            .args(["--alerts", &file("alerts.yaml")])
            .args(&self.arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(url) = line.trim().strip_prefix("listening on ") else {
            panic!("no address: {line:?}\n{}", self.log())
        };
        self.url = url.to_owned();
        self.child = Some(child);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM; returns how long it took to end and whether it ended well.
    pub fn terminate(&mut self) -> (Duration, bool) {
        let mut child = self.child.take().unwrap();
        let began = Instant::now();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let status = child.wait().unwrap();
        (began.elapsed(), status.success())
    }

    /// Processor time it has used.
    pub fn processor_time(&self) -> Duration {
        let pid = self.child.as_ref().expect("it runs").id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // Fields 14 and 15, counted behind the name, which ends with a parenthesis; hundredths of a second.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        Duration::from_millis(10) * (fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap())
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its base address, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A request without credentials.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A request of the admin.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(TOKEN)
    }

    /// GET as JSON; panics unless 200.
    pub async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path).send().await.unwrap();
        let (status, body) = parts(response).await;
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        parts(self.request(Method::POST, path).json(body).send().await.unwrap()).await
    }

    /// Stores a tiny erofs-looking image under an alias, different for every alias; returns its digest.
    pub async fn add_image(&self, alias: &str) -> String {
        let query = format!("/v1/images?alias={alias}&arch={}&format=erofs&init=/sbin/init", arch());
        let response = self.request(Method::POST, &query).body(image_bytes(alias)).send().await.unwrap();
        let (status, body) = parts(response).await;
        assert_eq!(status, 201, "{body}");
        body["digest"].as_str().unwrap().to_owned()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the controller ---\n{}", self.log());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The architecture that hand-made agents and images claim.
pub fn arch() -> &'static str {
    roost_types::Arch::native().as_str()
}

/// Bytes with EROFS's magic where it belongs.
pub fn image_bytes(salt: &str) -> Vec<u8> {
    let mut bytes = vec![0_u8; 4096];
    bytes[1024..1028].copy_from_slice(&[0xE2, 0xE1, 0xF5, 0xE0]);
    bytes.extend_from_slice(salt.as_bytes());
    bytes
}

/// Status and JSON body (or its text).
pub async fn parts(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// An agent made by hand: says what the test wants.
pub struct Agent<'c> {
    controller: &'c Controller,
    /// Its node.
    pub name: String,
    seq: u64,
    /// The generation it says it has.
    pub applied: u64,
    names: u64,
    /// Which start of the agent.
    pub agent_id: String,
}

impl<'c> Agent<'c> {
    /// An agent that has said hello: its node is ready.
    pub async fn join(controller: &'c Controller, name: &str) -> Self {
        let agent_id = format!("agent-{name}");
        let mut agent = Self { controller, name: name.to_owned(), seq: 0, applied: 0, names: 0, agent_id };
        let facts = json!({
            "arch": arch(), "cpu_millis": 2000, "memory_bytes": 1_u64 << 30, "disk_bytes": 8_u64 << 30, "kernel": "6.18",
            "agent_version": "test", "address": "10.99.0.1", "cgroup": "v1", "features": [], "images": []
        });
        let vitals = json!({"soc": 40.0, "soc_trip": null, "load": 0.1, "memory_available": 1_u64 << 29});
        let (status, body) = agent.sync(json!({"full": true, "facts": facts, "vitals": vitals})).await;
        assert_eq!(status, 200, "{body}");
        agent
    }

    /// One sync, `fields` over the defaults.
    pub async fn sync(&mut self, fields: Value) -> (u16, Value) {
        self.seq += 1;
        let mut body = json!({
            "boot_id": format!("boot-{}", self.name), "agent_id": self.agent_id, "seq": self.seq, "wait_ms": 0,
            "applied_generation": self.applied, "names_generation": self.names, "full": false, "facts": null, "vitals": null, "allocations": [], "gone": []
        });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        let request = self.controller.anonymous(Method::POST, "/agent/v1/sync").bearer_auth(secret(&self.name));
        let answer = parts(request.json(&body).send().await.unwrap()).await;
        self.names = answer.1["names"]["generation"].as_u64().unwrap_or(self.names);
        answer
    }

    /// Waits for a desired set that `wanted` likes, and takes it.
    pub async fn desired(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            assert!(Instant::now() < deadline, "the desired set did not come");
            let (status, body) = self.sync(json!({"wait_ms": 2000})).await;
            assert_eq!(status, 200, "{body}");
            if !body["desired"].is_null() {
                self.applied = body["generation"].as_u64().unwrap();
                if wanted(&body["desired"]) {
                    return body["desired"].clone();
                }
            }
        }
    }

    /// Reports an allocation of a desired set.
    pub async fn report(&mut self, spec: &Value, state: &str) -> (u16, Value) {
        self.report_generation(spec, state, spec["generation"].as_u64().unwrap()).await
    }

    /// Reports an allocation as of a generation.
    pub async fn report_generation(&mut self, spec: &Value, state: &str, generation: u64) -> (u16, Value) {
        let report = json!({
            "id": spec["id"], "generation": generation, "state": state, "reason": "", "restarts": 0,
            "started_at": "2026-11-24T08:00:00.000Z", "exit": null
        });
        self.sync(json!({"allocations": [report]})).await
    }
}
