//! The serial line between a hub (an Arduino with probes) and its host, as `sensor-firmware/PROTOCOL.md` specifies it.
//!
//! ```text
//!   bytes ──► Parser ──► Event::Frame / Event::Fault          frames and faults, byte by byte, no memory of its own
//!                │
//!                ▼
//!            Sequence                                         which frames may be trusted, how many are missing
//!                │
//!   bytes ──► Receiver (both of the above, and Counters)      what a serial reader thread uses
//!
//!   Frame::line() ──► Line                                    bytes to write
//! ```
//!
//! Owns: framing, checksum, ranges of values, the rule of trust. Sans-IO, `no_std`, no allocation, no clock: it never
//! opens a port, never waits and takes any bytes without panicking. It does not limit floods (the host has a budget of
//! frames for each port) and does not know what a zone is.
//!
//! A reader thread is this loop; the port should be flushed once after opening, for an operating system keeps bytes that
//! arrived before:
//!
//! ```
//! use roost_protocol::{Event, Frame, Receiver};
//!
//! let mut receiver = Receiver::new();
//! # let chunks = [&b"$R,7,1,2150,4510*A55E\r\n"[..], b"$R,8,1,2151,4500*8D86\r\n"];
//! # let mut seen = Vec::new();
//! for chunk in chunks {
//!     receiver.feed(chunk, |event| match event {
//!         Event::Frame(Frame::Reading(reading)) => {
//!             // temperature and humidity in hundredths, `None` where the probe could not measure
//!             # seen.push(reading);
//!         }
//!         Event::Frame(_) => {}
//!         Event::Fault(fault) => eprintln!("hub0: {fault}"),
//!     });
//! }
//! assert_eq!(receiver.counters().frames_ok, 2);
//! # assert_eq!(seen.len(), 1, "the first frame after opening is not trusted");
//! ```
#![no_std]
#![forbid(unsafe_code)]

mod checksum;
mod command;
mod fields;
mod frame;
mod line;
mod parser;
mod receiver;
mod report;
mod sequence;
pub mod settings;
mod text;

pub use checksum::checksum;
pub use command::{Action, Command, Query};
pub use frame::Frame;
pub use line::Line;
pub use parser::{Event, Fault, Parser};
pub use receiver::{Counters, Receiver};
pub use report::{Ack, AckCode, Fan, Hello, Identity, Kind, Reading, Setting, Status};
pub use sequence::{MAX_GAP, Sequence, Verdict};
pub use text::{Text, TextError};

/// Longest line in bytes, from `$` to the line feed. The longest frame there is, a hello, needs
/// `$H,65535,255,` 13 + firmware 32 + `,` 1 + capabilities 48 + `*CCCC\r\n` 7 = 101.
pub const MAX_LINE: usize = 120;
/// Version of the protocol that this crate speaks.
pub const VERSION: u8 = 1;
/// Probes are numbered from 1 to this.
pub const MAX_PROBES: u8 = 8;
/// Fans are numbered from 1 to this.
pub const MAX_FANS: u8 = 4;
/// Relays are numbered from 1 to this.
pub const MAX_RELAYS: u8 = 8;
/// Fastest fan in turns a minute: 976 pulses a second at one pulse a turn are 58,560.
pub const MAX_RPM: u16 = 60_000;
/// How hard a fan can be driven, in hundredths of a percent.
pub const DUTY_RANGE: core::ops::RangeInclusive<u16> = 0..=10_000;
/// Longest name of a probe's place in bytes.
pub const MAX_PLACE: usize = 24;
/// Longest name and version of a firmware in bytes.
pub const MAX_FIRMWARE: usize = 32;
/// Longest list of capabilities in bytes.
pub const MAX_CAPABILITIES: usize = 48;
/// What a probe can measure, in hundredths of a degree Celsius: −40 to 125 °C.
pub const TEMPERATURE_RANGE: core::ops::RangeInclusive<i16> = -4_000..=12_500;
/// What a probe can measure, in hundredths of a percent of relative humidity: 0 to 100 %.
pub const HUMIDITY_RANGE: core::ops::RangeInclusive<u16> = 0..=10_000;
