//! The serial line in trouble.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;
use roost_tests::{until, within};
use roost_types::rack::{Hub, HubCounters, Zone};
use roost_types::{EventKind, ThermalState};
use serde_json::Value;

use crate::heat::{is_cool, zones};

/// Picks one of a line's counters.
type Counter = fn(&HubCounters) -> u64;

fn hub(rack: &Rack) -> Result<Hub> {
    rack.api.list::<Hub>("/v1/hubs")?.into_iter().next().context("no hub")
}

pub fn unplugged_is_unknown_never_cool(rack: &Rack) -> Result<()> {
    let mark = rack.api.newest_event()?;
    rack.roost(&["dev", "hub", "unplug"])?;
    within(Duration::from_secs(120), "every zone is unknown", || {
        Ok(zones(rack)?.iter().all(|zone| zone.thermal == ThermalState::Unknown).then_some(()))
    })?;
    for _ in 0..50 {
        for zone in zones(rack)? {
            ensure!(zone.thermal == ThermalState::Unknown, "{} became {} with no data", zone.name, zone.thermal);
            ensure!(zone.temperature.is_none() && zone.humidity.is_none(), "values that nobody measured: {zone:?}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(!hub(rack)?.connected, "an unplugged hub is connected");
    ensure!(rack.roost(&["rack"])?.contains("unknown"), "`roost rack` does not say unknown");
    let lost = until("its loss is an event", || event(rack, mark, EventKind::HubDisconnected))?;
    // The boards' own sensors are fresh: they can be used.
    rack.roost(&["launch", "busybox", "a", "--", "sleep", "1000"])?;

    rack.roost(&["dev", "hub", "plug"])?;
    within(Duration::from_secs(120), "every zone is measured again", || {
        let measured = |zone: &Zone| is_cool(zone.thermal) && zone.temperature.is_some();
        Ok((hub(rack)?.connected && zones(rack)?.iter().all(measured)).then_some(()))
    })?;
    until("its return is an event", || event(rack, lost, EventKind::HubConnected)).map(drop)
}

/// Number of the first event of a kind after the one numbered `mark`.
fn event(rack: &Rack, mark: u64, kind: EventKind) -> Result<Option<u64>> {
    Ok(rack.api.events_after(mark)?.into_iter().find(|event| event.kind == kind).map(|event| event.id))
}

/// CRC-16/MCRF4XX: the check the line uses.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x8408 } else { crc >> 1 })
    })
}

fn frame(content: &str) -> String {
    format!("${content}*{:04X}\r\n", crc(content.as_bytes()))
}

pub fn noise_is_counted_and_never_a_reading(rack: &Rack) -> Result<()> {
    ensure!(crc(b"123456789") == 0x6F91, "the check value of CRC-16/MCRF4XX");
    let before = hub(rack)?.counters;
    let noise: [(String, Counter); 6] = [
        ("$R,1,1,9900,4500*0000\r\n".to_owned(), |c| c.bad_crc),
        ("\r\nnoise between frames\r\n".to_owned(), |c| c.malformed),
        (frame("R,2,1,NaN,4500"), |c| c.malformed),
        (frame("R,3,1,inf,-inf"), |c| c.malformed),
        (frame("R,4,1,2200,99999"), |c| c.out_of_range),
        (frame("R,5,1,32000,4500"), |c| c.out_of_range),
    ];
    for (text, counter) in &noise {
        let count = counter(&hub(rack)?.counters);
        until(&format!("{text:?} is counted"), || {
            // The firmware speaks at the same time: a piece of noise may hit one of its frames. It is said again then.
            rack.roost(&["dev", "noise", text])?;
            plausible(rack)?;
            Ok((counter(&hub(rack)?.counters) > count).then_some(()))
        })?;
    }
    let listed = rack.roost(&["hub", "list", "-o", "json"])?;
    let listed: Value = serde_json::from_str(&listed)?;
    ensure!(listed[0]["counters"]["bad_crc"].as_u64() > Some(before.bad_crc), "not shown: {listed}");
    let frames = hub(rack)?.counters.frames_ok;
    until("the line works on", || {
        plausible(rack)?;
        Ok((hub(rack)?.counters.frames_ok > frames + 3).then_some(()))
    })?;
    Ok(())
}

/// A zone's temperature is one that its chip can have felt.
fn plausible(rack: &Rack) -> Result<()> {
    for zone in zones(rack)? {
        let temperature = zone.temperature.with_context(|| format!("{} lost its temperature", zone.name))?;
        ensure!((15_000..35_000).contains(&temperature.0), "{} reads {temperature}: noise was believed", zone.name);
    }
    Ok(())
}
