//! The simulated Arduino: the real firmware in `roost-hub-sim`, told what its chips feel, and the cable to the controller.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::sync::Mutex;

use super::firmware::Firmware;
use super::layout::Layout;
use super::process;
use super::relay::Cable;
use super::wires::{self, FANS, Wires};
use crate::error::CliError;

/// How long the simulator may take to show its line.
const PATIENCE: Duration = Duration::from_secs(5);
/// Turns a minute of a shelf's fans at full drive: small fans of 40 mm.
const FULL_RPM: u32 = 5_000;

/// The relay board on the hub's bus.
const RELAY_BOARD: &str = "pcf8574@0x20";

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
    /// What its firmware does to fans and relays.
    pub wires: Arc<Wires>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    plugged: Option<Plugged>,
    feelings: Vec<Feeling>,
    /// Fans that somebody holds, so that they stand still, and those that no shelf has.
    held: [bool; FANS],
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
            wires: Arc::default(),
            state: Mutex::new(State {
                held: std::array::from_fn(|fan| fan >= usize::from(layout.shelves())),
                ..State::default()
            }),
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
            tell(&mut plugged.stdin, &feel_lines(&state.feelings)).await?;
            tell(&mut plugged.stdin, &fan_lines(&state.held)).await?;
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
            "--chip".into(),
            RELAY_BOARD.into(),
        ];
        let log = process::open_log(&self.log)?;
        let mut simulator = process::spawn_talking(&self.log, words)?;
        let (stdin, stdout) = simulator
            .stdin
            .take()
            .zip(simulator.stdout.take())
            .ok_or_else(|| CliError::Failed("the simulator has no pipes".into()))?;
        tokio::spawn(wires::follow(Arc::clone(&self.wires), stdout, log));
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
            self.wires.release();
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
        if dead || (changed && tell(&mut plugged.stdin, &feel_lines(feelings)).await.is_err()) {
            eprintln!("the hub's simulator ended unasked; starting it again, see {}", self.log.display());
            state.plugged = None;
            drop(state);
            return self.plug().await;
        }
        Ok(())
    }

    /// Holds a fan so that it stands still whatever its drive, or lets it go.
    ///
    /// # Errors
    /// When the simulator does not listen.
    pub async fn hold_fan(&self, fan: usize, held: bool) -> Result<(), CliError> {
        let mut state = self.state.lock().await;
        state.held[fan % FANS] = held;
        let lines = fan_lines(&state.held);
        match &mut state.plugged {
            Some(plugged) => tell(&mut plugged.stdin, &lines).await,
            None => Ok(()),
        }
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
fn feel_lines(feelings: &[Feeling]) -> String {
    let line = |(index, f): (usize, &Feeling)| format!("probe {} {} {}\n", index + 1, f.centi_celsius, f.centi_percent);
    feelings.iter().enumerate().map(line).collect()
}

/// One line per fan.
fn fan_lines(held: &[bool; FANS]) -> String {
    let line = |(index, held): (usize, &bool)| format!("fan {} {}\n", index + 1, if *held { 0 } else { FULL_RPM });
    held.iter().enumerate().map(line).collect()
}

async fn tell(stdin: &mut ChildStdin, lines: &str) -> Result<(), CliError> {
    let told = async {
        stdin.write_all(lines.as_bytes()).await?;
        stdin.flush().await
    };
    told.await.map_err(|e| CliError::step("telling the hub's simulator what its chips and fans do", e))
}
