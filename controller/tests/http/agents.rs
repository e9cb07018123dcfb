//! Agents: what they are told, what they say, and what they may not.

use std::time::{Duration, Instant};

use reqwest::Method;
use roost_types::stream::channel;
use serde_json::json;

use crate::rig::{Agent, Controller, TOKEN, image_bytes, parts, secret};

#[tokio::test]
async fn a_launch_reaches_the_agent_and_its_report_the_user() {
    let controller = Controller::start();
    let digest = controller.add_image("busybox").await;
    let mut agent = Agent::join(&controller, "n01").await;

    let body = json!({"image": "busybox", "name": "web", "publish": ["18080:80"], "command": ["httpd", "-f"]});
    let launch = controller.request(Method::POST, "/v1/instances").header("prefer", "wait=10").json(&body).send();
    let work = async {
        let set = agent.desired(|set| set["allocations"][0]["desired"] == "running").await;
        let spec = set["allocations"][0].clone();
        assert_eq!((spec["name"].as_str(), spec["image"].as_str()), (Some("web"), Some(digest.as_str())));
        let (status, _) = agent.report_generation(&spec, "failed", spec["generation"].as_u64().unwrap() - 1).await;
        assert_eq!(status, 200, "a stale report is dropped and no error");
        assert_ne!(controller.get("/v1/instances/web").await["state"], "failed");
        agent.report(&spec, "running").await;
        spec
    };
    let (response, spec) = tokio::join!(launch, work);
    let (status, instance) = parts(response.unwrap()).await;
    assert_eq!((status, instance["state"].as_str()), (201, Some("running")), "{instance}");
    assert_eq!(instance["node"], "n01");
    assert_eq!(instance["allocation"], spec["id"]);

    let (status, operation) = controller.post("/v1/instances/web/stop", &json!({})).await;
    assert_eq!(status, 202, "{operation}");
    let set = agent.desired(|set| set["allocations"][0]["desired"] == "stopped").await;
    agent.report(&set["allocations"][0], "stopped").await;
    assert_eq!(controller.get("/v1/instances/web").await["state"], "stopped");
    let path = format!("/v1/operations/{}/wait?timeout=5", operation["id"].as_str().unwrap());
    assert_eq!(controller.get(&path).await["status"], "succeeded");
}

#[tokio::test]
async fn a_poll_is_held_until_there_is_news() {
    let controller = Controller::start();
    controller.add_image("busybox").await;
    let mut agent = Agent::join(&controller, "n01").await;
    agent.desired(|_| true).await;
    let began = Instant::now();
    agent.sync(json!({"wait_ms": 700})).await;
    assert!(began.elapsed() >= Duration::from_millis(650), "{:?}", began.elapsed());
    agent.sync(json!({"wait_ms": 0})).await;
    assert!(began.elapsed() < Duration::from_millis(1200), "a report is answered at once");

    let began = Instant::now();
    let launch = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        controller.post("/v1/instances", &json!({"image": "busybox", "name": "web"})).await
    };
    let (poll, _) = tokio::join!(agent.sync(json!({"wait_ms": 2000})), launch);
    assert!(poll.1["desired"]["allocations"][0]["name"] == "web", "{}", poll.1);
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_node_speaks_only_of_its_own() {
    let controller = Controller::start();
    controller.add_image("busybox").await;
    let mut mine = Agent::join(&controller, "n01").await;
    controller.post("/v1/instances", &json!({"image": "busybox", "name": "web"})).await;
    let set = mine.desired(|set| !set["allocations"].as_array().unwrap().is_empty()).await;
    let spec = &set["allocations"][0];
    let mut other = Agent::join(&controller, "n02").await;
    other.report(spec, "failed").await;
    other.sync(json!({"gone": [spec["id"]]})).await;
    let web = controller.get("/v1/instances/web").await;
    assert_eq!((web["node"].as_str(), web["allocation"].as_str()), (Some("n01"), spec["id"].as_str()), "{web}");
    assert_ne!(web["state"], "failed");
    let layer = format!("/agent/v1/layers/{}", spec["id"].as_str().unwrap());
    let response = controller.anonymous(Method::GET, &layer).bearer_auth(secret("n02")).send().await.unwrap();
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn user_data_is_given_to_the_node_that_has_the_instance_and_to_nobody_else() {
    let controller = Controller::start();
    controller.add_image("busybox").await;
    let mut mine = Agent::join(&controller, "n01").await;
    // Longer than any other request may be: every character becomes two.
    let data = format!("#!/bin/sh\n{}", "\"".repeat(60_000));
    let body = json!({"image": "busybox", "name": "web", "user_data": data});
    assert_eq!(controller.post("/v1/instances", &body).await.0, 202);
    let set = mine.desired(|set| !set["allocations"].as_array().unwrap().is_empty()).await;
    let spec = &set["allocations"][0];
    assert_eq!(spec["first_boot"], true);
    assert!(spec.get("user_data").is_none(), "it is fetched once, and not part of every desired set");
    let path = format!("/agent/v1/allocations/{}/first-boot", spec["id"].as_str().unwrap());
    let get = |token: String| controller.anonymous(Method::GET, &path).bearer_auth(token).send();
    let (status, given) = parts(get(secret("n01")).await.unwrap()).await;
    assert_eq!((status, given["user_data"].as_str()), (200, Some(data.as_str())));
    assert_eq!(get(secret("n02")).await.unwrap().status(), 404);
    assert_eq!(get(TOKEN.to_owned()).await.unwrap().status(), 401, "a user has no business here");
    assert!(controller.get("/v1/instances/web").await.get("user_data").is_none());
}

#[tokio::test]
async fn an_image_is_served_by_digest_and_by_range() {
    let controller = Controller::start();
    let digest = controller.add_image("busybox").await;
    let bytes = image_bytes("busybox");
    let get = |path: String| controller.anonymous(Method::GET, &path).bearer_auth(secret("n01"));
    let whole = get(format!("/agent/v1/images/{digest}")).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(whole, bytes);
    let part = get(format!("/agent/v1/images/{digest}")).header("range", "bytes=1024-1027").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], format!("bytes 1024-1027/{}", bytes.len()));
    assert_eq!(part.bytes().await.unwrap(), bytes[1024..1028]);
    for name in ["busybox".to_owned(), format!("sha256:{}", "0".repeat(64)), "..%2froost.db".to_owned()] {
        assert_eq!(get(format!("/agent/v1/images/{name}")).send().await.unwrap().status(), 404, "{name}");
    }
    let (status, _) = parts(controller.request(Method::DELETE, "/v1/images/busybox").send().await.unwrap()).await;
    assert_eq!(status, 204);
    assert_eq!(get(format!("/agent/v1/images/{digest}")).send().await.unwrap().status(), 404);
    assert!(!controller.dir().join("state/images").join(&digest["sha256:".len()..]).exists());
}

#[tokio::test]
async fn logs_and_exec_come_over_the_stream_that_the_agent_dials() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    let controller = Controller::start();
    controller.add_image("busybox").await;
    let mut agent = Agent::join(&controller, "n01").await;
    controller.post("/v1/instances", &json!({"image": "busybox", "name": "web"})).await;
    let set = agent.desired(|set| !set["allocations"].as_array().unwrap().is_empty()).await;
    agent.report(&set["allocations"][0], "running").await;

    let socket = async |path: &str, token: &str| {
        let mut request = format!("{}{path}", controller.url().replace("http", "ws")).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        tokio_tungstenite::connect_async(request).await.unwrap().0
    };
    let end = |text: &str| {
        let mut bytes = vec![channel::END];
        bytes.extend_from_slice(text.as_bytes());
        Message::Binary(bytes.into())
    };

    let logs = controller.request(Method::GET, "/v1/instances/web/logs?tail=5").send();
    let serve = async {
        let (_, body) = agent.sync(json!({"wait_ms": 2000})).await;
        let stream = &body["streams"][0];
        assert_eq!((stream["kind"].as_str(), stream["tail"].as_u64()), (Some("logs"), Some(5)), "{body}");
        let path = format!("/agent/v1/streams/{}", stream["id"].as_str().unwrap());
        let mut agents = socket(&path, &secret("n01")).await;
        agents.send(Message::Binary(b"\x01hello\n".to_vec().into())).await.unwrap();
        agents.send(end(r#"{"exit":null,"error":null}"#)).await.unwrap();
    };
    let (response, ()) = tokio::join!(logs, serve);
    assert_eq!(response.unwrap().text().await.unwrap(), "hello\n");

    let user = socket("/v1/instances/web/exec?command=cat&stdin=true", TOKEN);
    let dialled = async {
        let (_, body) = agent.sync(json!({"wait_ms": 2000})).await;
        let path = format!("/agent/v1/streams/{}", body["streams"][0]["id"].as_str().unwrap());
        socket(&path, &secret("n01")).await
    };
    let (mut user, mut agents) = tokio::join!(user, dialled);
    user.send(Message::Binary(b"\x00abc".to_vec().into())).await.unwrap();
    assert_eq!(agents.next().await.unwrap().unwrap().into_data(), &b"\x00abc"[..]);
    agents.send(Message::Binary(b"\x01abc".to_vec().into())).await.unwrap();
    assert_eq!(user.next().await.unwrap().unwrap().into_data(), &b"\x01abc"[..]);
    agents.send(end("{}")).await.unwrap();
    agents.close(None).await.unwrap();
    assert_eq!(user.next().await.unwrap().unwrap().into_data()[0], channel::END);
    assert!(matches!(user.next().await, Some(Ok(Message::Close(_))) | None));
}
