//! What is written, in pieces of one size, for another task to send.

use std::io::{self, Write};

/// Collects what is written and hands it on piece by piece; what is left over, when it is flushed.
pub struct Pieces<F> {
    buffer: Vec<u8>,
    size: usize,
    hand_on: F,
}

impl<F: FnMut(Vec<u8>) -> bool> Pieces<F> {
    /// Pieces of `size` bytes; `hand_on` says whether somebody still takes them.
    #[must_use]
    pub fn new(size: usize, hand_on: F) -> Self {
        Self { buffer: Vec::with_capacity(size), size, hand_on }
    }
}

impl<F: FnMut(Vec<u8>) -> bool> Write for Pieces<F> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == self.size {
            self.flush()?;
        }
        let n = data.len().min(self.size - self.buffer.len());
        self.buffer.extend_from_slice(&data[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(self.size));
        if (self.hand_on)(piece) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}
