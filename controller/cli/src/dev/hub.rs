//! The simulated Arduino: the real firmware in `roost-hub-sim`, told what its chips feel, and the cable to the controller.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::sync::Mutex;

use super::firmware::Firmware;
use super::layout::Layout;
use super::process;
use super::relay::Cable;
use crate::error::CliError;

/// How long the simulator may take to show its line.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one chip feels, in the hundredths that its interface speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feeling {
    /// Hundredths of °C.
    pub centi_celsius: i32,
    /// Hundredths of percent relative humidity.
    pub centi_percent: i32,
}

/// The hub.
#[derive(Debug)]
pub struct Hub {
    firmware: Firmware,
    link: PathBuf,
    chip: PathBuf,
    log: PathBuf,
    probes: u16,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    plugged: Option<Plugged>,
    feelings: Vec<Feeling>,
}

/// A running simulator with its cable. It draws its power from the cable, so they come and go together.
#[derive(Debug)]
struct Plugged {
    simulator: Child,
    stdin: ChildStdin,
    cable: Cable,
}

impl Hub {
    /// An unplugged hub.
    pub fn new(layout: &Layout, firmware: Firmware) -> Arc<Self> {
        Arc::new(Self {
            firmware,
            link: layout.hub_path(),
            chip: layout.run().join("hub0-board"),
            log: layout.log("hub0"),
            probes: layout.shelves(),
            state: Mutex::default(),
        })
    }

    /// Whether it is plugged in.
    pub async fn is_plugged(&self) -> bool {
        self.state.lock().await.plugged.is_some()
    }

    /// Plugs it in: the firmware boots.
    ///
    /// # Errors
    /// When the simulator does not start.
    pub async fn plug(&self) -> Result<(), CliError> {
        let mut state = self.state.lock().await;
        if state.plugged.is_none() {
            let mut plugged = self.boot().await?;
            tell(&mut plugged.stdin, &state.feelings).await?;
            state.plugged = Some(plugged);
        }
        Ok(())
    }

    async fn boot(&self) -> Result<Plugged, CliError> {
        // A link of an earlier run must not be taken for the new one.
        let _ = std::fs::remove_file(&self.chip);
        let words: Vec<OsString> = vec![
            "--".into(),
            self.firmware.simulator.clone().into(),
            "--link".into(),
            self.chip.clone().into(),
            "--firmware".into(),
            self.firmware.elf.clone().into(),
            "--probes".into(),
            self.probes.to_string().into(),
        ];
        let mut simulator = process::spawn(&self.log, words, Stdio::piped())?;
        let stdin =
            simulator.stdin.take().ok_or_else(|| CliError::Failed("the simulator has no standard input".into()))?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.chip.exists() {
            if tokio::time::Instant::now() > deadline || simulator.try_wait().is_ok_and(|status| status.is_some()) {
                return Err(CliError::Failed(format!(
                    "the hub's simulator does not start: see {}",
                    self.log.display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let cable = Cable::plug(&self.chip, &self.link)?;
        Ok(Plugged { simulator, stdin, cable })
    }

    /// Pulls the plug: the line hangs up and the firmware stops.
    pub async fn unplug(&self) {
        let plugged = self.state.lock().await.plugged.take();
        if let Some(Plugged { simulator, stdin, cable }) = plugged {
            drop(cable);
            drop(stdin);
            process::end(simulator).await;
        }
    }

    /// Lets the chips feel something; only changes are told. A simulator that has died is started again.
    ///
    /// # Errors
    /// When it does not start again.
    pub async fn feel(&self, feelings: &[Feeling]) -> Result<(), CliError> {
        let mut state = self.state.lock().await;
        let changed = state.feelings != feelings;
        if changed {
            state.feelings = feelings.to_vec();
        }
        let Some(plugged) = &mut state.plugged else { return Ok(()) };
        let dead = plugged.simulator.try_wait().is_ok_and(|status| status.is_some());
        if dead || (changed && tell(&mut plugged.stdin, feelings).await.is_err()) {
            eprintln!("the hub's simulator ended unasked; starting it again, see {}", self.log.display());
            state.plugged = None;
            drop(state);
            return self.plug().await;
        }
        Ok(())
    }

    /// Puts bytes on the line.
    ///
    /// # Errors
    /// When it is not plugged in.
    pub async fn inject(&self, bytes: &[u8]) -> Result<(), CliError> {
        match &self.state.lock().await.plugged {
            Some(plugged) => plugged.cable.inject(bytes).await,
            None => Err(CliError::Failed("the hub is not plugged in".into())),
        }
    }
}

/// One line per chip.
async fn tell(stdin: &mut ChildStdin, feelings: &[Feeling]) -> Result<(), CliError> {
    let lines: String = feelings
        .iter()
        .enumerate()
        .map(|(index, f)| format!("probe {} {} {}\n", index + 1, f.centi_celsius, f.centi_percent))
        .collect();
    let told = async {
        stdin.write_all(lines.as_bytes()).await?;
        stdin.flush().await
    };
    told.await.map_err(|e| CliError::step("telling the hub's simulator what its chips feel", e))
}
