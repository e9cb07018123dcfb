//! The wires that leave the simulated hub: what its firmware does to fans and relays, as its simulator says it line by line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::ChildStdout;
use tokio::sync::Notify;

/// Fan outputs of a hub.
pub const FANS: usize = 4;
/// Hundredths of a percent: a fan whose wire nobody drives pulls it up itself.
const FULL: u16 = 10_000;

/// What is driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Driven {
    /// Drive of each fan, hundredths of a percent.
    duties: [u16; FANS],
    /// Pins of the relay board, which switches on what is low.
    pins: u8,
}

impl Default for Driven {
    fn default() -> Self {
        Self { duties: [FULL; FANS], pins: u8::MAX }
    }
}

/// The wires.
#[derive(Debug, Default)]
pub struct Wires {
    driven: Mutex<Driven>,
    /// A relay was switched.
    pub switched: Notify,
}

impl Wires {
    fn driven(&self) -> MutexGuard<'_, Driven> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How hard a fan is driven, 0 to 1.
    pub fn duty(&self, fan: usize) -> f64 {
        f64::from(self.driven().duties[fan % FANS]) / f64::from(FULL)
    }

    /// Whether a relay's coil has current; `relay` from 0.
    pub fn is_on(&self, relay: u8) -> bool {
        self.driven().pins >> (relay % 8) & 1 == 0
    }

    /// The hub has no power: fans run at full, relays let go.
    pub fn release(&self) {
        *self.driven() = Driven::default();
        self.switched.notify_one();
    }

    /// Takes a line of the simulator in; one that says nothing of fans or relays changes nothing.
    fn take(&self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["fan", fan, "duty", duty] => {
                let fan = fan.parse::<usize>().ok().and_then(|fan| fan.checked_sub(1)).filter(|fan| *fan < FANS);
                if let (Some(fan), Ok(duty)) = (fan, duty.parse::<u16>()) {
                    self.driven().duties[fan] = duty.min(FULL);
                }
            }
            ["pcf8574", pins] => {
                let pins = pins.strip_prefix("0x").and_then(|hex| u8::from_str_radix(hex, 16).ok());
                if let Some(pins) = pins {
                    self.driven().pins = pins;
                    self.switched.notify_one();
                }
            }
            _ => {}
        }
    }
}

/// Follows what a simulator says until it ends; every line is logged too.
pub async fn follow(wires: Arc<Wires>, said: ChildStdout, log: std::fs::File) {
    let mut log = tokio::fs::File::from_std(log);
    let mut lines = BufReader::new(said).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        wires.take(&line);
        if !line.starts_with("fan ") {
            // A full disk must not stop the fans.
            let _ = log.write_all(format!("{line}\n").as_bytes()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_simulator_drive_and_other_lines_do_not() {
        let wires = Wires::default();
        assert!((wires.duty(0) - 1.0).abs() < 1e-9 && !wires.is_on(2), "nobody drives");
        for line in ["fan 1 duty 4500", "fan 2 duty 99999", "fan 5 duty 1", "fan 0 duty 1", "fan x duty y", "pin 3 low"]
        {
            wires.take(line);
        }
        wires.take("pcf8574 0xFB");
        assert!((wires.duty(0) - 0.45).abs() < 1e-9 && (wires.duty(1) - 1.0).abs() < 1e-9);
        assert_eq!((0..8).filter(|relay| wires.is_on(*relay)).collect::<Vec<_>>(), [2]);
        wires.release();
        assert!((wires.duty(0) - 1.0).abs() < 1e-9 && !wires.is_on(2));
    }
}
