//! Actions against heat that a person approves.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::{Agent, Controller};

fn at(celsius: f64) -> Value {
    json!({"vitals": {"soc": celsius, "soc_trip": null, "load": 0.5, "memory_available": 1_u64 << 29}})
}

#[tokio::test]
async fn a_move_is_proposed_with_its_numbers_and_done_when_approved() {
    let controller = Controller::start_recommending();
    controller.add_image("busybox").await;
    let mut hot = Agent::join(&controller, "n01").await;
    controller.post("/v1/instances", &json!({"image": "busybox", "name": "web", "command": ["httpd"]})).await;
    let set = hot.desired(|set| set["allocations"][0]["desired"] == "running").await;
    hot.report(&set["allocations"][0], "running").await;
    let mut cool = Agent::join(&controller, "n02").await;
    assert_eq!(controller.get("/v1/rack").await["mode"], "recommend");
    assert_eq!(controller.get("/v1/actions").await["items"], json!([]));

    let deadline = Instant::now() + Duration::from_secs(20);
    let action = loop {
        hot.sync(at(85.0)).await;
        cool.sync(at(40.0)).await;
        if let Some(action) = controller.get("/v1/actions").await["items"].get(0).cloned() {
            break action;
        }
        assert!(Instant::now() < deadline, "nothing is proposed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!((action["kind"].as_str(), action["subject"].as_str()), (Some("move"), Some("/v1/instances/web")));
    let message = action["message"].as_str().unwrap();
    assert!(message.contains("move web away from n01") && message.contains("85.0 °C ≥ hot 80.0 °C"), "{message}");
    assert_eq!(controller.get("/v1/instances/web").await["node"], "n01", "it was moved unasked");

    let path = format!("/v1/actions/{}/approve", action["id"].as_str().unwrap());
    let (status, body) = controller.post(&path, &json!({})).await;
    assert_eq!(status, 204, "{body}");
    assert_eq!(controller.get("/v1/instances/web").await["node"], "n02");
    let (status, body) = controller.post(&path, &json!({})).await;
    assert_eq!((status, body["code"].as_str()), (404, Some("not_found")), "approved twice: {body}");
}
