//! What was acknowledged survives SIGKILL.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::rig::{Controller, TOKEN};

/// Kills here; the soak asks for more.
const KILLS: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_instance_is_lost_over_many_kills() {
    let mut controller = Controller::start();
    controller.add_image("busybox").await;
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    for round in 0..KILLS {
        let writers: Vec<_> = (0..4)
            .map(|writer| tokio::spawn(launch(controller.url().to_owned(), round, writer, Arc::clone(&acknowledged))))
            .collect();
        // Spread over the first moments of a burst of launches.
        tokio::time::sleep(Duration::from_millis(30 + round * 37 % 120)).await;
        controller.kill();
        for writer in writers {
            writer.await.unwrap();
        }
        controller.spawn();
        let known = names(&controller).await;
        let lost: Vec<_> = acknowledged.lock().unwrap().difference(&known).cloned().collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
    }
    let count = acknowledged.lock().unwrap().len();
    assert!(count as u64 > KILLS, "only {count} launches were acknowledged: the test shows nothing");
}

/// Launches until the controller is gone.
async fn launch(url: String, round: u64, writer: u32, acknowledged: Arc<Mutex<BTreeSet<String>>>) {
    let client = reqwest::Client::new();
    for number in 0.. {
        let name = format!("i-{round}-{writer}-{number}");
        let request = client.request(Method::POST, format!("{url}/v1/instances")).bearer_auth(TOKEN);
        match request.json(&json!({"image": "busybox", "name": name})).send().await {
            Ok(response) if response.status() == 202 => {
                acknowledged.lock().unwrap().insert(name);
            }
            Ok(response) => panic!("{name}: {}", response.status()),
            Err(_) => return,
        }
    }
}

async fn names(controller: &Controller) -> BTreeSet<String> {
    let (mut names, mut path) = (BTreeSet::new(), "/v1/instances?limit=1000".to_owned());
    loop {
        let page = controller.get(&path).await;
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/instances?limit=1000&cursor={cursor}"),
            None => return names,
        }
    }
}

#[tokio::test]
async fn a_controller_told_to_stop_ends_well_and_soon() {
    let mut controller = Controller::start();
    let _open =
        controller.request(Method::GET, "/v1/events").header("accept", "text/event-stream").send().await.unwrap();
    let (took, well) = controller.terminate();
    assert!(well && took < Duration::from_secs(6), "{took:?}\n{}", controller.log());
}
