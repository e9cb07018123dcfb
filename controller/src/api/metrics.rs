//! `/metrics`: what a monitoring system scrapes, in Prometheus' text format. Read from the snapshot, kept nowhere.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use roost_types::AlertState;

use crate::core::Snapshot;
use crate::state::App;

/// Metrics of the rack.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    let snapshot = app.core.snapshot();
    let view = snapshot.rack_view(crate::clock::now());
    let mut text = Exposition::default();

    let mut statuses = BTreeMap::new();
    let slots = view.zones.iter().flat_map(|zone| &zone.slots).filter_map(|slot| slot.node.as_ref());
    for node in slots.chain(&view.elsewhere) {
        *statuses.entry(node.status.as_str()).or_insert(0_u32) += 1;
    }
    text.family("roost_nodes", "gauge", "Nodes by status.");
    for (status, count) in statuses {
        text.sample("roost_nodes", &[("status", status)], count);
    }
    text.family("roost_instances", "gauge", "Instances known.");
    text.sample("roost_instances", &[], snapshot.cluster.instances().count());
    text.family("roost_instances_pending", "gauge", "Instances that wait for a node.");
    text.sample("roost_instances_pending", &[], view.pending);
    text.family("roost_events_total", "counter", "Events since the cluster began.");
    text.sample("roost_events_total", &[], snapshot.last_event());

    alerts(&app, &snapshot, &mut text);

    text.family("roost_image_sent_bytes_total", "counter", "Bytes of images sent to nodes, by who sent them.");
    let by_controller = app.images.all_sent_to_nodes();
    text.sample("roost_image_sent_bytes_total", &[("by", "controller")], by_controller);
    for (node, bytes) in snapshot.cluster.images_sent_by_nodes() {
        text.sample("roost_image_sent_bytes_total", &[("by", "node"), ("node", node.as_str())], bytes);
    }

    text.family("roost_zone_temperature_celsius", "gauge", "Inlet temperature of a zone; absent when unknown.");
    for zone in &view.zones {
        if let Some(temperature) = zone.temperature {
            text.sample("roost_zone_temperature_celsius", &[("zone", zone.name.as_str())], temperature.as_f64());
        }
    }
    text.family("roost_hub_frames_total", "counter", "Frames of a hub's line by outcome.");
    for hub in &view.hubs {
        let counters = hub.counters;
        for (outcome, count) in [
            ("ok", counters.frames_ok),
            ("bad_crc", counters.bad_crc),
            ("malformed", counters.malformed),
            ("out_of_range", counters.out_of_range),
            ("dropped", counters.dropped),
            ("lost", counters.lost),
        ] {
            text.sample("roost_hub_frames_total", &[("hub", hub.name.as_str()), ("outcome", outcome)], count);
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text.0).into_response()
}

/// Alerts that are not over, and how those who should know of them are told.
fn alerts(app: &App, snapshot: &Snapshot, text: &mut Exposition) {
    let mut open = BTreeMap::new();
    for row in snapshot.cluster.alerts().filter(|row| row.state != AlertState::Resolved) {
        let labels = (row.severity.as_str(), row.state.as_str(), row.kind_and_object().0);
        *open.entry(labels).or_insert(0_u32) += 1;
    }
    text.family("roost_alerts", "gauge", "Alerts that are not resolved.");
    for ((severity, state, kind), count) in open {
        text.sample("roost_alerts", &[("severity", severity), ("state", state), ("kind", kind)], count);
    }
    text.family("roost_alert_notices_waiting", "gauge", "Messages about alerts that wait for a receiver.");
    for name in app.receivers.names() {
        let waiting = snapshot.cluster.waiting_notices(name).count();
        text.sample("roost_alert_notices_waiting", &[("receiver", name.as_str())], waiting);
    }
    let help = "Attempts to tell a receiver of alerts, by outcome, since the controller started.";
    text.family("roost_alert_attempts_total", "counter", help);
    for (name, outcome, count) in app.receivers.attempts() {
        text.sample("roost_alert_attempts_total", &[("receiver", name.as_str()), ("outcome", outcome)], count);
    }
}

/// Prometheus' text. Label values are names and words of ours: nothing in them needs escaping.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::Exposition;

    #[test]
    fn samples_are_lines_that_prometheus_reads() {
        let mut text = Exposition::default();
        text.family("a", "gauge", "What.");
        text.sample("a", &[], 1);
        text.sample("a", &[("x", "1"), ("y", "z")], 0.5);
        assert_eq!(text.0, "# HELP a What.\n# TYPE a gauge\na 1\na{x=\"1\",y=\"z\"} 0.5\n");
    }
}
