//! `roost rack`: the rack as a drawing, shelf by shelf.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use roost_types::rack::{RackView, SlotNode, Zone};
use roost_types::{ActingMode, Eligibility, Fan, NodeStatus, ThermalState};

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Format, Style, or_dash, print};
use crate::time;

/// Width of a board in the drawing, in characters.
const BOARD: usize = 11;

/// Draws the rack once, or once a second.
pub async fn rack(client: &Client, style: Style, watch: bool) -> Result<(), CliError> {
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    loop {
        let view: RackView = client.get("/v1/rack").await?;
        let text = match style.format {
            Format::Table => draw(&view, colours),
            Format::Json | Format::Yaml => style.document(&view)?,
        };
        if !watch {
            return print(&text);
        }
        // Home and clear: only on a terminal, a file gets one drawing after the other.
        let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        print(&format!("{clear}{text}"))?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The drawing: the highest zone on top, as it stands in the room.
fn draw(view: &RackView, colours: bool) -> String {
    let mut text = String::new();
    for zone in view.zones.iter().rev() {
        draw_zone(&mut text, zone, colours);
    }
    if !view.elsewhere.is_empty() {
        let names: Vec<&str> = view.elsewhere.iter().map(|n| n.name.as_str()).collect();
        let _ = writeln!(text, "in no slot: {}", names.join(" "));
    }
    for hub in &view.hubs {
        let state = if hub.connected { "connected" } else { "not connected" };
        let c = &hub.counters;
        let bad = c.bad_crc + c.malformed + c.out_of_range + c.dropped;
        let _ = writeln!(text, "{} {state}, {} frames, {bad} bad, {} lost", hub.name, c.frames_ok, c.lost);
    }
    if view.mode == ActingMode::Recommend {
        let _ = writeln!(text, "mode recommend: actions against heat wait for approval, see roost action list");
    }
    if view.pending > 0 {
        let _ = writeln!(text, "{} waiting for a node", view.pending);
    }
    text
}

fn draw_zone(text: &mut String, zone: &Zone, colours: bool) {
    let age = zone.age_ms.map_or_else(|| "never measured".to_owned(), |ms| format!("{} old", time::reading_age(ms)));
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{}  {}  inlet {}  humidity {}  dew point {}  {age}",
        zone.name,
        paint(zone.thermal, zone.thermal.as_str(), colours),
        or_dash(zone.temperature),
        or_dash(zone.humidity),
        or_dash(zone.dew_point),
    );
    for fan in &zone.fans {
        let _ = writeln!(text, "  {}", fan_line(fan));
    }
    let boards: Vec<Option<&SlotNode>> = zone.slots.iter().map(|slot| slot.node.as_ref()).collect();
    for row in boards.chunks(6) {
        let edge = format!("  +{}\n", format!("{}+", "-".repeat(BOARD)).repeat(row.len()));
        text.push_str(&edge);
        for line in [name_line, heat_line, load_line] {
            text.push_str("  |");
            for board in row {
                let (cell, state) = board.map_or((String::new(), None), line);
                let cell = format!(" {:<width$}", fit(&cell), width = BOARD - 1);
                text.push_str(&state.map_or(cell.clone(), |s| paint(s, &cell, colours)));
                text.push('|');
            }
            text.push('\n');
        }
        text.push_str(&edge);
    }
}

/// A fan's drive and turns, and what it should do where that differs.
fn fan_line(fan: &Fan) -> String {
    let wanted = if fan.duty == Some(fan.wanted) { String::new() } else { format!(" (wanted {})", fan.wanted) };
    let turns = fan.rpm.map_or_else(|| "-".to_owned(), |rpm| format!("{rpm} rpm"));
    let stalled = if fan.stalled { "  STALLED" } else { "" };
    format!("fan {}  {}{wanted}  {turns}{stalled}", fan.id, or_dash(fan.duty))
}

type Cell = (String, Option<ThermalState>);

fn name_line(board: &SlotNode) -> Cell {
    let mark = match (board.status, board.eligibility) {
        (NodeStatus::Ready, Eligibility::Eligible) => "",
        (NodeStatus::Ready, Eligibility::Cordoned) => " cord",
        (NodeStatus::Ready, Eligibility::Draining) => " drain",
        (NodeStatus::Joining, _) => " join",
        (NodeStatus::Unreachable, _) => " unrch",
        (NodeStatus::Down, _) => " down",
        (NodeStatus::Retired, _) => " gone",
    };
    (format!("{}{mark}", board.name), None)
}

fn heat_line(board: &SlotNode) -> Cell {
    (board.temperature.map_or_else(|| board.thermal.to_string(), |t| t.to_string()), Some(board.thermal))
}

fn load_line(board: &SlotNode) -> Cell {
    let load = board.load.map(|l| format!("{:.0}%", l * 100.0)).unwrap_or_default();
    let count = board.instances.len();
    (if count == 0 { load } else { format!("{load} {count} inst").trim_start().to_owned() }, None)
}

/// Cut to what a board has room for.
fn fit(text: &str) -> String {
    text.chars().take(BOARD - 1).collect()
}

/// The text in the colour of a thermal state.
fn paint(state: ThermalState, text: &str, colours: bool) -> String {
    let code = match state {
        ThermalState::Unknown => "35",
        ThermalState::Nominal => "32",
        ThermalState::Warm => "33",
        ThermalState::Hot => "31",
        ThermalState::Critical => "1;37;41",
    };
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use roost_types::rack::{Limits, SlotView};
    use roost_types::{ActingMode, MilliCelsius, MilliPercent, Timestamp};

    use super::*;

    fn view() -> RackView {
        let node = SlotNode {
            name: "n01".parse().unwrap(),
            status: NodeStatus::Ready,
            eligibility: Eligibility::Cordoned,
            thermal: ThermalState::Warm,
            temperature: Some(MilliCelsius(71_250)),
            load: Some(0.5),
            instances: vec!["web".into()],
        };
        let zone = Zone {
            name: "shelf-1".parse().unwrap(),
            thermal: ThermalState::Nominal,
            reason: String::new(),
            temperature: Some(MilliCelsius(22_500)),
            humidity: Some(MilliPercent(45_000)),
            dew_point: Some(MilliCelsius(10_000)),
            age_ms: Some(400),
            limits: Limits {
                warm: MilliCelsius::whole(27),
                hot: MilliCelsius::whole(35),
                critical: MilliCelsius::whole(45),
            },
            probes: vec![],
            fans: vec![Fan {
                id: "hub0:1".parse().unwrap(),
                wanted: MilliPercent::whole(60),
                duty: Some(MilliPercent::whole(45)),
                rpm: Some(0),
                stalled: true,
            }],
            fans_reason: String::new(),
            slots: vec![
                SlotView { slot: "r1/1/1".parse().unwrap(), node: Some(node) },
                SlotView { slot: "r1/1/2".parse().unwrap(), node: None },
            ],
        };
        RackView {
            at: Timestamp(0),
            zones: vec![zone],
            elsewhere: vec![],
            hubs: vec![],
            pending: 2,
            mode: ActingMode::Act,
        }
    }

    #[test]
    fn a_shelf_shows_heat_humidity_dew_point_and_age() {
        let edge = "  +-----------+-----------+\n";
        let expected = format!(
            "shelf-1  nominal  inlet 22.5 °C  humidity 45.0 %  dew point 10.0 °C  0.4 s old\n  \
             fan hub0:1  45.0 % (wanted 60.0 %)  0 rpm  STALLED\n{edge}  \
             | n01 cord  |           |\n  | 71.2 °C   |           |\n  | 50% 1 inst|           |\n{edge}2 waiting for a node\n"
        );
        assert_eq!(draw(&view(), false), expected);
    }

    #[test]
    fn colours_are_only_there_when_asked_for() {
        assert!(draw(&view(), true).contains("\x1b[33m"));
        assert!(!draw(&view(), false).contains('\x1b'));
    }
}
