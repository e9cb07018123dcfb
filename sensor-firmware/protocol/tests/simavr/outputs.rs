//! Fans and relays of the real firmware, and what it does when the host goes quiet.

use std::thread;
use std::time::Duration;

use roost_protocol::settings::{self, role};
use roost_protocol::{AckCode, Action, Fan, Frame, Status};

use crate::rig::{self, Hub, Line};

fn fan(line: &mut Line, what: &str, mut wanted: impl FnMut(Fan) -> bool) -> Fan {
    line.wait_for(what, |frame| match frame {
        Frame::Fan(fan) => wanted(fan).then_some(fan),
        _ => None,
    })
}

fn status(line: &mut Line, what: &str, mut wanted: impl FnMut(Status) -> bool) -> Status {
    line.wait_for(what, |frame| match frame {
        Frame::Status(status) => wanted(status).then_some(status),
        _ => None,
    })
}

#[test]
fn fans_are_driven_and_their_turns_are_counted() {
    let Some(build) = rig::build() else { return };
    let mut hub = Hub::start(build, "fans", &["--probes", "1"]);
    for (fan, rpm) in [(1, 3000), (2, 5000), (3, 1500), (4, 20_000)] {
        hub.set(&format!("fan {fan} {rpm}"));
    }
    let mut line = hub.open();
    let near = |rpm: Option<u16>, wanted: u16| rpm.is_some_and(|rpm| rpm.abs_diff(wanted) <= wanted / 50 + 15);
    for (number, full) in [(1, 3000), (2, 5000), (3, 1500), (4, 20_000)] {
        fan(&mut line, "full turns before a command", |f| {
            f.fan == number && f.duty_centi == 10_000 && near(f.rpm, full)
        });
    }
    for (number, duty_centi) in [(1, 5000), (2, 0), (3, 10_000), (4, 2500)] {
        assert_eq!(line.command(u16::from(number), Action::SetFan { fan: number, duty_centi }), AckCode::Done);
    }
    for (number, duty, turns) in [(1, 5000, 1500), (2, 0, 0), (3, 10_000, 1500), (4, 2500, 5000)] {
        fan(&mut line, "turns by the drive", |f| f.fan == number && f.duty_centi == duty && near(f.rpm, turns));
    }
    // By their timers' registers: 25 kHz in 320 steps, 31 kHz in 255.
    hub.board_says("fan 1 duty 5000");
    hub.board_says("fan 2 duty 0");
    hub.board_says("fan 4 duty 2510");
    // A fan that is stuck is told, and told apart from one that was switched off.
    hub.set("fan 3 0");
    fan(&mut line, "a stuck fan", |f| f.fan == 3 && f.duty_centi == 10_000 && f.rpm == Some(0));
    hub.stop();
}

#[test]
fn a_silent_host_means_fans_at_full_and_relays_as_they_were() {
    let Some(build) = rig::build() else { return };
    let hub = Hub::start(build, "silence", &["--probes", "1"]);
    let mut line = hub.open();
    assert_eq!(line.command(1, Action::Set { key: settings::SILENCE_SECONDS, value: 5 }), AckCode::Done);
    assert_eq!(line.command(2, Action::Set { key: settings::pin_role(4), value: role::RELAY }), AckCode::Done);
    assert_eq!(line.command(3, Action::SetRelay { relay: 4, on: true }), AckCode::Done);
    assert_eq!(line.command(4, Action::SetFan { fan: 2, duty_centi: 3000 }), AckCode::Done);
    hub.board_says("pin 4 low");
    hub.board_says("fan 2 duty 3000");
    for beat in 0..7 {
        thread::sleep(Duration::from_secs(1));
        assert_eq!(line.command(100 + beat, Action::Beat), AckCode::Done);
    }
    assert_eq!(hub.board_said(), Vec::<String>::new(), "nothing moves while the host is there");
    hub.board_says("fan 2 duty 10000");
    status(&mut line, "the silence", |s| s.failsafe && s.relays_on == 8 && s.relays_there == 8);
    assert_eq!(line.command(5, Action::Beat), AckCode::Done);
    status(&mut line, "the end of the silence", |s| !s.failsafe);
    assert_eq!(hub.board_said(), Vec::<String>::new(), "relays stay, and fans wait for a command");
    hub.stop();
}

#[test]
fn a_command_that_comes_twice_is_done_once() {
    let Some(build) = rig::build() else { return };
    let hub = Hub::start(build, "twice", &["--probes", "1"]);
    let mut line = hub.open();
    assert_eq!(line.command(1, Action::Set { key: settings::pin_role(3), value: role::RELAY }), AckCode::Done);
    assert_eq!(line.command(2, Action::SetRelay { relay: 3, on: true }), AckCode::Done);
    hub.board_says("pin 3 low");
    assert_eq!(line.command(3, Action::SetRelay { relay: 3, on: false }), AckCode::Done);
    hub.board_says("pin 3 high");
    for _ in 0..3 {
        assert_eq!(line.command(2, Action::SetRelay { relay: 3, on: true }), AckCode::Done);
    }
    assert_eq!(line.command(4, Action::SetRelay { relay: 5, on: true }), AckCode::Invalid);
    assert_eq!(line.command(4, Action::SetRelay { relay: 5, on: true }), AckCode::Invalid);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(hub.board_said(), Vec::<String>::new());
    hub.stop();
}

#[test]
fn relays_and_settings_outlive_a_restart() {
    let Some(build) = rig::build() else { return };
    let eeprom = build.join(format!("restart-{}.eeprom", std::process::id()));
    let _ = std::fs::remove_file(&eeprom);
    let options = ["--probes", "1", "--eeprom", eeprom.to_str().expect("a path of ASCII")];
    let hub = Hub::start(build, "restart-1", &options);
    let mut line = hub.open();
    for pin in [6, 7] {
        let set = Action::Set { key: settings::pin_role(pin), value: role::RELAY };
        assert_eq!(line.command(u16::from(pin), set), AckCode::Done);
    }
    assert_eq!(line.command(1, Action::SetRelay { relay: 6, on: true }), AckCode::Done);
    assert_eq!(line.command(2, Action::Set { key: settings::SILENCE_SECONDS, value: 17 }), AckCode::Done);
    hub.stop();

    let hub = Hub::start(build, "restart-2", &options);
    hub.board_says("pin 6 low");
    hub.board_says("pin 7 high");
    let mut line = hub.open();
    status(&mut line, "the relays", |s| s.relays_on == 0b10_0000 && s.relays_there == 0b110_0000);
    assert_eq!(line.command(3, Action::Get { key: settings::SILENCE_SECONDS }), AckCode::Done);
    let value = line.wait_for("the setting", |frame| match frame {
        Frame::Setting(setting) => Some((setting.key, setting.value)),
        _ => None,
    });
    assert_eq!(value, (settings::SILENCE_SECONDS, 17));
    hub.stop();
    std::fs::remove_file(&eeprom).expect("the EEPROM was kept");
}

#[test]
fn a_relay_board_on_i2c_has_all_eight() {
    let Some(build) = rig::build() else { return };
    let mut hub = Hub::start(build, "expander", &["--chip", "pcf8574@0x27", "--chip", "sht31@0x44"]);
    let mut line = hub.open();
    line.send(&Frame::Query(roost_protocol::Query { seq: 9 }).line());
    status(&mut line, "eight relays", |s| s.relays_there == 0xFF && s.relays_on == 0);
    for relay in 1..=8 {
        assert_eq!(line.command(u16::from(relay), Action::SetRelay { relay, on: relay % 2 == 1 }), AckCode::Done);
    }
    hub.board_says("pcf8574 0xAA");
    hub.set("probe 1 fail");
    assert_eq!(line.command(20, Action::SetRelay { relay: 2, on: true }), AckCode::Failed);
    hub.set("probe 1 0 0");
    assert_eq!(line.command(20, Action::SetRelay { relay: 2, on: true }), AckCode::Done);
    hub.board_says("pcf8574 0xA8");
    line.reading(1, Some(2200), Some(4500));
    hub.stop();
}

#[test]
fn a_hub_that_hangs_is_restarted_by_its_watchdog() {
    let Some(build) = rig::build() else { return };
    let mut hub = Hub::start(build, "hang", &["--probes", "1"]);
    hub.set("fan 1 3000");
    let mut line = hub.open();
    assert_eq!(line.command(1, Action::Set { key: settings::pin_role(3), value: role::RELAY }), AckCode::Done);
    assert_eq!(line.command(2, Action::SetRelay { relay: 3, on: true }), AckCode::Done);
    assert_eq!(line.command(3, Action::SetFan { fan: 1, duty_centi: 2000 }), AckCode::Done);
    hub.board_says("pin 3 low");
    hub.board_says("fan 1 duty 2000");
    hub.set("hang");
    hub.board_says("fan 1 duty 10000");
    let status = line.wait_over_faults("the state after a restart", |frame| match frame {
        Frame::Status(status) => (status.uptime_seconds < 2).then_some(status),
        _ => None,
    });
    assert!(status.failsafe, "it waits for a host");
    assert_eq!((status.relays_on, status.relays_there), (4, 4), "relays are as they were");
    line.reading(1, Some(2200), Some(4500));
    hub.stop();
}
