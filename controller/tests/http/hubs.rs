//! A hub's line over a pty: good frames become readings; garbage is counted and never is one.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use roost_protocol::{Frame, Hello, Reading};
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
