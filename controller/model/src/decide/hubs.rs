//! What the Arduinos say.

use std::sync::Arc;

use roost_types::rack::{HubCounters, ProbeId};
use roost_types::{EventKind, Name, Problem, Severity};

use crate::cluster::{HubLive, KEPT_READINGS, ProbeSample, not_found};
use crate::command::{ProbeValues, Reply};
use crate::draft::Draft;

pub fn report(
    draft: &mut Draft,
    hub: &Name,
    firmware: Option<&str>,
    probes: &[ProbeValues],
    counters: &HubCounters,
) -> Result<Reply, Problem> {
    let now = draft.now;
    let live = draft.cluster.hubs.get_mut(hub).ok_or_else(|| not_found("hub", hub.as_str()))?;
    let live = Arc::make_mut(live);
    let heard = !probes.is_empty() || firmware.is_some();
    let connects = heard && !live.connected;
    live.counters = *counters;
    if let Some(firmware) = firmware {
        live.firmware = Some(firmware.to_owned());
    }
    if heard {
        live.connected = true;
        live.last_frame = Some(now);
    }
    for values in probes {
        keep(live, values, now);
    }
    observe(draft, hub, probes);
    super::tick::zones(draft);
    if connects {
        draft.resolve(&format!("hub/{hub}"));
        draft.event(EventKind::HubConnected, subject(hub), format!("hub {hub} speaks"));
    }
    Ok(Reply::Done)
}

fn keep(live: &mut HubLive, values: &ProbeValues, at: roost_types::Timestamp) {
    let samples = live.probes.entry(values.number).or_default();
    samples.push_back(ProbeSample { at, temperature: values.temperature, humidity: values.humidity });
    if samples.len() > KEPT_READINGS {
        samples.pop_front();
    }
}

/// Hands the values to the zones that the probes stand in.
fn observe(draft: &mut Draft, hub: &Name, probes: &[ProbeValues]) {
    let config = Arc::clone(&draft.cluster.config);
    for values in probes {
        let probe = ProbeId { hub: hub.clone(), number: values.number };
        let zones = config.rack.zones.iter().filter(|zone| zone.probes.contains(&probe));
        for zone in zones {
            if let Some(heat) = draft.cluster.zones.get_mut(&zone.name) {
                Arc::make_mut(heat).observe(&probe, draft.now, values.temperature, values.humidity);
            }
        }
    }
}

pub fn lost(draft: &mut Draft, hub: &Name, reason: &str) -> Result<Reply, Problem> {
    let live = draft.cluster.hubs.get_mut(hub).ok_or_else(|| not_found("hub", hub.as_str()))?;
    let was = live.connected;
    Arc::make_mut(live).connected = false;
    let zones: Vec<Name> = draft.cluster.zones.keys().cloned().collect();
    for zone in zones {
        if let Some(heat) = draft.cluster.zones.get_mut(&zone) {
            Arc::make_mut(heat).lose_hub(hub);
        }
    }
    super::tick::zones(draft);
    if was {
        let message = format!("hub {hub} is lost: {reason}");
        draft.event(EventKind::HubDisconnected, subject(hub), &message);
        draft.fire(&format!("hub/{hub}"), Severity::Warning, &subject(hub), &message);
    }
    Ok(Reply::Done)
}

fn subject(hub: &Name) -> String {
    format!("/v1/hubs/{hub}")
}
