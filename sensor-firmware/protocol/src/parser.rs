//! Bytes in, frames and faults out. Finds its place again at every `$`.
//!
//! ```text
//!            `$`                    line feed: Frame | BadCrc | Malformed | OutOfRange
//!   Between ─────► Inside ─────────────────────────────────────────────────────────► Between
//!     │  ▲           │ ▲ │ `$`: Garbage, begin again
//!     │  │           │ └─┘
//!     │  │ line feed │ more than MAX_LINE bytes: TooLong
//!     │  └────────── Skipping ──`$`──► Inside
//!     └ any other byte: Garbage, once for a run
//! ```

use core::fmt;

use crate::{Frame, MAX_LINE, checksum};

/// What the parser found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A good frame.
    Frame(Frame),
    /// Something that is not a good frame. Never a reading.
    Fault(Fault),
}

/// Why bytes were not a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The checksum is not that of the line.
    BadCrc,
    /// The line has no checksum, or its checksum is right and its fields make no sense or are of an unknown type.
    Malformed,
    /// The line has more than [`MAX_LINE`] bytes.
    TooLong,
    /// Bytes that belong to no whole line; a run of them, up to the next whole line, counts once.
    Garbage,
    /// The checksum is right and a value is none that the chip can measure.
    OutOfRange {
        /// Number of the frame, so that it does not count as lost.
        seq: u16,
        /// The probe, 1 to 8.
        probe: u8,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadCrc => f.write_str("wrong checksum"),
            Self::Malformed => f.write_str("malformed frame"),
            Self::TooLong => write!(f, "line longer than {MAX_LINE} bytes"),
            Self::Garbage => f.write_str("bytes between frames"),
            Self::OutOfRange { probe, .. } => write!(f, "probe {probe} sent a value out of range"),
        }
    }
}

impl core::error::Error for Fault {}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Between,
    Inside,
    Skipping,
}

/// The line's parser. Takes any bytes; holds at most one line.
#[derive(Clone, Debug)]
pub struct Parser {
    place: Place,
    /// Bytes after `$`.
    buffer: [u8; MAX_LINE - 1],
    length: usize,
    /// The present run of garbage was told.
    garbage_told: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser that waits for a `$`.
    #[must_use]
    pub const fn new() -> Self {
        Self { place: Place::Between, buffer: [0; MAX_LINE - 1], length: 0, garbage_told: false }
    }

    /// Take one byte.
    pub fn push(&mut self, byte: u8) -> Option<Event> {
        match (self.place, byte) {
            (Place::Between | Place::Skipping, b'$') => {
                self.begin();
                None
            }
            (Place::Inside, b'$') => {
                self.begin();
                self.garbage()
            }
            (Place::Between, b'\r' | b'\n') => None,
            (Place::Between, _) => self.garbage(),
            (Place::Skipping, b'\n') => {
                self.place = Place::Between;
                None
            }
            (Place::Skipping, _) => None,
            (Place::Inside, _) => self.inside(byte),
        }
    }

    /// Take bytes and hand every event to `on_event`.
    pub fn feed(&mut self, bytes: &[u8], mut on_event: impl FnMut(Event)) {
        for byte in bytes {
            if let Some(event) = self.push(*byte) {
                on_event(event);
            }
        }
    }

    fn begin(&mut self) {
        self.place = Place::Inside;
        self.length = 0;
    }

    fn garbage(&mut self) -> Option<Event> {
        let first = !self.garbage_told;
        self.garbage_told = true;
        first.then_some(Event::Fault(Fault::Garbage))
    }

    fn inside(&mut self, byte: u8) -> Option<Event> {
        let Some(place) = self.buffer.get_mut(self.length) else {
            self.place = Place::Skipping;
            self.garbage_told = false;
            return Some(Event::Fault(Fault::TooLong));
        };
        *place = byte;
        self.length += 1;
        if byte != b'\n' {
            return None;
        }
        self.place = Place::Between;
        self.garbage_told = false;
        Some(match decode(&self.buffer[..self.length]) {
            Ok(frame) => Event::Frame(frame),
            Err(fault) => Event::Fault(fault),
        })
    }
}

/// Read what follows `$`, line end included.
fn decode(line: &[u8]) -> Result<Frame, Fault> {
    let [body @ .., b'*', a, b, c, d, b'\r', b'\n'] = line else {
        return Err(Fault::Malformed);
    };
    let sum = [a, b, c, d].into_iter().try_fold(0_u16, |sum, digit| Some(sum << 4 | hex_digit(*digit)?));
    if sum.ok_or(Fault::Malformed)? != checksum(body) {
        return Err(Fault::BadCrc);
    }
    Frame::decode(body)
}

fn hex_digit(digit: u8) -> Option<u16> {
    match digit {
        b'0'..=b'9' => Some(u16::from(digit - b'0')),
        b'A'..=b'F' => Some(u16::from(digit - b'A') + 10),
        _ => None,
    }
}
