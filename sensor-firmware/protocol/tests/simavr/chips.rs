//! Every kind of chip, found by the firmware and read.

use roost_protocol::{AckCode, Action, Frame, Kind, Query, settings};

use crate::rig::{self, Hub};

#[test]
fn what_the_chips_feel_comes_out_of_the_line() {
    let Some(build) = rig::build() else { return };
    let mut hub = Hub::start(build, "eight", &["--probes", "8"]);
    let mut line = hub.open();
    for probe in 1..=8 {
        line.reading(probe, Some(2200), Some(4500));
    }
    hub.set("probe 2 4105 8012");
    hub.set("probe 3 -4000 0");
    hub.set("probe 4 12500 10000");
    line.reading(2, Some(4105), Some(8012));
    line.reading(3, Some(-4000), Some(0));
    line.reading(4, Some(12_500), Some(10_000));
    hub.set("probe 2 fail");
    line.reading(2, None, None);
    hub.set("probe 2 2500 5000");
    line.reading(2, Some(2500), Some(5000));

    line.send(b"noise $Q,1*0000\r\n\x00\xff");
    line.send(&Frame::Query(Query { seq: 77 }).line());
    let ack = line.wait_for("the acknowledgement", |frame| match frame {
        Frame::Ack(ack) => Some(ack),
        _ => None,
    });
    assert_eq!(ack.seq, 77);
    let hello = line.wait_for("the hello", |frame| match frame {
        Frame::Hello(hello) => Some(hello),
        _ => None,
    });
    assert_eq!(hello.version, roost_protocol::VERSION);
    let capabilities: Vec<_> = hello.capabilities.as_str().split('+').collect();
    for kind in Kind::ALL {
        assert!(capabilities.contains(&kind.name()), "{capabilities:?}");
    }
    assert_eq!(capabilities[Kind::ALL.len()..], ["mux", "fans", "relays"]);
    hub.stop();
}

#[test]
fn two_chips_without_a_multiplexer_are_probes_1_and_2() {
    let Some(build) = rig::build() else { return };
    let mut hub = Hub::start(build, "direct", &["--probes", "2", "--direct"]);
    hub.set("probe 2 3000 6000");
    let mut line = hub.open();
    assert_eq!(line.reading(1, Some(2200), Some(4500)).kind, Some(Kind::Sht31));
    line.reading(2, Some(3000), Some(6000));
    assert_eq!(line.probe_at("0x45").probe, 2);
    hub.stop();
}

#[test]
fn a_bme280_is_read_on_the_own_bus_and_behind_the_multiplexer() {
    let Some(build) = rig::build() else { return };
    let mut hub = Hub::start(
        build,
        "bme280",
        &["--chip", "bme280@0x76", "--chip", "bme280@ch3/0x77", "--chip", "sht31@ch3/0x44"],
    );
    hub.set("probe 1 -1234 9012");
    hub.set("probe 2 6150 312");
    let mut line = hub.open();
    let (own, behind, beside) = (line.probe_at("0x76"), line.probe_at("ch3/0x77"), line.probe_at("ch3/0x44"));
    assert_eq!((own.kind, behind.kind, beside.kind), (Kind::Bme280, Kind::Bme280, Kind::Sht31));
    // Between the firmware's integers and the simulator's floating point there is a hundredth or two.
    let mut close = |probe, temperature: i16, humidity: u16| {
        line.wait_for("the values of a BME280", |frame| match frame {
            Frame::Reading(r) if r.probe == probe => {
                let close =
                    r.temperature_centi?.abs_diff(temperature) <= 1 && r.humidity_centi?.abs_diff(humidity) <= 5;
                close.then_some(())
            }
            _ => None,
        });
    };
    close(own.probe, -1234, 9012);
    close(behind.probe, 6150, 312);
    hub.set("probe 1 garble");
    line.reading(own.probe, None, None);
    hub.set("probe 2 fail");
    line.reading(behind.probe, None, None);
    line.reading(beside.probe, Some(2200), Some(4500));
    hub.stop();
}

#[test]
fn many_ds18b20_share_a_wire() {
    let Some(build) = rig::build() else { return };
    let serials = ["000000000001", "000000000002", "800000000001", "0000DEADBEEF", "123456789ABC"];
    let chips: Vec<String> = serials.iter().flat_map(|s| ["--chip".to_owned(), format!("ds18b20@pin1/{s}")]).collect();
    let mut hub = Hub::start(build, "ds18b20", &chips.iter().map(String::as_str).collect::<Vec<_>>());
    for (chip, centi) in (1..).zip([-4000, -1013, 0, 2506, 12_500]) {
        hub.set(&format!("probe {chip} {centi} 0"));
    }
    let mut line = hub.open();
    let mut probes = Vec::new();
    line.send(&Frame::Query(Query { seq: 1 }).line());
    line.wait_for("five chips", |frame| {
        if let Frame::Identity(identity) = frame {
            probes.push((identity.place.as_str().to_owned(), identity.probe));
            probes.sort();
            probes.dedup();
        }
        (probes.len() == serials.len()).then_some(())
    });
    let probe_of = |serial: &str| {
        // The number in the chip is sent lowest byte first.
        let bytes: String = (0..6).rev().map(|i| &serial[2 * i..2 * i + 2]).collect();
        probes.iter().find(|(place, _)| place[..14] == format!("28{bytes}")).expect("every chip is found").1
    };
    for (serial, centi) in serials.iter().zip([-4000, -1013, 0, 2506, 12_500]) {
        assert_eq!(line.reading(probe_of(serial), Some(centi), None).kind, Some(Kind::Ds18b20));
    }
    hub.set("probe 1 starve");
    line.reading(probe_of(serials[0]), None, None);
    hub.set("probe 2 garble");
    line.reading(probe_of(serials[1]), None, None);
    hub.set("probe 5 fail");
    line.reading(probe_of(serials[4]), None, None);
    hub.set("probe 5 2000 0");
    line.reading(probe_of(serials[4]), Some(2000), None);
    line.reading(probe_of(serials[3]), Some(2506), None);
    hub.stop();
}

#[test]
fn a_dht22_is_read_while_fans_pulse_and_the_line_is_busy() {
    let Some(build) = rig::build() else { return };
    let mut hub = Hub::start(build, "dht22", &["--chip", "dht22@pin2", "--probes", "4"]);
    for fan in 1..=4 {
        hub.set(&format!("fan {fan} 20000"));
    }
    let mut line = hub.open();
    let probe = line.probe_at("pin2").probe;
    for (feels, temperature, humidity) in
        [("2150 4010", 2150, 4010), ("-1230 9990", -1230, 9990), ("8000 10", 8000, 10)]
    {
        hub.set(&format!("probe 5 {feels}"));
        line.send(&Frame::Query(Query { seq: 1 }).line().repeat(4));
        line.reading(probe, Some(temperature), Some(humidity));
    }
    // Four in a row: none is lost to an interrupt.
    for _ in 0..4 {
        line.wait_for("a reading", |frame| match frame {
            Frame::Reading(r) if r.probe == probe => {
                assert_eq!((r.temperature_centi, r.humidity_centi), (Some(8000), Some(10)));
                Some(())
            }
            _ => None,
        });
    }
    hub.set("probe 5 garble");
    line.reading(probe, None, None);
    hub.set("probe 5 fail");
    line.reading(probe, None, None);
    hub.set("probe 5 2000 5000");
    line.reading(probe, Some(2000), Some(5000));
    hub.stop();
}

#[test]
fn chips_plugged_in_another_order_keep_their_numbers() {
    let Some(build) = rig::build() else { return };
    let eeprom = build.join(format!("order-{}.eeprom", std::process::id()));
    let _ = std::fs::remove_file(&eeprom);
    let start = |name: &str, chips: &[&str]| {
        let chips = chips.iter().flat_map(|chip| ["--chip", chip]);
        let options: Vec<&str> = chips.chain(["--eeprom", eeprom.to_str().expect("a path of ASCII")]).collect();
        Hub::start(build, name, &options)
    };
    let (a, b, c) = ("ds18b20@pin1/0000000000F0", "ds18b20@pin1/00000000000F", "ds18b20@pin1/000000000003");

    let hub = start("order-1", &[a, "sht31@0x45"]);
    let mut line = hub.open();
    let first = line.probe_at("28F0").probe;
    let sht31 = line.probe_at("0x45").probe;
    hub.stop();

    let hub = start("order-2", &[c, b, a]);
    let mut line = hub.open();
    assert_eq!(line.probe_at("28F0").probe, first, "it was first and is last on the wire now");
    line.reading(first, Some(2200), None);
    line.reading(sht31, None, None);
    line.send(&Frame::Query(Query { seq: 9 }).line());
    let third = line.probe_at("2803").probe;
    assert!(third != first && third != sht31, "a missing chip's number is not given away");
    assert_eq!(line.command(10, Action::Set { key: settings::probe_bound(sht31), value: 0 }), AckCode::Done);
    hub.stop();

    let hub = start("order-3", &["sht31@0x44", a]);
    let mut line = hub.open();
    assert_eq!(line.probe_at("0x44").probe, sht31, "the forgotten number is free");
    hub.stop();
    std::fs::remove_file(&eeprom).expect("the EEPROM was kept");
}

#[test]
fn a_flood_of_queries_stops_no_reading() {
    let Some(build) = rig::build() else { return };
    let hub = Hub::start(build, "flood", &["--probes", "4", "--chip", "ds18b20@pin1/000000000001"]);
    let mut line = hub.open();
    line.reading(1, Some(2200), Some(4500));
    // As fast as a line of 115,200 baud takes them; a terminal that is full takes no more, as a wire would.
    let flood = Frame::Query(Query { seq: 5 }).line().repeat(100);
    for round in 0..20 {
        line.send(&flood);
        let (mut readings, mut hellos) = (0, 0);
        while readings < 5 {
            line.wait_for("readings in a flood", |frame| {
                readings += u32::from(matches!(frame, Frame::Reading(_)));
                hellos += u32::from(matches!(frame, Frame::Hello(_)));
                Some(())
            });
        }
        assert!(hellos <= 60, "{hellos} hellos in round {round}");
    }
    hub.stop();
}
