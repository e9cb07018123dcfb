//! What a host's serial reader uses: parser, rule of trust and counters in one.

use crate::{Event, Fault, Frame, Parser, Sequence, Verdict};

/// What came over one line, since the receiver was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Frames whose checksum was right and that could be read, trusted or not.
    pub frames_ok: u64,
    /// Lines with a wrong checksum.
    pub bad_crc: u64,
    /// Lines without a checksum, or with a right one and fields that make no sense.
    pub malformed: u64,
    /// Runs of bytes that belong to no line.
    pub garbage: u64,
    /// Lines that were too long.
    pub too_long: u64,
    /// Values that no chip can measure.
    pub out_of_range: u64,
    /// Good frames that were not handed out: the first after opening, after a jump of the numbers, or there before.
    pub untrusted: u64,
    /// Frames that the numbers say are missing.
    pub lost: u64,
}

/// The host's end of a line.
#[derive(Clone, Default, Debug)]
pub struct Receiver {
    parser: Parser,
    sequence: Sequence,
    counters: Counters,
}

impl Receiver {
    /// For a port that was just opened.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            parser: Parser::new(),
            sequence: Sequence::new(),
            counters: Counters {
                frames_ok: 0,
                bad_crc: 0,
                malformed: 0,
                garbage: 0,
                too_long: 0,
                out_of_range: 0,
                untrusted: 0,
                lost: 0,
            },
        }
    }

    /// The port was opened again: trust nothing of before, keep counting.
    pub fn reopen(&mut self) {
        *self = Self { counters: self.counters, ..Self::new() };
    }

    /// Whether frames are being handed out.
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        self.sequence.is_trusted()
    }

    /// What came so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Take bytes; every trusted frame and every fault is handed to `on_event`.
    pub fn feed(&mut self, bytes: &[u8], mut on_event: impl FnMut(Event)) {
        for byte in bytes {
            if let Some(event) = self.push(*byte) {
                on_event(event);
            }
        }
    }

    /// Take one byte; a trusted frame or a fault that ends with it.
    pub fn push(&mut self, byte: u8) -> Option<Event> {
        let event = self.parser.push(byte)?;
        let handed_out = match event {
            Event::Frame(frame) => self.accept(frame),
            Event::Fault(fault) => {
                self.count(fault);
                true
            }
        };
        handed_out.then_some(event)
    }

    fn accept(&mut self, frame: Frame) -> bool {
        self.counters.frames_ok += 1;
        let trusted = match frame.hub_seq() {
            Some(seq) => self.follow(seq),
            None => self.is_trusted(),
        };
        self.counters.untrusted += u64::from(!trusted);
        trusted
    }

    fn follow(&mut self, seq: u16) -> bool {
        match self.sequence.observe(seq) {
            Verdict::Trusted { lost } => {
                self.counters.lost += u64::from(lost);
                true
            }
            Verdict::Untrusted => false,
        }
    }

    fn count(&mut self, fault: Fault) {
        let counter = match fault {
            Fault::BadCrc => &mut self.counters.bad_crc,
            Fault::Malformed => &mut self.counters.malformed,
            Fault::TooLong => &mut self.counters.too_long,
            Fault::Garbage => &mut self.counters.garbage,
            Fault::OutOfRange { seq, .. } => {
                self.follow(seq);
                &mut self.counters.out_of_range
            }
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::{Ack, AckCode, Reading};

    fn reading(seq: u16) -> Frame {
        Frame::Reading(Reading { seq, probe: 1, temperature_centi: Some(2150), humidity_centi: Some(4510), kind: None })
    }

    fn feed(receiver: &mut Receiver, lines: &[&[u8]]) -> Vec<Event> {
        let mut events = Vec::new();
        for line in lines {
            receiver.feed(line, |event| events.push(event));
        }
        events
    }

    #[test]
    fn the_first_frame_after_opening_is_dropped_each_time() {
        let mut receiver = Receiver::new();
        assert_eq!(feed(&mut receiver, &[&reading(7).line(), &reading(8).line()]), [Event::Frame(reading(8))]);
        receiver.reopen();
        assert_eq!(feed(&mut receiver, &[&reading(9).line()]), []);
        assert!(!receiver.is_trusted());
        assert_eq!(receiver.counters(), Counters { frames_ok: 3, untrusted: 2, ..Counters::default() });
    }

    #[test]
    fn a_value_out_of_range_is_counted_and_is_not_lost() {
        let hot = Reading { seq: 3, probe: 2, temperature_centi: Some(20_000), humidity_centi: None, kind: None };
        let mut receiver = Receiver::new();
        let lines = [reading(1).line(), reading(2).line(), Frame::Reading(hot).line(), reading(4).line()];
        let events = feed(&mut receiver, &lines.each_ref().map(|l| &**l));
        let fault = Event::Fault(Fault::OutOfRange { seq: 3, probe: 2 });
        assert_eq!(events, [Event::Frame(reading(2)), fault, Event::Frame(reading(4))]);
        assert_eq!(
            receiver.counters(),
            Counters { frames_ok: 3, out_of_range: 1, untrusted: 1, ..Counters::default() }
        );
    }

    #[test]
    fn missing_frames_are_counted() {
        let mut receiver = Receiver::new();
        feed(&mut receiver, &[&reading(1).line(), &reading(2).line(), &reading(6).line()]);
        assert_eq!(receiver.counters().lost, 3);
    }

    #[test]
    fn an_acknowledgement_is_believed_only_on_a_trusted_line() {
        let ack = Frame::Ack(Ack { seq: 9_000, code: AckCode::Done });
        let mut receiver = Receiver::new();
        assert_eq!(feed(&mut receiver, &[&ack.line()]), []);
        let lines = [reading(1).line(), reading(2).line(), ack.line()];
        let events = feed(&mut receiver, &lines.each_ref().map(|l| &**l));
        assert_eq!(events, [Event::Frame(reading(2)), Event::Frame(ack)]);
    }
}
