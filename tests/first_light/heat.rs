//! Heat travels from the simulated chip through firmware, serial line, parser and zone into placement, and back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;
use roost_tests::{until, within};
use roost_types::rack::{RackView, Zone};
use roost_types::{Alert, AlertState, EventKind, Filter, InstanceState, Node, Placement, Severity, ThermalState};

/// The zone that is heated.
const ZONE: &str = "shelf-1";
/// Air warms and cools at the pace of air.
const THERMAL_PATIENCE: Duration = Duration::from_secs(120);

pub fn zones(rack: &Rack) -> Result<Vec<Zone>> {
    Ok(rack.api.get::<RackView>("/v1/rack")?.zones)
}

pub const fn is_cool(state: ThermalState) -> bool {
    matches!(state, ThermalState::Nominal | ThermalState::Warm)
}

pub fn zone(rack: &Rack, name: &str) -> Result<Zone> {
    zones(rack)?.into_iter().find(|zone| zone.name.as_str() == name).with_context(|| format!("no zone {name}"))
}

/// Names of the nodes in a zone.
fn nodes_in(rack: &Rack, name: &str) -> Result<Vec<String>> {
    Ok(zone(rack, name)?.slots.into_iter().filter_map(|slot| Some(slot.node?.name.to_string())).collect())
}

fn heat(rack: &Rack, celsius: &str) -> Result<()> {
    rack.roost(&["dev", "heat", ZONE, celsius]).map(drop)
}

fn wait_until_hot(rack: &Rack) -> Result<()> {
    let nodes = nodes_in(rack, ZONE)?;
    within(THERMAL_PATIENCE, "the zone and its nodes are hot", || {
        let hot = |name: &String| Ok(rack.api.node(name)?.thermal.state == ThermalState::Hot);
        let all = nodes.iter().map(hot).collect::<Result<Vec<bool>>>()?.into_iter().all(|hot| hot);
        Ok((all && zone(rack, ZONE)?.thermal == ThermalState::Hot).then_some(()))
    })
}

pub fn a_hot_zone_is_avoided_and_said_why(rack: &Rack) -> Result<()> {
    let hot = nodes_in(rack, ZONE)?;
    ensure!(hot.len() == 2, "nodes of {ZONE}: {hot:?}");
    heat(rack, "41")?;
    wait_until_hot(rack)?;
    let measured = zone(rack, ZONE)?.temperature.context("no temperature")?;
    ensure!((40_500..=41_500).contains(&measured.0), "the zone measures {measured}");
    for name in ["a", "b", "c", "d"] {
        rack.roost(&["launch", "busybox", name, "--", "sleep", "1000"])?;
        let node = rack.api.instance(name)?.node.context("no node")?.to_string();
        ensure!(!hot.contains(&node), "{name} was placed on {node}, which is hot");
    }
    let placement: Placement = rack.api.get("/v1/instances/a/placement")?;
    ensure!(placement.filtered_by.get(&Filter::Thermal) == Some(&2), "{:?}", placement.filtered_by);
    let why = rack.roost(&["why", "a"])?;
    for name in &hot {
        let line = why.lines().find(|line| line.starts_with(name.as_str()) && line.contains("thermal"));
        let line = line.with_context(|| format!("no reason for {name}:\n{why}"))?;
        ensure!(
            line.contains("41.") && line.contains("°C") && line.contains("s old"),
            "no temperature and age: {line}"
        );
    }
    Ok(())
}

pub fn a_hot_zone_is_emptied_one_at_a_time(rack: &Rack) -> Result<()> {
    let hot = nodes_in(rack, ZONE)?;
    let nodes: Vec<Node> = rack.api.list("/v1/nodes")?;
    let others = nodes.iter().map(|node| node.name.as_str()).filter(|name| !hot.iter().any(|hot| hot == name));
    let others: Vec<&str> = others.collect();
    // They land in the zone because every other board is closed, not because they were told to stay there.
    for name in &others {
        rack.roost(&["node", "cordon", name])?;
    }
    for name in ["a", "b", "c"] {
        rack.roost(&["launch", "busybox", name, "--", "sleep", "1000"])?;
        let node = rack.api.instance(name)?.node.context("no node")?.to_string();
        ensure!(hot.contains(&node), "{name} is on {node}, which is cordoned");
        rack.roost(&["exec", name, "--", "sh", "-c", &format!("echo written by {name} > /etc/note")])?;
    }
    for name in &others {
        rack.roost(&["node", "uncordon", name])?;
    }
    let mark = rack.api.newest_event()?;
    heat(rack, "41")?;
    wait_until_hot(rack)?;
    for name in ["a", "b", "c"] {
        within(THERMAL_PATIENCE, "it runs on a cooler board", || {
            let instance = rack.api.instance(name)?;
            let away = instance.node.is_some_and(|node| !hot.contains(&node.to_string()));
            Ok((away && instance.state == InstanceState::Running).then_some(()))
        })
        .with_context(|| format!("drain of {name}"))?;
        let note = rack.roost(&["exec", name, "--", "cat", "/etc/note"])?;
        ensure!(note == format!("written by {name}\n"), "the drain of {name} lost what it had written: {note:?}");
    }
    one_at_a_time(rack, mark)
}

/// Between the moves of two instances, the first of them came up again.
fn one_at_a_time(rack: &Rack, mark: u64) -> Result<()> {
    let (mut moving, mut moves): (Option<String>, u32) = (None, 0);
    for event in rack.api.events_after(mark)? {
        match event.kind {
            EventKind::InstanceMoved => {
                if let Some(first) = &moving {
                    ensure!(*first == event.subject, "{} moved while {first} was on its way", event.subject);
                }
                moves += 1;
                moving = Some(event.subject);
            }
            EventKind::InstanceStarted if moving.as_ref() == Some(&event.subject) => moving = None,
            _ => {}
        }
    }
    ensure!(moves >= 3 && moving.is_none(), "{moves} moves, {moving:?} still on its way");
    Ok(())
}

pub fn a_rack_that_is_hot_all_over_is_left_alone(rack: &Rack) -> Result<()> {
    for name in ["a", "b", "c"] {
        rack.roost(&["launch", "busybox", name, "--", "sleep", "1000"])?;
    }
    let mark = rack.api.newest_event()?;
    let zones = zones(rack)?;
    for zone in &zones {
        rack.roost(&["dev", "heat", zone.name.as_str(), "41"])?;
    }
    let kind_since = |mark, kind| -> Result<Option<u64>> {
        Ok(rack.api.events_after(mark)?.into_iter().find(|event| event.kind == kind).map(|event| event.id))
    };
    let brake = within(THERMAL_PATIENCE, "the brake engages", || kind_since(mark, EventKind::BrakeEngaged))?;
    for _ in 0..50 {
        ensure!(
            kind_since(brake, EventKind::InstanceMoved)?.is_none(),
            "work was moved about in a rack without cooling"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    for name in ["a", "b", "c"] {
        rack.api.wait_for(name, InstanceState::Running)?;
    }
    let alerts: Vec<Alert> = rack.api.list("/v1/alerts")?;
    let told = |alert: &Alert| alert.state == AlertState::Firing && alert.severity == Severity::Critical;
    ensure!(alerts.iter().any(|alert| told(alert) && alert.subject == "/v1/rack"), "nobody is told: {alerts:?}");

    for zone in &zones {
        rack.roost(&["dev", "heat", zone.name.as_str(), "--release"])?;
    }
    within(THERMAL_PATIENCE, "the brake is let go", || kind_since(brake, EventKind::BrakeReleased)).map(drop)
}

pub fn pending_work_waits_for_hysteresis(rack: &Rack) -> Result<()> {
    let node = nodes_in(rack, ZONE)?.into_iter().next().context("no node")?;
    heat(rack, "41")?;
    wait_until_hot(rack)?;
    rack.roost(&["launch", "busybox", "waits", "--no-wait", "--node", &node, "--", "sleep", "1000"])?;
    let waits = rack.api.wait_for("waits", InstanceState::Pending)?;
    ensure!(waits.node.is_none(), "pending with a node: {waits:?}");
    let why = rack.roost(&["why", "waits"])?;
    ensure!(why.contains("thermal") && why.contains("°C"), "no reason:\n{why}");

    // Below the limit of 35 °C, not below it by the hysteresis of 2: hot it stays, however long.
    heat(rack, "34")?;
    within(THERMAL_PATIENCE, "the chip feels 34 °C", || {
        Ok(zone(rack, ZONE)?.temperature.filter(|t| (33_500..=34_500).contains(&t.0)))
    })?;
    for _ in 0..60 {
        let zone = zone(rack, ZONE)?;
        ensure!(zone.thermal == ThermalState::Hot, "{} at {:?}", zone.thermal, zone.temperature);
        ensure!(rack.api.instance("waits")?.state == InstanceState::Pending, "placed in the hysteresis");
        std::thread::sleep(Duration::from_millis(100));
    }
    rack.roost(&["dev", "heat", ZONE, "24"])?;
    let running = within(THERMAL_PATIENCE, "the cool board gets it", || {
        Ok(Some(rack.api.instance("waits")?).filter(|instance| instance.state == InstanceState::Running))
    })?;
    ensure!(running.node.is_some_and(|on| on.as_str() == node), "it runs elsewhere");
    until("the zone is cool", || Ok(is_cool(zone(rack, ZONE)?.thermal).then_some(())))
}
