//! Heat travels from the simulated chip through firmware, serial line, parser and zone into placement, and back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;
use roost_tests::{until, within};
use roost_types::rack::{RackView, Zone};
use roost_types::{
    Alert, AlertState, Event, EventKind, Filter, InstanceState, MilliPercent, Node, NodeStatus, Placement, PowerState,
    Severity, ThermalState,
};

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

/// The firmware's PWM drives the simulated fans, their air cools the simulated boards, and the boards' sensors close the
/// loop: held fans let the boards warm up, turning ones cool them again.
pub fn fans_follow_the_heat_and_cool_the_boards(rack: &Rack) -> Result<()> {
    let node = nodes_in(rack, ZONE)?.into_iter().next().context("no node")?;
    let fan = || zone(rack, ZONE)?.fans.into_iter().next().context("the zone has no fan");
    let soc = || rack.api.node(&node)?.thermal.soc.context("the board tells no temperature");
    // This hub has run for longer than its fail-safe waits: the controller keeps it from tripping.
    let quiet = within(THERMAL_PATIENCE, "the fans of a cool shelf run slowly", || {
        Ok(Some(fan()?).filter(|fan| fan.duty.is_some_and(|duty| duty < MilliPercent::whole(45))))
    })?;
    within(THERMAL_PATIENCE, "the tachometer agrees", || Ok(fan()?.rpm.filter(|rpm| (1_000..2_500).contains(rpm))))?;

    let mark = rack.api.newest_event()?;
    rack.roost(&["dev", "fans", ZONE, "stop"])?;
    heat(rack, "33")?;
    within(THERMAL_PATIENCE, "the firmware drives the fans harder", || {
        Ok(fan()?.duty.filter(|duty| *duty >= MilliPercent::whole(60)))
    })?;
    within(THERMAL_PATIENCE, "the boards warm up without air", || Ok(Some(soc()?).filter(|t| t.0 > 54_000)))?;
    within(THERMAL_PATIENCE, "fans that stand still are called stalled", || Ok(fan()?.stalled.then_some(())))?;
    let firing: Vec<Alert> = rack.api.list("/v1/alerts")?;
    let alert = firing.iter().find(|a| a.key.starts_with("fan-stalled/") && a.state == AlertState::Firing);
    ensure!(alert.is_some_and(|alert| alert.message.contains("0 rpm")), "nobody is told: {firing:?}");
    acknowledge(rack, &alert.context("no alert")?.key)?;
    ensure!(rack.roost(&["rack"])?.contains("STALLED"), "`roost rack` does not say so");

    rack.roost(&["dev", "fans", ZONE, "run"])?;
    within(THERMAL_PATIENCE, "they turn fast", || Ok(fan()?.rpm.filter(|rpm| *rpm > 2_900)))?;
    within(THERMAL_PATIENCE, "and the boards cool in the same air", || Ok(Some(soc()?).filter(|t| t.0 < 50_000)))?;
    ensure!(zone(rack, ZONE)?.temperature.is_some_and(|t| (32_500..33_500).contains(&t.0)), "the air has changed");
    within(THERMAL_PATIENCE, "the alert is resolved", || {
        let events = rack.api.events_after(mark)?;
        Ok(events.iter().any(|e| e.kind == EventKind::AlertResolved && e.message.contains("fan")).then_some(()))
    })?;
    rack.roost(&["dev", "heat", ZONE, "--release"])?;
    within(THERMAL_PATIENCE, "they run slowly again", || Ok(fan()?.duty.filter(|duty| *duty <= quiet.wanted))).map(drop)
}

/// A person sees an alert, by its key.
fn acknowledge(rack: &Rack, key: &str) -> Result<()> {
    let listed = rack.roost(&["alert", "list"])?;
    ensure!(listed.lines().any(|line| line.contains(key) && line.contains("firing")), "it is not listed: {listed}");
    rack.roost(&["alert", "ack", key, "--by", "ann", "-m", "on my way"])?;
    let shown = rack.roost(&["alert", "info", key])?;
    ensure!(shown.contains("acknowledged") && shown.contains("by ann: on my way"), "it was not seen: {shown}");
    let events = rack.api.events_after(0)?;
    let seen =
        |event: &Event| event.kind == EventKind::AlertAcknowledged && event.message.contains("by ann (on my way)");
    ensure!(events.iter().any(seen), "no event says who has seen it");
    Ok(())
}

/// Both boards of a shelf in air that nothing withstands: work stops by its priority, then the firmware's relays cut the
/// boards' power, and all goes on when a person brings them back.
pub fn what_is_critical_stops_by_priority_then_loses_its_power(rack: &Rack) -> Result<()> {
    let nodes = nodes_in(rack, ZONE)?;
    let node = nodes.first().context("no node")?;
    for (name, priority) in [("vital", "--priority=5"), ("batch", "--priority=-5")] {
        rack.roost(&["launch", "busybox", name, priority, "--node", node, "--", "sleep", "1000"])?;
    }
    let mark = rack.api.newest_event()?;
    heat(rack, "85")?;
    within(THERMAL_PATIENCE, "the boards of the shelf lose their power", || {
        let down = |name: &String| Ok(rack.api.node(name)?.status == NodeStatus::Down);
        Ok(nodes.iter().map(down).collect::<Result<Vec<bool>>>()?.into_iter().all(|down| down).then_some(()))
    })?;
    let events = rack.api.events_after(mark)?;
    let halted: Vec<_> = events.iter().filter(|event| event.kind == EventKind::InstanceHalted).collect();
    let subjects: Vec<&str> = halted.iter().map(|event| event.subject.as_str()).collect();
    ensure!(subjects == ["/v1/instances/batch", "/v1/instances/vital"], "halted in this order: {subjects:?}");
    let numbers = |message: &str| message.contains("is critical") && message.contains("°C ≥");
    ensure!(halted.iter().all(|event| numbers(&event.message)), "no numbers: {halted:?}");
    for name in &nodes {
        let told = |words: &str| {
            let of_node =
                |event: &&Event| event.subject == format!("/v1/nodes/{name}") && event.message.contains(words);
            events.iter().filter(of_node).any(|event| event.kind == EventKind::NodePowerChanged)
        };
        ensure!(told("cutting the power") && told("off, confirmed"), "{name}: {events:?}");
        ensure!(rack.api.node(name)?.power == Some(PowerState::Off), "{name} is not shown as off");
    }
    let status = rack.roost(&["dev", "status"])?;
    ensure!(nodes.iter().all(|name| status.contains(name.as_str())), "the relays cut nothing: {status}");
    let other = zones(rack)?.into_iter().filter(|zone| zone.name.as_str() != ZONE);
    let others = other.flat_map(|zone| zone.slots).filter_map(|slot| slot.node);
    ensure!(others.clone().count() == 4 && others.clone().all(|node| node.status == NodeStatus::Ready), "more was cut");

    rack.roost(&["dev", "heat", ZONE, "--release"])?;
    within(THERMAL_PATIENCE, "the air is cool", || Ok(is_cool(zone(rack, ZONE)?.thermal).then_some(())))?;
    for name in &nodes {
        rack.roost(&["node", "power", name, "on"])?;
    }
    for name in ["vital", "batch"] {
        rack.api.wait_for(name, InstanceState::Running)?;
    }
    Ok(())
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
