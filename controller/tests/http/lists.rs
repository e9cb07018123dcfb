//! Pages, filters, repeated requests, preconditions.

use reqwest::Method;
use serde_json::json;

use crate::rig::{Agent, Controller, parts};

#[tokio::test]
async fn pages_hold_every_instance_once_and_in_order() {
    let controller = Controller::start();
    controller.add_image("busybox").await;
    for number in 0..25 {
        let (status, body) =
            controller.post("/v1/instances", &json!({"image": "busybox", "name": format!("w{number:02}")})).await;
        assert_eq!(status, 202, "{body}");
    }
    let (mut names, mut path, mut pages) = (Vec::new(), "/v1/instances?limit=10".to_owned(), 0);
    loop {
        let page = controller.get(&path).await;
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/instances?limit=10&cursor={cursor}");
    }
    names.sort();
    assert_eq!(names, (0..25).map(|number| format!("w{number:02}")).collect::<Vec<_>>());
    assert_eq!(pages, 3);
    let found = controller.get("/v1/instances?filter=name=w07").await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(controller.get("/v1/instances?filter=state=running").await["items"], json!([]));
    assert_eq!(controller.get("/v1/nodes?limit=2").await["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_repeated_request_does_nothing_new() {
    let controller = Controller::start();
    controller.add_image("busybox").await;
    let ask = async |body| {
        let request = controller.request(Method::POST, "/v1/instances").header("idempotency-key", "k1").json(&body);
        parts(request.send().await.unwrap()).await
    };
    let (first, operation) = ask(json!({"image": "busybox", "name": "web"})).await;
    let (again, same) = ask(json!({"image": "busybox", "name": "web"})).await;
    assert_eq!((first, again), (202, 202), "{same}");
    assert_eq!(operation["resource"], same["resource"]);
    let (status, body) = ask(json!({"image": "busybox", "name": "other"})).await;
    assert_eq!((status, body["code"].as_str()), (409, Some("idempotency_mismatch")), "{body}");
    assert_eq!(controller.get("/v1/instances").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn settings_change_only_for_those_who_know_the_newest() {
    let controller = Controller::start();
    let _agent = Agent::join(&controller, "n01").await;
    let shown = controller.request(Method::GET, "/v1/nodes/n01").send().await.unwrap();
    let etag = shown.headers()["etag"].to_str().unwrap().to_owned();
    let patch = async |etag: &str, labels| {
        let request = controller.request(Method::PATCH, "/v1/nodes/n01").header("if-match", etag);
        parts(request.json(&json!({"labels": labels})).send().await.unwrap()).await
    };
    let (status, body) = patch(&etag, json!({"disk": "ssd"})).await;
    assert_eq!((status, body["labels"]["disk"].as_str()), (200, Some("ssd")), "{body}");
    let (status, body) = patch(&etag, json!({"disk": "emmc"})).await;
    assert_eq!((status, body["code"].as_str()), (412, Some("precondition_failed")), "{body}");
    assert_eq!(controller.get("/v1/nodes/n01").await["labels"]["disk"], "ssd");
}
