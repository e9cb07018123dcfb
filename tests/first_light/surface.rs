//! The API's contract from outside: what it refuses, what it says of itself, whom it lets in.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use roost_tests::rack::Rack;
use roost_types::{Instance, Node, Placement};
use serde_json::{Value, json};

/// A body that is refused: what it is, the status, the stable code, and the field at fault.
type Refused = (String, u16, &'static str, Option<&'static str>);

fn table() -> Vec<Refused> {
    let refused = |body: Value, status, code, field| (body.to_string(), status, code, field);
    vec![
        ("{\"image\": ".to_owned(), 400, "malformed_json", None),
        refused(json!({}), 400, "missing_field", Some("image")),
        refused(json!({"image": "busybox", "colour": 1}), 400, "unknown_field", Some("colour")),
        refused(
            json!({"image": "busybox", "constraints": {"zone": 1}}),
            400,
            "unknown_field",
            Some("constraints.zone"),
        ),
        refused(json!({"image": 7}), 400, "invalid_field", Some("image")),
        refused(json!({"image": "busybox", "cpu_millis": "many"}), 400, "invalid_field", Some("cpu_millis")),
        refused(json!({"image": "busybox", "cpu_millis": -5}), 400, "invalid_field", Some("cpu_millis")),
        refused(json!(["busybox"]), 400, "invalid_field", None),
        refused(json!({"image": "busybox", "priority": 101}), 400, "invalid_field", Some("priority")),
        (String::new(), 400, "malformed_json", None),
        refused(
            json!({"image": "busybox", "constraints": {"node": "n99"}}),
            400,
            "invalid_field",
            Some("constraints.node"),
        ),
        refused(json!({"image": "busybox", "name": "Not A Name"}), 400, "invalid_name", Some("name")),
        refused(json!({"image": "busybox", "size": "huge"}), 400, "invalid_field", Some("size")),
        refused(json!({"image": "busybox", "publish": ["0:80"]}), 400, "invalid_field", Some("publish[0]")),
        refused(json!({"image": "no-such-image"}), 404, "unknown_image", Some("image")),
        refused(json!({"image": "busybox", "name": "taken"}), 409, "name_taken", Some("name")),
        refused(json!({"image": "busybox", "env": {"A": "x".repeat(1_000_000)}}), 413, "body_too_large", None),
        refused(
            json!({"image": "busybox", "cpu_millis": 100, "memory_bytes": 1_u64 << 40}),
            422,
            "too_large",
            Some("memory_bytes"),
        ),
        refused(
            json!({"image": "busybox", "cpu_millis": 64_000, "memory_bytes": 64 << 20}),
            422,
            "too_large",
            Some("cpu_millis"),
        ),
    ]
}

pub fn bad_input_is_named_and_changes_nothing(rack: &Rack) -> Result<()> {
    rack.roost(&["launch", "busybox", "taken", "--", "sleep", "1000"])?;
    let before = (rack.api.list::<Instance>("/v1/instances")?, rack.api.newest_event()?);
    for (body, status, code, field) in table() {
        let shown: String = body.chars().take(80).collect();
        let answer = rack.api.send(Method::POST, "/v1/instances", Some(body))?;
        let problem = answer.json()?;
        ensure!(answer.content_type == "application/problem+json", "{shown}: {}", answer.content_type);
        ensure!((answer.status, problem["code"].as_str()) == (status, Some(code)), "{shown}: {}", answer.body);
        ensure!(problem["field"].as_str() == field, "{shown}: {}", answer.body);
        if code == "too_large" {
            let detail = problem["detail"].as_str().unwrap_or_default();
            let (dimension, most) = largest(rack, field)?;
            ensure!(detail.contains(dimension) && detail.contains(&most), "not {dimension} and {most}: {detail}");
        }
    }
    ensure!((rack.api.list::<Instance>("/v1/instances")?, rack.api.newest_event()?) == before, "something changed");
    Ok(())
}

/// What a dimension is called, and the most of it that any board has, as a person reads it.
fn largest(rack: &Rack, field: Option<&str>) -> Result<(&'static str, String)> {
    let nodes: Vec<Node> = rack.api.list("/v1/nodes")?;
    let most = |amount: fn(&Node) -> u64| nodes.iter().map(amount).max().context("no nodes");
    Ok(match field {
        Some("cpu_millis") => ("cpu", format!("{} m", most(|node| u64::from(node.capacity.cpu_millis))?)),
        _ => ("memory", format!("{} MiB", most(|node| node.capacity.memory_bytes.0 >> 20)?)),
    })
}

/// A request that is refused before its body counts: method, path, headers, the status and the code.
type Astray<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], u16, &'a str);

pub fn a_request_gone_astray_is_a_problem_like_others(rack: &Rack) -> Result<()> {
    let before = (rack.api.list::<Instance>("/v1/instances")?, rack.api.newest_event()?);
    let token = rack.api.authorization();
    let (let_in, is_json) = (("authorization", token.as_str()), ("content-type", "application/json"));
    let wrong = ("authorization", "Bearer wrong");
    let requests: [Astray; 11] = [
        (Method::GET, "/v1/nonsense", &[let_in], 404, "not_found"),
        (Method::GET, "/v1/instances/none", &[let_in], 404, "not_found"),
        (Method::DELETE, "/v1/instances/none", &[let_in], 404, "not_found"),
        (Method::PUT, "/v1/instances", &[let_in, is_json], 405, "method_not_allowed"),
        (Method::DELETE, "/v1/instances", &[let_in], 405, "method_not_allowed"),
        (Method::GET, "/v1/instances?limit=many", &[let_in], 400, "invalid_query"),
        (Method::POST, "/v1/instances", &[is_json], 401, "unauthorized"),
        (Method::POST, "/v1/instances", &[is_json, wrong], 401, "unauthorized"),
        (Method::POST, "/v1/instances", &[let_in], 415, "unsupported_media_type"),
        (Method::POST, "/v1/instances", &[let_in, ("content-type", "text/plain")], 415, "unsupported_media_type"),
        (
            Method::POST,
            "/v1/instances",
            &[let_in, ("content-type", "application/x-www-form-urlencoded")],
            415,
            "unsupported_media_type",
        ),
    ];
    for (method, path, headers, status, code) in requests {
        // With the right headers, this body would launch an instance.
        let body = (method == Method::POST).then(|| json!({"image": "busybox"}).to_string());
        let shown =
            format!("{method} {path} {:?}", headers.iter().filter(|header| **header != let_in).collect::<Vec<_>>());
        let answer = rack.api.send_bare(method, path, headers, body)?;
        ensure!(answer.content_type == "application/problem+json", "{shown}: {answer:?}");
        let said = answer.json()?["code"].as_str().map(str::to_owned);
        ensure!((answer.status, said.as_deref()) == (status, Some(code)), "{shown}: {answer:?}");
    }
    ensure!((rack.api.list::<Instance>("/v1/instances")?, rack.api.newest_event()?) == before, "something changed");
    Ok(())
}

pub fn the_committed_document_is_served(rack: &Rack) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/openapi.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let committed: Value = serde_json::from_str(&text)?;
    let served = rack.api.anonymous("/openapi.json")?.json()?;
    ensure!(served == committed, "docs/reference/openapi.json is not what the controller serves");
    // The document names the paths that answer.
    let paths = served["paths"].as_object().context("no paths")?;
    for path in ["/v1/instances", "/v1/nodes", "/v1/rack", "/v1/hubs", "/v1/images", "/v1/operations", "/v1/events"] {
        ensure!(paths.contains_key(path), "{path} is not in the document");
        ensure!(rack.api.send(Method::GET, path, None)?.status == 200, "{path} does not answer");
    }
    Ok(())
}

pub fn nobody_gets_in_without_a_token(rack: &Rack) -> Result<()> {
    for path in ["/v1/instances", "/v1/rack", "/v1/events", "/v1/nodes"] {
        let answer = rack.api.anonymous(path)?;
        ensure!(answer.status == 401 && answer.json()?["code"] == "unauthorized", "{path}: {answer:?}");
    }
    ensure!(rack.api.anonymous("/")?.status == 200, "the dashboard's own files need no token");
    Ok(())
}

pub fn a_dry_run_places_nothing(rack: &Rack) -> Result<()> {
    let before = rack.api.newest_event()?;
    let answer = rack.api.post("/v1/placements", &json!({"image": "busybox", "size": "nano"}))?;
    let placement: Placement = serde_json::from_str(&answer.body)?;
    ensure!(placement.node.is_some() && placement.evaluated == crate::BOARDS, "{placement:?}");
    ensure!(rack.api.list::<Instance>("/v1/instances")?.is_empty(), "a dry run left an instance");
    ensure!(rack.api.newest_event()? == before, "a dry run left an event");
    Ok(())
}
