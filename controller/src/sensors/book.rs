//! What came over a line and was not reported yet.

use std::collections::BTreeMap;
use std::time::Instant;

use roost_model::{Command, ProbeValues};
use roost_protocol::{Event, Frame, Reading, Receiver};
use roost_types::rack::HubCounters;
use roost_types::{MilliCelsius, MilliPercent, Name};

use super::budget::Budget;

/// Parser, budget and the newest values of each probe.
pub struct Book {
    receiver: Receiver,
    budget: Budget,
    /// Frames dropped by the budget.
    dropped: u64,
    /// What the firmware said of itself since the last report.
    firmware: Option<String>,
    /// Newest values of each probe since the last report.
    fresh: BTreeMap<u8, ProbeValues>,
    /// Counters as they were last reported.
    reported: HubCounters,
    /// When a trusted frame last came.
    last_good: Option<Instant>,
}

impl Book {
    /// An empty one.
    pub fn new(now: Instant) -> Self {
        Self {
            receiver: Receiver::new(),
            budget: Budget::new(now),
            dropped: 0,
            firmware: None,
            fresh: BTreeMap::new(),
            reported: HubCounters::default(),
            last_good: None,
        }
    }

    /// The port was opened again: trust nothing of before, keep counting.
    pub fn reopen(&mut self) {
        self.receiver.reopen();
        self.fresh.clear();
        self.firmware = None;
        self.last_good = None;
    }

    /// When a trusted frame last came on this opening of the port.
    pub fn last_good(&self) -> Option<Instant> {
        self.last_good
    }

    /// Takes bytes from the port, as many as the budget allows.
    pub fn take(&mut self, bytes: &[u8], now: Instant) {
        let allowed = self.budget.take_bytes(bytes.len(), now);
        let (looked_at, over) = bytes.split_at(allowed);
        self.dropped += over.iter().filter(|byte| **byte == b'\n').count() as u64;
        let mut frames = Vec::new();
        self.receiver.feed(looked_at, |event| match event {
            Event::Frame(frame) => frames.push(frame),
            // Counted by the receiver.
            Event::Fault(_) => {}
        });
        for frame in frames {
            if self.budget.take_frame() {
                self.last_good = Some(now);
                self.note(frame);
            } else {
                self.dropped += 1;
            }
        }
    }

    fn note(&mut self, frame: Frame) {
        match frame {
            Frame::Reading(reading) => {
                self.fresh.insert(reading.probe, values(reading));
            }
            Frame::Hello(hello) => self.firmware = Some(hello.firmware.as_str().to_owned()),
            // Of no use to the controller yet.
            Frame::Fan(_) | Frame::Status(_) | Frame::Identity(_) | Frame::Setting(_) | Frame::Ack(_) => {}
            // Only a host says these.
            Frame::Query(_) | Frame::Command(_) => {}
        }
    }

    /// Everything new as one report; nothing when there is nothing new.
    pub fn report(&mut self, hub: &Name) -> Option<Command> {
        let counters = self.counters();
        if counters == self.reported {
            return None;
        }
        self.reported = counters;
        let probes = std::mem::take(&mut self.fresh).into_values().collect();
        Some(Command::HubReport { hub: hub.clone(), firmware: self.firmware.take(), probes, counters })
    }

    /// Counters in the API's words.
    pub fn counters(&self) -> HubCounters {
        let seen = self.receiver.counters();
        HubCounters {
            frames_ok: seen.frames_ok,
            bad_crc: seen.bad_crc,
            malformed: seen.malformed + seen.garbage,
            out_of_range: seen.out_of_range,
            dropped: seen.too_long + self.dropped,
            lost: seen.lost,
        }
    }
}

fn values(reading: Reading) -> ProbeValues {
    ProbeValues {
        number: reading.probe,
        temperature: reading.temperature_centi.map(|centi| MilliCelsius::from_centi(centi.into())),
        humidity: reading.humidity_centi.map(|centi| MilliPercent::from_centi(centi.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(seq: u16, centi: i16) -> Vec<u8> {
        let reading = Reading { seq, probe: 1, temperature_centi: Some(centi), humidity_centi: None, kind: None };
        Frame::Reading(reading).line().to_vec()
    }

    #[test]
    fn only_trusted_frames_become_values_and_only_news_is_reported() {
        let (now, hub) = (Instant::now(), "hub0".parse().unwrap());
        let mut book = Book::new(now);
        book.take(&reading(1, 2000), now);
        book.take(&reading(2, 2150), now);
        book.take(b"$R,3,1,nan,4*0000\r\n", now);
        let Some(Command::HubReport { probes, counters, .. }) = book.report(&hub) else { panic!("a report is due") };
        let expected = ProbeValues { number: 1, temperature: Some(MilliCelsius(21_500)), humidity: None };
        assert_eq!(probes, [expected]);
        assert_eq!((counters.frames_ok, counters.bad_crc), (2, 1));
        assert_eq!(book.report(&hub), None);
    }

    #[test]
    fn a_flood_is_counted_and_bounded() {
        let now = Instant::now();
        let mut book = Book::new(now);
        for seq in 0..1000 {
            book.take(&reading(seq, 2000), now);
        }
        let counters = book.counters();
        assert!(counters.frames_ok < 250 && counters.dropped > 700, "{counters:?}");
    }
}
