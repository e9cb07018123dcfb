//! A hub's line over a pty: good frames become readings; garbage is counted and never is one.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use roost_protocol::{Ack, AckCode, Fan, Frame, Hello, Reading, Status};
use serde_json::Value;

use crate::rig::Controller;

/// A pretended hub: the master side of a pty, with a symlink to the other side. Closed in children, so that the line
/// closes with this.
struct Hub {
    master: PtyMaster,
    seq: u16,
}

impl Hub {
    fn plug(link: &Path) -> Self {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        // One that was there before is replaced.
        let _ = std::fs::remove_file(link);
        std::os::unix::fs::symlink(ptsname_r(&master).unwrap(), link).unwrap();
        Self { master, seq: 0 }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.master.write_all(bytes).unwrap();
    }

    fn hello(&mut self) {
        self.seq += 1;
        let firmware = roost_protocol::Text::new(b"roost-hub/0.1.0").unwrap();
        let capabilities = roost_protocol::Text::new(b"sht31").unwrap();
        let hello = Hello { seq: self.seq, version: 1, firmware, capabilities };
        self.write(&Frame::Hello(hello).line());
    }

    /// Every line that the host wrote since the last call.
    fn heard(&mut self) -> String {
        let (mut heard, mut bytes) = (String::new(), [0; 512]);
        let waits = |master: &PtyMaster| {
            let mut ready = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
            poll(&mut ready, PollTimeout::ZERO).unwrap() > 0
        };
        while waits(&self.master) {
            let count = self.master.read(&mut bytes).unwrap();
            heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        heard
    }

    fn say(&mut self, frame: impl FnOnce(u16) -> Frame) {
        self.seq += 1;
        self.write(&frame(self.seq).line());
    }

    fn reading(&mut self, centi: i16) {
        self.seq += 1;
        let reading =
            Reading { seq: self.seq, probe: 1, temperature_centi: Some(centi), humidity_centi: Some(4000), kind: None };
        self.write(&Frame::Reading(reading).line());
    }
}

async fn hub_until(controller: &Controller, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(8);
    loop {
        let hub = controller.get("/v1/hubs").await["items"][0].clone();
        if wanted(&hub) {
            return hub;
        }
        assert!(Instant::now() < deadline, "{what}: {hub}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The first zone, once a tick has taken its probe's reading over.
async fn zone_with_temperature(controller: &Controller) -> Value {
    let deadline = Instant::now() + Duration::from_secs(8);
    loop {
        let zone = controller.get("/v1/rack").await["zones"][0].clone();
        if !zone["temperature"].is_null() || Instant::now() > deadline {
            return zone;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn frames_become_readings_and_garbage_only_counts() {
    let link = std::env::temp_dir().join(format!("roost-controller-hub-{}", std::process::id()));
    let mut hub = Hub::plug(&link);
    let controller = Controller::start_with_hub(&link);
    tokio::time::sleep(Duration::from_millis(500)).await;
    hub.hello();
    hub.reading(2150);
    hub.reading(2150);
    let shown = hub_until(&controller, "a reading arrives", |hub| hub["probes"][0]["temperature"] == 21.5).await;
    assert_eq!(shown["connected"], true);
    let zone = zone_with_temperature(&controller).await;
    assert_eq!((zone["temperature"].as_f64(), zone["humidity"].as_f64()), (Some(21.5), Some(40.0)), "{zone}");

    let mut wrong =
        Frame::Reading(Reading { seq: 4, probe: 1, temperature_centi: Some(9900), humidity_centi: None, kind: None })
            .line()
            .to_vec();
    // Another number: the checksum is no longer that of the line.
    wrong[3] ^= 1;
    hub.write(&wrong);
    hub.write(b"\xff\x00\xfe nan inf -1e99 $$$$R,*\r\n");
    hub.write(format!("$R,{}\r\n", "9".repeat(500)).as_bytes());
    let body = b"R,5,1,30000,4000";
    hub.write(format!("${}*{:04X}\r\n", String::from_utf8_lossy(body), roost_protocol::checksum(body)).as_bytes());
    let shown = hub_until(&controller, "everything is counted", |hub| {
        let count = |name: &str| hub["counters"][name].as_u64().unwrap();
        ["bad_crc", "malformed", "out_of_range", "dropped"].iter().all(|name| count(name) > 0)
    })
    .await;
    assert_eq!(shown["probes"][0]["temperature"], 21.5, "{shown}");

    std::fs::remove_file(&link).unwrap();
    drop(hub);
    let began = Instant::now();
    hub_until(&controller, "a closed line is seen", |hub| hub["connected"] == false).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(controller.get("/v1/rack").await["zones"][0]["thermal"], "unknown");

    let mut hub = Hub::plug(&link);
    let deadline = Instant::now() + Duration::from_secs(12);
    loop {
        hub.reading(2300);
        tokio::time::sleep(Duration::from_millis(200)).await;
        if controller.get("/v1/hubs").await["items"][0]["probes"][0]["temperature"] == 23.0 {
            break;
        }
        assert!(Instant::now() < deadline, "the hub was not taken back");
    }
    std::fs::remove_file(&link).unwrap();
}

/// The number of the first command of a kind.
fn seq_of(heard: &str, command: &str) -> Option<u16> {
    let line = heard.lines().find(|line| line.starts_with(command))?;
    line.split([',', '*']).nth(1)?.parse().ok()
}

#[tokio::test]
async fn a_fan_is_told_until_the_hub_obeys_and_a_hub_that_does_not_is_an_alert() {
    let link = std::env::temp_dir().join(format!("roost-controller-fans-{}", std::process::id()));
    let mut hub = Hub::plug(&link);
    let controller = Controller::start_with_outputs(&link);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(hub.heard(), "", "nothing is told before the hub has spoken");
    hub.reading(4100);
    hub.reading(4100);

    // Never answered: the same bytes come again, and then a person is told.
    let (mut heard, deadline) = (String::new(), Instant::now() + Duration::from_secs(12));
    let alert = loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        heard.push_str(&hub.heard());
        hub.reading(4100);
        let alerts = controller.get("/v1/alerts").await["items"].clone();
        let told = alerts.as_array().unwrap().iter().find(|alert| alert["key"] == "hub-commands/hub0").cloned();
        if let Some(alert) = told {
            break alert;
        }
        assert!(Instant::now() < deadline, "nobody is told: {heard}");
    };
    let fans: Vec<&str> = heard.lines().filter(|line| line.starts_with("$F")).collect();
    assert!(fans.len() == 3 && fans.iter().all(|line| *line == fans[0] && line.contains(",2,10000*")), "{heard}");
    assert!(alert["message"].as_str().unwrap().contains("fan 2 at 100.00 %: not done after 3 tries"), "{alert}");

    // Told anew with another number; now the hub obeys.
    let (mut heard, deadline) = (String::new(), Instant::now() + Duration::from_secs(20));
    let seq = loop {
        // Not one long sleep: meanwhile the client hears that its idle connection was closed.
        tokio::time::sleep(Duration::from_millis(200)).await;
        heard.push_str(&hub.heard());
        hub.reading(4100);
        if let Some(seq) = seq_of(&heard, "$F") {
            break seq;
        }
        assert!(Instant::now() < deadline, "not told anew: {heard}");
    };
    assert_ne!(Some(seq), seq_of(fans[0], "$F"));
    hub.write(&Frame::Ack(Ack { seq, code: AckCode::Done }).line());
    hub.say(|seq| Frame::Fan(Fan { seq, fan: 2, duty_centi: 10_000, rpm: Some(4_800) }));
    hub.say(|seq| Frame::Status(Status { seq, uptime_seconds: 9, relays_on: 0, relays_there: 255, failsafe: false }));
    let deadline = Instant::now() + Duration::from_secs(8);
    loop {
        let fan = controller.get("/v1/rack").await["zones"][0]["fans"][0].clone();
        if fan["rpm"] == 4800 {
            assert_eq!((fan["id"].as_str(), fan["duty"].as_f64()), (Some("hub0:2"), Some(100.0)), "{fan}");
            break;
        }
        assert!(Instant::now() < deadline, "{fan}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let alerts = controller.get("/v1/alerts").await;
    assert_eq!(
        alerts["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|a| a["state"] == "firing" && a["key"] == "hub-commands/hub0")
            .count(),
        0,
        "{alerts}"
    );
    std::fs::remove_file(&link).unwrap();
}

/// Floods the line with 1 Mbit/s for 5 s: good frames, then noise. Prints what it cost; a machine that is shared has no
/// speed to assert.
#[tokio::test]
async fn a_flood_is_dropped_by_budget_and_readings_go_on() {
    const PIECE: usize = 12_500;
    let link = std::env::temp_dir().join(format!("roost-controller-flood-{}", std::process::id()));
    let mut hub = Hub::plug(&link);
    let controller = Controller::start_with_hub(&link);
    tokio::time::sleep(Duration::from_millis(500)).await;
    hub.reading(2150);
    hub.reading(2150);
    hub_until(&controller, "a reading arrives", |hub| hub["probes"][0]["temperature"] == 21.5).await;

    let (began, used) = (Instant::now(), controller.processor_time());
    for tenth in 0..50_u32 {
        let mut piece = Vec::with_capacity(PIECE + 128);
        while piece.len() < PIECE {
            if tenth < 25 {
                hub.seq = hub.seq.wrapping_add(1);
                let reading =
                    Reading { seq: hub.seq, probe: 1, temperature_centi: Some(2150), humidity_centi: None, kind: None };
                piece.extend_from_slice(&Frame::Reading(reading).line());
            } else {
                piece.extend_from_slice(b"$R,1,9\xff\x00 nonsense $$\r\n");
            }
        }
        hub.write(&piece);
        let due = began + Duration::from_millis(100) * (tenth + 1);
        tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
    }
    let (wall, used) = (began.elapsed(), controller.processor_time() - used);
    println!(
        "1 Mbit/s for {wall:?}: {used:?} of processor time, {:.1} %",
        used.as_secs_f64() / wall.as_secs_f64() * 100.0
    );

    let flooded =
        hub_until(&controller, "the flood is dropped", |hub| hub["counters"]["dropped"].as_u64() > Some(5_000)).await;
    assert_eq!(flooded["connected"], true, "{flooded}");
    let deadline = Instant::now() + Duration::from_secs(12);
    while controller.get("/v1/hubs").await["items"][0]["probes"][0]["temperature"] != 23.0 {
        hub.reading(2300);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(Instant::now() < deadline, "readings do not go on");
    }
    std::fs::remove_file(&link).unwrap();
}
