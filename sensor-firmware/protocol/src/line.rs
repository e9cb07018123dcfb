//! Bytes of one line, ready to be written to a port.

use core::fmt::{self, Write as _};
use core::ops::Deref;

use crate::{MAX_LINE, checksum};

/// A whole line from `$` to the line feed. Dereferences to its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line {
    bytes: [u8; MAX_LINE],
    length: usize,
}

impl Deref for Line {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl AsRef<[u8]> for Line {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

/// Collects a frame's body. Every frame fits (see [`MAX_LINE`]), so that writing cannot fail.
pub(crate) struct Writer {
    line: Line,
}

impl Writer {
    /// A line that begins with `$`.
    pub(crate) const fn new() -> Self {
        let mut bytes = [0; MAX_LINE];
        bytes[0] = b'$';
        Self { line: Line { bytes, length: 1 } }
    }

    /// Append text.
    pub(crate) fn put(&mut self, text: fmt::Arguments<'_>) {
        let fits = self.write_fmt(text).is_ok();
        debug_assert!(fits, "a frame is longer than MAX_LINE");
    }

    /// Append a value, or nothing.
    pub(crate) fn optional(&mut self, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.put(format_args!("{value}"));
        }
    }

    /// Append checksum and line end.
    pub(crate) fn finish(mut self) -> Line {
        let sum = checksum(&self.line[1..]);
        self.put(format_args!("*{sum:04X}\r\n"));
        self.line
    }
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.line.length + text.len();
        self.line.bytes.get_mut(self.line.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.line.length = end;
        Ok(())
    }
}
