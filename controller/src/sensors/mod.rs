//! The hubs' serial lines: one blocking thread per line, readings to the core at most four times a second, commands to
//! the hub as often as what it does differs from what the core wants.
//!
//! ```text
//!  /dev/serial/by-id/… or pty ─▶ thread: open, read, budget, parse ─▶ channel ─▶ task ─▶ Command::HubReport | HubLost
//!             ▲                    ▲            │ EOF, EIO, missing
//!             │                    └── backoff ─┘ 0.2 s … 5 s
//!             └── commands ◀── wish of the newest snapshot
//! ```
//!
//! Owns ports and byte budgets. What a line's bytes mean is known by `roost-protocol`; what readings mean by the model.
//! A flood is dropped by budget, never by closing the port. The thread never stops for bad data.

mod book;
mod budget;
mod commands;
mod line;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roost_model::Command;
use roost_types::Name;
use roost_types::rack::HubConfig;
use tokio::sync::mpsc;

use crate::core::Core;

/// Reports that may wait for the core; the thread keeps collecting while there is no room.
const REPORTS: usize = 8;
/// A core that published nothing for so long is not alive; it looks at the time four times a second.
const CORE_LIVES: Duration = Duration::from_secs(10);

/// The threads of all hubs; they end soon after this is dropped.
pub struct Sensors {
    stop: Arc<AtomicBool>,
}

impl Sensors {
    /// Starts a thread for each hub.
    ///
    /// # Errors
    /// When the machine gives no thread.
    pub fn start(hubs: &[HubConfig], core: &Core) -> std::io::Result<Self> {
        let sensors = Self { stop: Arc::new(AtomicBool::new(false)) };
        for hub in hubs {
            let (reports, waiting) = mpsc::channel(REPORTS);
            let (hub, stop) = (hub.clone(), Arc::clone(&sensors.stop));
            let (wishes, seq) = (wishes(core.clone(), hub.name.clone()), u16::from_ne_bytes(crate::random::bytes()?));
            std::thread::Builder::new()
                .name(format!("hub {}", hub.name))
                .spawn(move || line::Line::new(hub, seq, wishes, reports, stop).run())?;
            tokio::spawn(forward(waiting, core.clone()));
        }
        Ok(sensors)
    }
}

impl Drop for Sensors {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn wishes(core: Core, hub: Name) -> line::Wishes {
    Box::new(move || {
        let snapshot = core.snapshot();
        let lives = crate::clock::now().since(snapshot.published_at()) < CORE_LIVES;
        lives.then(|| snapshot.cluster.wish_of_hub(&hub))
    })
}

async fn forward(mut waiting: mpsc::Receiver<Command>, core: Core) {
    while let Some(command) = waiting.recv().await {
        if let Err(problem) = core.submit(command).await {
            tracing::warn!(%problem, "a hub's report was not taken");
        }
    }
}
