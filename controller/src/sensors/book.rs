//! What came over a line and was not reported yet.

use std::collections::BTreeMap;
use std::time::Instant;

use roost_model::{Command, FanValues, HubNews, HubWish, ProbeValues, RelayValues};
use roost_protocol::{Event, Fan, Frame, Line, Reading, Receiver};
use roost_types::rack::HubCounters;
use roost_types::{MilliCelsius, MilliPercent, Name};

use super::budget::Budget;
use super::commands::Commands;

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
    /// Newest values of each fan since the last report.
    fans: BTreeMap<u8, FanValues>,
    /// The state of the relays, if it was told since the last report.
    relays: Option<RelayValues>,
    /// What the hub is told, and what it answers.
    commands: Commands,
    /// Counters as they were last reported.
    reported: HubCounters,
    /// When a trusted frame last came.
    last_good: Option<Instant>,
}

impl Book {
    /// An empty one; commands are numbered from `seq`.
    pub fn new(now: Instant, seq: u16) -> Self {
        Self {
            receiver: Receiver::new(),
            budget: Budget::new(now),
            dropped: 0,
            firmware: None,
            fresh: BTreeMap::new(),
            fans: BTreeMap::new(),
            relays: None,
            commands: Commands::new(seq),
            reported: HubCounters::default(),
            last_good: None,
        }
    }

    /// The port was opened again: trust nothing of before, keep counting.
    pub fn reopen(&mut self) {
        self.receiver.reopen();
        self.fresh.clear();
        self.fans.clear();
        self.relays = None;
        self.commands.reopen();
        self.firmware = None;
        self.last_good = None;
    }

    /// When a trusted frame last came on this opening of the port.
    pub fn last_good(&self) -> Option<Instant> {
        self.last_good
    }

    /// The lines that the hub should be told now; none before it has spoken, for a boot loader listens before.
    pub fn commands(&mut self, wish: &HubWish, now: Instant) -> Vec<Line> {
        if self.last_good.is_some() { self.commands.due(wish, now) } else { Vec::new() }
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
                self.note(frame, now);
            } else {
                self.dropped += 1;
            }
        }
    }

    fn note(&mut self, frame: Frame, now: Instant) {
        match frame {
            Frame::Reading(reading) => {
                self.fresh.insert(reading.probe, values(reading));
            }
            Frame::Hello(hello) => self.firmware = Some(hello.firmware.as_str().to_owned()),
            Frame::Fan(fan) => {
                self.commands.fan(fan);
                self.fans.insert(fan.fan, fan_values(fan));
            }
            Frame::Status(status) => {
                self.commands.status(status);
                self.relays = Some(RelayValues { on: status.relays_on, there: status.relays_there });
            }
            Frame::Ack(ack) => self.commands.acknowledged(ack, now),
            // Of no use to the controller yet.
            Frame::Identity(_) | Frame::Setting(_) => {}
            // Only a host says these.
            Frame::Query(_) | Frame::Command(_) => {}
        }
    }

    /// Everything new as one report; nothing when there is nothing new.
    pub fn report(&mut self, hub: &Name) -> Option<Command> {
        let (counters, disobeys) = (self.counters(), self.commands.disobedience());
        if counters == self.reported && disobeys.is_none() {
            return None;
        }
        self.reported = counters;
        let news = HubNews {
            firmware: self.firmware.take(),
            probes: std::mem::take(&mut self.fresh).into_values().collect(),
            fans: std::mem::take(&mut self.fans).into_values().collect(),
            relays: self.relays.take(),
            disobeys,
            counters,
        };
        Some(Command::HubReport { hub: hub.clone(), news: Box::new(news) })
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

fn fan_values(fan: Fan) -> FanValues {
    FanValues { number: fan.fan, duty: MilliPercent::from_centi(fan.duty_centi.into()), rpm: fan.rpm }
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
    use roost_protocol::Status;

    use super::*;

    fn reading(seq: u16, centi: i16) -> Vec<u8> {
        let reading = Reading { seq, probe: 1, temperature_centi: Some(centi), humidity_centi: None, kind: None };
        Frame::Reading(reading).line().to_vec()
    }

    #[test]
    fn only_trusted_frames_become_values_and_only_news_is_reported() {
        let (now, hub) = (Instant::now(), "hub0".parse().unwrap());
        let mut book = Book::new(now, 0);
        book.take(&reading(1, 2000), now);
        book.take(&reading(2, 2150), now);
        book.take(b"$R,3,1,nan,4*0000\r\n", now);
        let Some(Command::HubReport { news, .. }) = book.report(&hub) else { panic!("a report is due") };
        let HubNews { probes, counters, .. } = *news;
        let expected = ProbeValues { number: 1, temperature: Some(MilliCelsius(21_500)), humidity: None };
        assert_eq!(probes, [expected]);
        assert_eq!((counters.frames_ok, counters.bad_crc), (2, 1));
        assert_eq!(book.report(&hub), None);
    }

    #[test]
    fn a_flood_is_counted_and_bounded() {
        let now = Instant::now();
        let mut book = Book::new(now, 0);
        for seq in 0..1000 {
            book.take(&reading(seq, 2000), now);
        }
        let counters = book.counters();
        assert!(counters.frames_ok < 250 && counters.dropped > 700, "{counters:?}");
    }

    #[test]
    fn fans_and_relays_are_reported_and_told_only_once_the_hub_has_spoken() {
        let (now, hub) = (Instant::now(), "hub0".parse().unwrap());
        let wish = HubWish { fans: vec![(2, 4000)], relays: Vec::new() };
        let mut book = Book::new(now, 7);
        assert!(book.commands(&wish, now).is_empty(), "a boot loader may be listening");
        let fan = |seq, duty_centi| Frame::Fan(Fan { seq, fan: 2, duty_centi, rpm: Some(1200) }).line();
        let status = Status { seq: 3, uptime_seconds: 9, relays_on: 1, relays_there: 3, failsafe: false };
        book.take(&fan(1, 10_000), now);
        book.take(&fan(2, 10_000), now);
        book.take(&Frame::Status(status).line(), now);
        assert_eq!(book.commands(&wish, now).len(), 1);
        let Some(Command::HubReport { news, .. }) = book.report(&hub) else { panic!("a report is due") };
        assert_eq!(news.fans, [FanValues { number: 2, duty: MilliPercent::whole(100), rpm: Some(1200) }]);
        assert_eq!(news.relays, Some(RelayValues { on: 1, there: 3 }));
    }
}
