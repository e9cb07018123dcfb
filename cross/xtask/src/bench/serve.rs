//! What serving costs: memory of agent and keeper, launches, lists and durable creates.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::bed::{Bed, URL};
use super::stats::{Figure, median, quantile};

/// Containers kept running for the memory figures.
const KEPT: u32 = 10;
/// Launches whose time is taken.
const LAUNCHES: usize = 30;

/// Measures all on one bed.
pub fn figures(work: &Path) -> Result<Vec<Figure>> {
    let bed = Bed::start(work)?;
    let mut figures = Vec::new();
    std::thread::sleep(std::time::Duration::from_secs(3));
    figures.push(alone("agent idle, PSS", "KiB", kib(bed.agent(), "Pss:")?, "R4: ≤ 4 MiB"));
    figures.push(alone("agent idle, RSS", "KiB", kib(bed.agent(), "Rss:")?, "R4: ≤ 6 MiB"));
    let before = kib(bed.keeper()?, "Pss_Anon:")?;
    let (latencies, inits) = launches(&bed)?;
    figures.push(alone("POST to running, image cached, median", "ms", median(&latencies), "C6: p50 ≤ 25 ms"));
    figures.push(alone("POST to running, image cached, p99", "ms", quantile(&latencies, 0.99), "C6: p99 ≤ 100 ms"));
    let grown = (kib(bed.keeper()?, "Pss_Anon:")? - before) / f64::from(KEPT);
    let each = inits.iter().map(|pid| kib(*pid, "Pss_Anon:")).collect::<Result<Vec<_>>>()?;
    figures.push(alone("per running container, keeper's growth, PSS", "KiB", grown, "R3: ≤ 64 KiB in all"));
    figures.push(alone("per running container, its tiny init, PSS", "KiB", median(&each), "R3: ≤ 64 KiB in all"));
    figures.push(alone("agent with 10 containers, RSS", "KiB", kib(bed.agent(), "Rss:")?, "R4: ≤ 8 MiB with 50"));
    figures.extend(lists(&bed)?);
    figures.push(creates(&bed, work)?);
    figures.push(alone("controller after that, RSS", "MiB", kib(bed.controller(), "Rss:")? / 1024.0, "C4"));
    Ok(figures)
}

fn alone(what: &str, unit: &'static str, ours: f64, target: &'static str) -> Figure {
    Figure { what: what.to_owned(), unit, ours, peers: Vec::new(), target }
}

/// A line of a process's memory, in KiB.
fn kib(pid: u32, field: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).context("a kernel without this field")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Launches one after the other; all but the last [`KEPT`] are deleted at once. Times in ms, and the inits of those kept.
fn launches(bed: &Bed) -> Result<(Vec<f64>, Vec<u32>)> {
    let body = r#"{"image":"busybox","command":["sleep","1000"]}"#;
    let (mut times, mut inits) = (Vec::new(), Vec::new());
    for run in 0..=LAUNCHES {
        let url = format!("{URL}/v1/instances");
        let arguments = ["-H", "Prefer: wait=20", "-d", body, "-w", "\n%{time_total} %{http_code}", &url];
        let answer = bed.curl(&arguments)?;
        let (instance, figures) = answer.rsplit_once('\n').context("no figures")?;
        let (seconds, status) = figures.split_once(' ').context("no status")?;
        anyhow::ensure!(matches!(status, "200" | "201"), "a launch was not done in time: {answer}");
        let instance: serde_json::Value = serde_json::from_str(instance)?;
        // The first fetches the image.
        if run > 0 {
            times.push(seconds.parse::<f64>()? * 1000.0);
        }
        if run + usize::try_from(KEPT)? > LAUNCHES {
            continue;
        }
        let name = instance["name"].as_str().context("no name")?;
        bed.curl(&["-X", "DELETE", "-H", "Prefer: wait=20", &format!("{url}/{name}")])?;
    }
    let keeper = bed.keeper()?;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        if parent == Some(keeper) {
            inits.push(pid);
        }
    }
    Ok((times, inits))
}

/// A list from cached bytes against one that is serialised for each request (and is shorter: about 300 bytes an item).
fn lists(bed: &Bed) -> Result<Vec<Figure>> {
    for _ in 0..100 - KEPT {
        bed.curl(&["-d", r#"{"image":"busybox","command":["sleep","1000"]}"#, &format!("{URL}/v1/instances")])?;
    }
    let cached = wrk(bed, &[&format!("{URL}/v1/instances?limit=100")])?;
    let serialised = wrk(bed, &[&format!("{URL}/v1/operations?limit=100")])?;
    Ok(vec![Figure {
        what: "GET /v1/instances of 100, cached bytes".to_owned(),
        unit: "requests/s",
        ours: cached,
        peers: vec![("GET /v1/operations of 100, serialised for each request", serialised)],
        target: "C2",
    }])
}

/// Durable launches a second at 64 connections. No node has room: this is the controller alone.
fn creates(bed: &Bed, work: &Path) -> Result<Figure> {
    let script = work.join("create.lua");
    let request = r#"wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"image":"busybox","command":["sleep","1000"]}'
"#;
    fs::write(&script, request)?;
    let created = wrk(bed, &["-c", "64", "-s", &script.display().to_string(), &format!("{URL}/v1/instances")])?;
    Ok(alone("POST /v1/instances, durable (SQLite, FULL), 64 connections", "requests/s", created, "C3: ≥ 3,000"))
}

/// Requests a second over five seconds.
fn wrk(bed: &Bed, arguments: &[&str]) -> Result<f64> {
    let authorization = Bed::authorization();
    let mut all = vec!["-t", "1", "-d", "5s", "-H", &authorization];
    all.extend_from_slice(arguments);
    let output = bed.run("wrk", &all)?;
    let text = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(!text.contains("Non-2xx"), "{text}");
    let line =
        text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")).context("wrk printed no rate")?;
    Ok(line.trim().parse()?)
}
