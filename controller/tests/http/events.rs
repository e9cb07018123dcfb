//! The live stream of events.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::json;

use crate::rig::{Agent, Controller};

/// Reads a stream until its text satisfies `enough`.
async fn read_until(response: &mut Response, enough: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(10), async {
        while !enough(&text) {
            text.push_str(&String::from_utf8_lossy(&response.chunk().await.unwrap().expect("the stream ended")));
        }
    })
    .await
    .unwrap_or_else(|_| panic!("this was all: {text}"));
    text
}

async fn stream(controller: &Controller, path: &str, last: Option<u64>) -> Response {
    let request = controller.request(Method::GET, path).header("accept", "text/event-stream");
    let request = last.into_iter().fold(request, |request, id| request.header("last-event-id", id));
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response
}

#[tokio::test]
async fn a_stream_replays_what_was_missed_and_then_goes_on_live() {
    let controller = Controller::start();
    controller.add_image("first").await;
    let all = controller.get("/v1/events?limit=1000").await;
    let all = all["items"].as_array().unwrap();
    let ids: Vec<u64> = all.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "numbered from 1 without gaps");
    let last = *ids.last().unwrap();

    let mut response = stream(&controller, "/v1/events", Some(last - 1)).await;
    let text = read_until(&mut response, |text| text.contains("image-created")).await;
    assert!(text.contains(&format!("id: {last}\n")), "{text}");
    assert!(!text.contains(&format!("id: {}\n", last - 1)), "{text}");
    controller.add_image("second").await;
    let text = read_until(&mut response, |text| text.contains("image-created")).await;
    assert!(text.contains(&format!("id: {}\n", last + 1)), "{text}");

    let page = controller.get(&format!("/v1/events?after={last}&limit=1")).await;
    assert_eq!(page["items"][0]["id"], json!(last + 1));
}

#[tokio::test]
async fn a_stream_shows_the_rack_when_it_changes() {
    let controller = Controller::start();
    let mut response = stream(&controller, "/v1/events", None).await;
    read_until(&mut response, |text| text.contains("event: rack\n")).await;
    let _agent = Agent::join(&controller, "n02").await;
    let ready = |text: &str| text.contains(r#""name":"n02","status":"ready""#);
    read_until(&mut response, ready).await;
}
