//! What the Arduinos say.

use std::sync::Arc;

use roost_types::rack::ProbeId;
use roost_types::{EventKind, Name, Problem, Severity};

use crate::cluster::{HubLive, KEPT_READINGS, ProbeSample, not_found};
use crate::command::{HubNews, ProbeValues, Reply};
use crate::draft::Draft;
use crate::{cooling, relays};

pub fn report(draft: &mut Draft, hub: &Name, news: &HubNews) -> Result<Reply, Problem> {
    let now = draft.now;
    let live = draft.cluster.hubs.get_mut(hub).ok_or_else(|| not_found("hub", hub.as_str()))?;
    let live = Arc::make_mut(live);
    let heard = !news.probes.is_empty() || !news.fans.is_empty() || news.firmware.is_some();
    let connects = heard && !live.connected;
    live.counters = news.counters;
    if let Some(firmware) = &news.firmware {
        live.firmware = Some(firmware.clone());
    }
    if heard {
        live.connected = true;
        live.last_frame = Some(now);
    }
    for values in &news.probes {
        keep(live, values, now);
    }
    observe(draft, hub, &news.probes);
    cooling::observe(draft, hub, &news.fans);
    relays::observe(draft, hub, news.relays);
    if let Some(disobeys) = &news.disobeys {
        obedience(draft, hub, disobeys);
    }
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

/// Fires when a hub does not do what it is told, resolves when it does.
fn obedience(draft: &mut Draft, hub: &Name, disobeys: &[String]) {
    let key = format!("hub-commands/{hub}");
    if disobeys.is_empty() {
        draft.resolve(&key);
        return;
    }
    let message = format!("hub {hub} does not do what it is told: {}", disobeys.join("; "));
    draft.fire(&key, Severity::Warning, &subject(hub), &message);
    draft.amend(&key, &message);
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
    cooling::lose_hub(draft, hub);
    relays::lose_hub(draft, hub);
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
