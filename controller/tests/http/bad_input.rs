//! Bad input: a stable code, the field named, nothing changed.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::Method;
use serde_json::{Value, json};

use crate::rig::{Agent, Controller, parts};

struct Case {
    body: String,
    status: u16,
    code: &'static str,
    field: Option<&'static str>,
}

fn case(body: impl ToString, status: u16, code: &'static str, field: Option<&'static str>) -> Case {
    Case { body: body.to_string(), status, code, field }
}

#[tokio::test]
async fn a_bad_launch_says_what_is_wrong_and_changes_nothing() {
    let controller = Controller::start();
    controller.add_image("busybox").await;
    let _agent = Agent::join(&controller, "n01").await;
    let (status, body) = controller.post("/v1/instances", &json!({"image": "busybox", "name": "taken"})).await;
    assert_eq!(status, 202, "{body}");
    let before = (controller.get("/v1/instances").await, last_event(&controller).await);

    let mut too_long = json!({"image": "busybox"});
    too_long["env"] = json!({"A": "x".repeat(70_000)});
    let table = [
        case("{", 400, "malformed_json", None),
        case("\u{7}", 400, "malformed_json", None),
        case("[".repeat(1000), 400, "malformed_json", None),
        case(json!([]), 400, "invalid_field", None),
        case(json!({}), 400, "missing_field", Some("image")),
        case(json!({"image": 7}), 400, "invalid_field", Some("image")),
        case(json!({"image": "busybox", "color": "red"}), 400, "unknown_field", Some("color")),
        case(json!({"image": "busybox", "constraints": {"nod": 1}}), 400, "unknown_field", Some("constraints.nod")),
        case(json!({"image": "busybox", "size": "huge"}), 400, "invalid_field", Some("size")),
        case(json!({"image": "busybox", "publish": ["0:80"]}), 400, "invalid_field", Some("publish[0]")),
        case(json!({"image": "busybox", "name": "../etc"}), 400, "invalid_name", Some("name")),
        case(json!({"image": "busybox", "name": "taken"}), 409, "name_taken", Some("name")),
        case(json!({"image": "nothing"}), 404, "unknown_image", Some("image")),
        case(
            json!({"image": "busybox", "cpu_millis": 1000, "memory_bytes": 64_u64 << 30}),
            422,
            "too_large",
            Some("memory_bytes"),
        ),
        case(too_long, 413, "body_too_large", None),
    ];
    for case in table {
        let request = controller.request(Method::POST, "/v1/instances").header("content-type", "application/json");
        let response = request.body(case.body.clone()).send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let (status, body) = parts(response).await;
        let shown: String = case.body.chars().take(100).collect();
        assert_eq!((status, body["code"].as_str()), (case.status, Some(case.code)), "{shown}: {body}");
        assert_eq!(kind, "application/problem+json", "{shown}");
        if case.field.is_some() {
            assert_eq!(body["field"].as_str(), case.field, "{shown}: {body}");
        }
    }
    assert_eq!((controller.get("/v1/instances").await, last_event(&controller).await), before);
}

async fn last_event(controller: &Controller) -> Value {
    controller.get("/v1/events?limit=1000").await["items"].as_array().unwrap().last().cloned().unwrap_or_default()
}

#[tokio::test]
async fn every_wrong_way_in_is_a_problem() {
    let controller = Controller::start();
    for (method, path, status, code) in [
        (Method::GET, "/v1/nothing", 404, "not_found"),
        (Method::POST, "/v1/nothing", 404, "not_found"),
        (Method::PUT, "/v1/instances", 405, "method_not_allowed"),
        (Method::GET, "/v1/instances/none", 404, "not_found"),
        (Method::GET, "/v1/nodes/none", 404, "not_found"),
        (Method::GET, "/v1/operations/none", 404, "not_found"),
        (Method::POST, "/v1/actions/none/approve", 404, "not_found"),
        (Method::POST, "/v1/actions/01a20db3-184d-73d8-8759-444305f7a706/approve", 404, "not_found"),
        (Method::GET, "/v1/actions?filter=kind=move", 400, "invalid_query"),
        (Method::GET, "/v1/instances?limit=0", 400, "invalid_query"),
        (Method::GET, "/v1/instances?limit=x", 400, "invalid_query"),
        (Method::GET, "/v1/instances?page=2", 400, "invalid_query"),
        (Method::GET, "/v1/instances?filter=colour=red", 400, "invalid_query"),
        (Method::GET, "/v1/instances/x/exec", 400, "invalid_query"),
        (Method::POST, "/v1/instances", 415, "unsupported_media_type"),
        (Method::POST, "/v1/images?alias=a", 400, "invalid_query"),
    ] {
        let response = controller.request(method.clone(), path).send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let (found, body) = parts(response).await;
        assert_eq!((found, body["code"].as_str()), (status, Some(code)), "{method} {path}: {body}");
        assert_eq!(kind, "application/problem+json", "{method} {path}");
    }
    let wrong = format!("/v1/images?alias=a&arch={}&format=squashfs", crate::rig::arch());
    let request = controller.request(Method::POST, &wrong).body(crate::rig::image_bytes("a"));
    let (status, body) = parts(request.send().await.unwrap()).await;
    assert_eq!((status, body["field"].as_str()), (400, Some("format")), "{body}");
    assert_eq!(controller.get("/v1/images").await["items"], json!([]));
}

#[tokio::test]
async fn who_still_sends_when_refused_is_told_why() {
    const BODY: usize = 4 << 20;
    let controller = Controller::start();
    let address = controller.url().trim_start_matches("http://").to_owned();
    let bearer = format!("authorization: Bearer {}\r\n", crate::rig::TOKEN);
    for (authorization, status) in [(bearer.as_str(), "413"), ("", "401")] {
        let mut stream = TcpStream::connect(&address).unwrap();
        let head = format!(
            "POST /v1/instances HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{authorization}\
             content-length: {BODY}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..BODY / 65_536 {
            stream.write_all(&[b'x'; 65_536]).expect("the connection is open until all is sent");
        }
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"));
    }
}

#[tokio::test]
async fn nobody_gets_in_without_the_right_credential() {
    let controller = Controller::start();
    let status = async |request: reqwest::RequestBuilder| parts(request.send().await.unwrap()).await;
    for path in ["/v1/", "/v1/instances", "/v1/events", "/v1/rack", "/agent/v1/sync"] {
        let method = if path.starts_with("/agent") { Method::POST } else { Method::GET };
        for request in [
            controller.anonymous(method.clone(), path),
            controller.anonymous(method.clone(), path).bearer_auth("wrong"),
            controller.anonymous(method.clone(), path).header("cookie", "roost_session=00"),
        ] {
            let (found, body) = status(request).await;
            assert_eq!((found, body["code"].as_str()), (401, Some("unauthorized")), "{path}: {body}");
        }
    }
    // A node's secret opens no user's route, and the admin's token no agent's.
    let as_node = controller.anonymous(Method::GET, "/v1/nodes").bearer_auth(crate::rig::secret("n01"));
    assert_eq!(status(as_node).await.0, 401);
    assert_eq!(status(controller.request(Method::POST, "/agent/v1/sync").json(&json!({}))).await.0, 401);
    for path in ["/healthz", "/readyz", "/openapi.json", "/"] {
        assert_eq!(controller.anonymous(Method::GET, path).send().await.unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_session_reads_and_writes_only_from_its_own_page() {
    let controller = Controller::start();
    let sign_in = |token: &str| controller.anonymous(Method::POST, "/v1/session").json(&json!({"token": token}));
    assert_eq!(sign_in("wrong").send().await.unwrap().status(), 401);
    let response = sign_in(crate::rig::TOKEN).send().await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let with = |method, path: &str| controller.anonymous(method, path).header("cookie", &cookie);
    assert_eq!(with(Method::GET, "/v1/rack").send().await.unwrap().status(), 200);
    let write = || with(Method::POST, "/v1/placements").json(&json!({"image": "none"}));
    assert_eq!(write().send().await.unwrap().status(), 403);
    assert_eq!(write().header("origin", "http://evil.example").send().await.unwrap().status(), 403);
    assert_eq!(write().header("origin", controller.url()).send().await.unwrap().status(), 404);
    with(Method::DELETE, "/v1/session").send().await.unwrap();
    assert_eq!(with(Method::GET, "/v1/rack").send().await.unwrap().status(), 401);
}
