//! The rack as a feed: at most once a second, only when something in it changed, serialised once for all listeners.

use std::time::Duration;

use bytes::Bytes;
use roost_types::Timestamp;
use roost_types::rack::RackView;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::core::Core;

/// How often the rack is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Fans never turn quite evenly: smaller changes are no news.
const TURNS: u16 = 200;

/// The newest picture of the rack.
pub struct RackFeed {
    pictures: watch::Sender<Bytes>,
    /// Draws until this is dropped.
    draws: JoinHandle<()>,
}

impl RackFeed {
    /// Starts the feed; nothing is drawn while nobody listens.
    #[must_use]
    pub fn start(core: Core) -> Self {
        let pictures = watch::Sender::new(Bytes::new());
        let draws = tokio::spawn(draw(core, pictures.clone()));
        Self { pictures, draws }
    }

    /// Pictures from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Bytes> {
        self.pictures.subscribe()
    }
}

impl Drop for RackFeed {
    fn drop(&mut self) {
        self.draws.abort();
    }
}

async fn draw(core: Core, sender: watch::Sender<Bytes>) {
    let mut shown: Option<RackView> = None;
    let mut clock = tokio::time::interval(EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        if sender.receiver_count() == 0 {
            shown = None;
            continue;
        }
        let view = core.snapshot().rack_view(crate::clock::now());
        let timeless = without_ages(view.clone());
        if shown.as_ref() == Some(&timeless) {
            continue;
        }
        shown = Some(timeless);
        match serde_json::to_vec(&view) {
            Ok(bytes) => {
                sender.send_replace(bytes.into());
            }
            Err(error) => tracing::error!(%error, "the rack cannot be written as JSON"),
        }
    }
}

/// The view without what changes merely because time passes or frames are counted.
fn without_ages(mut view: RackView) -> RackView {
    view.at = Timestamp(0);
    for zone in &mut view.zones {
        zone.age_ms = None;
        zone.reason.clear();
        zone.fans_reason.clear();
        for fan in &mut zone.fans {
            fan.rpm = fan.rpm.map(|rpm| rpm / TURNS * TURNS);
        }
    }
    for hub in &mut view.hubs {
        hub.last_frame_at = None;
        hub.counters.frames_ok = 0;
        for probe in &mut hub.probes {
            probe.age_ms = None;
        }
    }
    view
}
