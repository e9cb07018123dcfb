//! Bounded text inside a frame, without allocation.

use core::fmt;

/// Up to `N` bytes of printable ASCII without `$`, `*` and `,`, which mean something on the line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

/// Text that may not stand in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextError {
    /// It has more bytes than the field may have.
    TooLong {
        /// How many it may have.
        limit: usize,
    },
    /// It has a byte that is not printable ASCII, or is `$`, `*` or `,`.
    BadByte {
        /// Where, from 0.
        at: usize,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit } => write!(f, "text has more than {limit} bytes"),
            Self::BadByte { at } => write!(f, "byte {at} of the text may not stand in a frame"),
        }
    }
}

impl core::error::Error for TextError {}

impl<const N: usize> Text<N> {
    const FITS: () = assert!(N <= u8::MAX as usize);

    /// Take text.
    ///
    /// # Errors
    /// The text is longer than `N` bytes, or has a byte that may not stand in a frame.
    pub fn new(text: &[u8]) -> Result<Self, TextError> {
        let () = Self::FITS;
        if text.len() > N {
            return Err(TextError::TooLong { limit: N });
        }
        if let Some(at) = text.iter().position(|b| !(b' '..=b'~').contains(b) || b"$*,".contains(b)) {
            return Err(TextError::BadByte { at });
        }
        let mut bytes = [0; N];
        bytes[..text.len()].copy_from_slice(text);
        Ok(Self { bytes, length: u8::try_from(text.len()).unwrap_or(u8::MAX) })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("")
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_line_can_carry_is_text() {
        assert_eq!(Text::<8>::new(b"hub/0.1").unwrap().as_str(), "hub/0.1");
        assert_eq!(Text::<8>::new(b"").unwrap().as_str(), "");
        assert_eq!(Text::<8>::new(b"123456789"), Err(TextError::TooLong { limit: 8 }));
        for bad in [&b"a,"[..], b"a$", b"a*", b"a\n", b"a\xff"] {
            assert_eq!(Text::<8>::new(bad), Err(TextError::BadByte { at: 1 }), "{bad:?}");
        }
    }
}
