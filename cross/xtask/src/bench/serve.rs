//! What serving costs: memory of agent and keeper, launches, lists and durable creates.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::bed::{Bed, URL};
use super::stats::{Figure, median, quantile};

/// Containers kept running for the memory figures.
const KEPT: u32 = 10;
/// Containers running for the agent's last figure.
const MANY: u32 = 50;
/// What is launched, each time.
const BODY: &str = r#"{"image":"busybox","command":["sleep","1000"]}"#;
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
    // A forked init shares pages with the keeper, which moves PSS from one to the other: only the sum means something.
    let each = inits.iter().map(|pid| kib(*pid, "Pss_Anon:")).collect::<Result<Vec<_>>>()?;
    let kept = (kib(bed.keeper()?, "Pss_Anon:")? - before + each.iter().sum::<f64>()) / f64::from(KEPT);
    figures.push(alone(
        "per running container, keeper's growth and tiny init, anonymous PSS",
        "KiB",
        kept,
        "R3: ≤ 64 KiB",
    ));
    figures.push(alone("agent with 10 containers, RSS", "KiB", kib(bed.agent(), "Rss:")?, "R4: ≤ 8 MiB with 50"));
    for _ in KEPT..MANY {
        bed.curl(&["-H", "Prefer: wait=20", "-d", BODY, &format!("{URL}/v1/instances")])?;
    }
    let running = children(bed.keeper()?)?.len();
    let what = format!("agent with {running} containers, RSS");
    figures.push(alone(&what, "KiB", kib(bed.agent(), "Rss:")?, "R4: ≤ 8 MiB with 50"));
    figures.push(alone(&what.replace("RSS", "PSS"), "KiB", kib(bed.agent(), "Pss:")?, "–"));
    figures.extend(lists(&bed)?);
    figures.extend(creates(&bed, work)?);
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
    let mut times = Vec::new();
    for run in 0..=LAUNCHES {
        let url = format!("{URL}/v1/instances");
        let arguments = ["-H", "Prefer: wait=20", "-d", BODY, "-w", "\n%{time_total} %{http_code}", &url];
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
    Ok((times, children(bed.keeper()?)?))
}

/// Processes whose parent is this one.
fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let of = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        if of == Some(parent) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// A list from cached bytes against one that is serialised for each request (and is shorter: about 300 bytes an item).
fn lists(bed: &Bed) -> Result<Vec<Figure>> {
    for _ in 0..100 - MANY {
        bed.curl(&["-d", BODY, &format!("{URL}/v1/instances")])?;
    }
    let cached = wrk(bed, &[&format!("{URL}/v1/instances?limit=100")])?;
    let serialised = wrk(bed, &[&format!("{URL}/v1/operations?limit=100")])?;
    Ok(vec![Figure {
        what: "GET /v1/instances of 100, cached bytes".to_owned(),
        unit: "requests/s",
        ours: cached.rate,
        peers: vec![("GET /v1/operations of 100, serialised for each request", serialised.rate)],
        target: "C2",
    }])
}

/// Durable launches a second at 64 connections. No node has room: this is the controller alone.
fn creates(bed: &Bed, work: &Path) -> Result<Vec<Figure>> {
    let script = work.join("create.lua");
    let request = r#"wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"image":"busybox","command":["sleep","1000"]}'
"#;
    fs::write(&script, request)?;
    let created = wrk(bed, &["-c", "64", "-s", &script.display().to_string(), &format!("{URL}/v1/instances")])?;
    let what = "POST /v1/instances, durable (SQLite, FULL), 64 connections";
    Ok(vec![
        alone(what, "requests/s", created.rate, "C3: ≥ 3,000"),
        alone(&format!("{what}, median"), "ms", created.p50, "–"),
        alone(&format!("{what}, p99"), "ms", created.p99, "C3: ≤ 50 ms"),
    ])
}

/// What wrk saw: requests a second, and milliseconds that half and 99 % of them took at most.
struct Load {
    rate: f64,
    p50: f64,
    p99: f64,
}

/// Five seconds of requests.
fn wrk(bed: &Bed, arguments: &[&str]) -> Result<Load> {
    let authorization = Bed::authorization();
    let mut all = vec!["-t", "1", "-d", "5s", "--latency", "-H", &authorization];
    all.extend_from_slice(arguments);
    let output = bed.run("wrk", &all)?;
    let text = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(!text.contains("Non-2xx"), "{text}");
    let after = |label: &str| -> Result<&str> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label));
        line.map(str::trim).with_context(|| format!("wrk printed no {label}"))
    };
    Ok(Load {
        rate: after("Requests/sec:")?.parse()?,
        p50: milliseconds(after("50%")?)?,
        p99: milliseconds(after("99%")?)?,
    })
}

/// A time as wrk prints it: `870.00us`, `1.20ms`, `2.00s`.
fn milliseconds(text: &str) -> Result<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0)];
    let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = found.with_context(|| format!("not a time: {text}"))?;
    Ok(number.parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn times_of_wrk_are_understood() {
        for (text, ms) in [("870.00us", 0.87), ("1.20ms", 1.2), ("2.00s", 2000.0)] {
            assert!((milliseconds(text).expect("a time") - ms).abs() < 1e-9, "{text}");
        }
        assert!(milliseconds("fast").is_err());
    }
}
