//! Alerts: listed, acknowledged, and told to people who can be slow, broken or gone.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::inbox::{Inbox, MailServer, Posted, certificates, header};
use crate::rig::{Agent, Controller, parts};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What is not there within this never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps asking until there is an answer.
async fn within<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A board says how hot it is until its alert is as wished.
async fn heat(controller: &Controller, agent: &mut Agent<'_>, soc: f64, wished: impl Fn(&Value) -> bool) -> Value {
    let vitals = json!({"vitals": {"soc": soc, "soc_trip": null, "load": 0.1, "memory_available": 1_u64 << 29}});
    within("the alert does not become as wished", async || {
        agent.sync(vitals.clone()).await;
        let alerts = controller.get("/v1/alerts?filter=kind=heat,object=n01").await;
        alerts["items"].as_array().unwrap().last().filter(|alert| wished(alert)).cloned()
    })
    .await
}

/// The alert, once its newest message is in that state.
async fn delivered(controller: &Controller, alert: &Value, receiver: &str, state: &str) -> Value {
    let path = format!("/v1/alerts/{}", alert["id"].as_str().unwrap());
    within(&format!("no message to {receiver} is {state}"), async || {
        let alert = controller.get(&path).await;
        let deliveries = alert["deliveries"].as_array().unwrap();
        deliveries.iter().find(|delivery| delivery["receiver"] == receiver && delivery["state"] == state).cloned()
    })
    .await
}

/// What Standard Webhooks' receivers do.
fn signature_of(posted: &Posted) -> String {
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.", posted.header("webhook-id"), posted.header("webhook-timestamp")).as_bytes());
    mac.update(&posted.body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_broken_webhook_is_told_once_it_works_though_the_controller_was_killed_meanwhile() {
    let inbox = Inbox::open().await;
    inbox.set_broken(true);
    let alerts = format!("webhooks: [{{name: ops, url: '{}/T0PSECRET', secret_file: DIR/secret}}]", inbox.url);
    let mut controller = Controller::start_telling(&alerts, &[("secret", SECRET)]);
    let alert = {
        let mut agent = Agent::join(&controller, "n01").await;
        heat(&controller, &mut agent, 85.0, |alert| alert["state"] == "firing").await
    };
    within("it is not tried twice", async || (inbox.posted("/T0PSECRET").len() > 1).then_some(())).await;
    let delivery = controller.get("/v1/alerts/heat%2Fn01").await["deliveries"][0].clone();
    assert_eq!(
        (delivery["state"].as_str(), delivery["reason"].as_str()),
        (Some("waiting"), Some("fired")),
        "{delivery}"
    );
    controller.kill();
    inbox.set_broken(false);
    controller.spawn();
    let sent = delivered(&controller, &alert, "ops", "sent").await;
    assert!(sent["attempts"].as_u64().unwrap() > 1, "attempts are remembered: {sent}");

    let all = inbox.posted("/T0PSECRET");
    let first = &all[0];
    assert_eq!(first.header("content-type"), "application/json");
    for posted in &all {
        assert_eq!(posted.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(posted.body, first.body, "the same in every attempt");
        assert_eq!(posted.header("webhook-signature"), signature_of(posted));
    }
    let body = first.json();
    assert_eq!((body["type"].as_str(), &body["data"]["id"]), (Some("roost.alerts"), &sent["notice"]), "{body}");
    let told = &body["data"]["alerts"][0];
    assert_eq!(
        (&told["id"], told["key"].as_str(), told["reason"].as_str()),
        (&alert["id"], Some("heat/n01"), Some("fired"))
    );
    assert!(body["text"].as_str().unwrap().contains("node n01 is hot"), "{body}");

    // Worse, seen, over: each is told once. The board was heard anew, so that this agent is another.
    let mut agent = Agent::join(&controller, "n01").await;
    heat(&controller, &mut agent, 99.0, |alert| alert["severity"] == "critical").await;
    let reasons = |count: usize| {
        let inbox = inbox.clone();
        async move || {
            let taken = inbox.taken("/T0PSECRET");
            let reasons = taken.iter().map(|posted| posted.json()["data"]["alerts"][0]["reason"].clone());
            Some(reasons.collect::<Vec<_>>()).filter(|reasons| reasons.len() == count)
        }
    };
    within("nobody is told that it is worse", reasons(2)).await;
    let (status, seen) =
        controller.post("/v1/alerts/heat%2Fn01/acknowledge", &json!({"by": "ann", "comment": "on my way"})).await;
    assert_eq!((status, seen["acknowledged"]["by"].as_str()), (200, Some("ann")), "{seen}");
    within("nobody is told that it was seen", reasons(3)).await;
    heat(&controller, &mut agent, 40.0, |alert| alert["state"] == "resolved").await;
    let told = within("nobody is told that it is over", reasons(4)).await;
    assert_eq!(told, ["fired", "worsened", "acknowledged", "resolved"]);
    controller.kill();
    controller.spawn();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(inbox.taken("/T0PSECRET").len(), 4, "nothing is told twice after a restart");

    let events = controller.get("/v1/events?limit=1000").await;
    let has = |kind: &str| events["items"].as_array().unwrap().iter().any(|event| event["kind"] == kind);
    assert!(["alert-fired", "alert-changed", "alert-acknowledged", "alert-resolved"].into_iter().all(has), "{events}");
    let metrics = controller.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("roost_alert_notices_waiting{receiver=\"ops\"} 0"), "{metrics}");
    let shown = controller.get("/v1/alerts").await.to_string();
    for place in [controller.log(), shown, events.to_string(), metrics] {
        assert!(!place.contains("T0PSECRET") && !place.contains("MfKQ9r8"), "a secret is shown: {place}");
    }
}

#[tokio::test]
async fn who_is_slow_gone_or_moved_holds_up_nobody_else() {
    let inbox = Inbox::open().await;
    let hooks = ["slow", "gone", "moved", "ops"].map(|name| format!("{{name: {name}, url: '{}/{name}'}}", inbox.url));
    let controller = Controller::start_telling(&format!("webhooks: [{}]", hooks.join(", ")), &[]);
    let mut agent = Agent::join(&controller, "n01").await;
    let alert = heat(&controller, &mut agent, 85.0, |alert| alert["state"] == "firing").await;
    delivered(&controller, &alert, "ops", "sent").await;
    let gone = delivered(&controller, &alert, "gone", "failed").await;
    let moved = delivered(&controller, &alert, "moved", "failed").await;
    assert_eq!((gone["attempts"].as_u64(), moved["attempts"].as_u64()), (Some(1), Some(1)));
    assert!(gone["error"].as_str().unwrap().contains("status 410"), "{gone}");
    assert!(moved["error"].as_str().unwrap().contains("redirects are not followed"), "{moved}");
    assert_eq!(inbox.posted("/target").len(), 0);
    within("the slow one is asked", async || (inbox.posted("/slow").len() == 1).then_some(())).await;
    assert_eq!(delivered(&controller, &alert, "slow", "waiting").await["attempts"], 0);
    assert_eq!((inbox.posted("/gone").len(), inbox.posted("/moved").len()), (1, 1));

    let metrics = controller.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "roost_alerts{severity=\"warning\",state=\"firing\",kind=\"heat\"} 1",
        "roost_alert_notices_waiting{receiver=\"slow\"} 1",
        "roost_alert_attempts_total{receiver=\"ops\",outcome=\"sent\"} 1",
        "roost_alert_attempts_total{receiver=\"gone\",outcome=\"refused\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let events = controller.get("/v1/events?limit=1000").await.to_string();
    assert!(events.contains("alert-undelivered") && events.contains("gone was not told of 1 alert"), "{events}");
    let (status, tested) = controller.post("/v1/alerts/test", &json!({"receiver": "ops"})).await;
    assert_eq!((status, tested["items"][0]["delivered"].as_bool()), (200, Some(true)), "{tested}");
    assert_eq!(inbox.posted("/ops").last().unwrap().json()["type"], "roost.test");
    let (status, tested) = controller.post("/v1/alerts/test", &json!({"receiver": "gone"})).await;
    assert!(status == 200 && tested["items"][0]["detail"].as_str().unwrap().contains("410"), "{tested}");
    let (status, unknown) = controller.post("/v1/alerts/test", &json!({"receiver": "nobody"})).await;
    assert_eq!((status, unknown["field"].as_str()), (404, Some("receiver")), "{unknown}");
}

#[tokio::test]
async fn mail_goes_over_tls_with_a_password_and_again_when_it_was_put_off() {
    let dir = std::env::temp_dir().join(format!("roost-controller-mail-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    certificates(&dir);
    let (starttls, implicit) = (MailServer::start(&dir, "starttls", 1), MailServer::start(&dir, "implicit", 0));
    let ca = std::fs::read_to_string(dir.join("ca.pem")).unwrap();
    let entry = |name: &str, port: u16, rest: &str| {
        format!(
            "  - {{name: {name}, server: localhost, port: {port}, user: roost, password_file: DIR/{rest}, \
             from: 'Röost <roost@example.org>', to: [ann@example.org, bob@example.org]}}\n"
        )
    };
    let alerts = [
        "emails:\n".to_owned(),
        entry("mail", starttls.port, "password, ca_file: DIR/ca.pem"),
        entry("wrapped", implicit.port, "password, severity: critical, tls: implicit, ca_file: DIR/ca.pem"),
        entry("stranger", implicit.port, "password, severity: critical, tls: implicit"),
        entry("wrong", implicit.port, "wrong, severity: critical, tls: implicit, ca_file: DIR/ca.pem"),
    ];
    let files = [("password", "pass word\n"), ("wrong", "password\n"), ("ca.pem", &ca)];
    let controller = Controller::start_telling(&alerts.concat(), &files);
    let mut agent = Agent::join(&controller, "n01").await;
    let alert = heat(&controller, &mut agent, 85.0, |alert| alert["state"] == "firing").await;
    let sent = delivered(&controller, &alert, "mail", "sent").await;
    assert_eq!(sent["attempts"], 2);
    let (put_off, taken) = (starttls.mails("refused"), starttls.mails("eml"));
    assert_eq!((put_off.len(), taken.len()), (1, 1));
    let mail = &taken[0];
    assert_eq!(header(mail, "Message-ID"), format!("<{}@example.org>", sent["notice"].as_str().unwrap()));
    assert_eq!(header(mail, "Message-ID"), header(&put_off[0], "Message-ID"), "the same mail again");
    assert_eq!(header(mail, "X-Envelope-To"), "ann@example.org bob@example.org");
    assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
    assert!(
        header(mail, "Subject").starts_with("Roost: warning: node n01 is hot") || mail.contains("=?utf-8?"),
        "{mail}"
    );
    assert!(mail.contains("heat/n01 since"), "{mail}");

    let (status, tested) = controller.post("/v1/alerts/test", &json!({})).await;
    let items = tested["items"].as_array().unwrap();
    let delivered: Vec<_> =
        items.iter().map(|item| (item["receiver"].as_str().unwrap(), item["delivered"] == true)).collect();
    assert_eq!(status, 200);
    assert_eq!(delivered, [("mail", true), ("wrapped", true), ("stranger", false), ("wrong", false)], "{tested}");
    assert!(items[2]["detail"].as_str().unwrap().contains("certificate"), "{tested}");
    assert!(items[3]["detail"].as_str().unwrap().contains("535"), "{tested}");
    assert_eq!(implicit.mails("eml").len(), 1);
    assert!(!controller.log().contains("pass word"), "a password is logged");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn alerts_are_found_filtered_and_seen_by_id_or_key() {
    let controller = Controller::start_telling("", &[]);
    let mut agent = Agent::join(&controller, "n01").await;
    let alert = heat(&controller, &mut agent, 85.0, |alert| alert["state"] == "firing").await;
    assert_eq!((alert["kind"].as_str(), alert["object"].as_str()), (Some("heat"), Some("n01")));
    assert_eq!((alert["fires"].as_u64(), &alert["first_fired_at"]), (Some(1), &alert["fired_at"]));
    let count = async |filter: &str| {
        controller.get(&format!("/v1/alerts?filter={filter}")).await["items"].as_array().unwrap().len()
    };
    for (filter, found) in [
        ("state=firing,severity=warning", 1),
        ("state=acknowledged", 0),
        ("severity=critical", 0),
        ("kind=heat", 1),
        ("kind=hub", 0),
        ("object=n01,kind=heat,state=firing", 1),
        ("object=n02", 0),
    ] {
        assert_eq!(count(filter).await, found, "{filter}");
    }
    for filter in ["state=loud", "severity=", "colour=red", "state"] {
        let bad = controller.request(Method::GET, &format!("/v1/alerts?filter={filter}")).send().await.unwrap();
        let (status, body) = parts(bad).await;
        assert_eq!((status, body["field"].as_str()), (400, Some("filter")), "{filter}: {body}");
    }
    let id = alert["id"].as_str().unwrap();
    assert_eq!(controller.get(&format!("/v1/alerts/{id}")).await["id"], id);
    assert_eq!(controller.get("/v1/alerts/heat%2Fn01").await["id"], id);
    let path = format!("/v1/alerts/{id}/acknowledge");
    for (body, field) in [(json!({"by": "x".repeat(65)}), "by"), (json!({"comment": "x".repeat(501)}), "comment")] {
        let (status, problem) = controller.post(&path, &body).await;
        assert_eq!((status, problem["field"].as_str()), (400, Some(field)), "{problem}");
    }
    let unsaid = parts(controller.request(Method::POST, &path).send().await.unwrap()).await;
    assert_eq!((unsaid.0, unsaid.1["state"].as_str()), (200, Some("acknowledged")), "{}", unsaid.1);
    let (_, again) = controller.post(&path, &json!({"by": "bob"})).await;
    assert_eq!(again["acknowledged"]["by"], Value::Null, "the first one stays: {again}");
    let (status, missing) = controller.post("/v1/alerts/hub%2Fhub0/acknowledge", &json!({})).await;
    assert_eq!((status, missing["code"].as_str()), (404, Some("not_found")), "{missing}");
    let (status, nobody) = controller.post("/v1/alerts/test", &json!({})).await;
    assert_eq!((status, nobody["code"].as_str()), (409, Some("conflict")), "{nobody}");
}
