//! The comma-separated fields of a frame: canonical integers and text.

use core::ops::RangeInclusive;

/// Cuts a frame's body at its commas.
pub(crate) struct Fields<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Fields of the bytes between `$` and `*`.
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { rest: Some(body) }
    }

    /// The next field, which may be empty; `None` when there is no other.
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let Some(comma) = rest.iter().position(|b| *b == b',') else {
            self.rest = None;
            return Some(rest);
        };
        self.rest = Some(&rest[comma + 1..]);
        Some(&rest[..comma])
    }

    /// The next field as a number that fits `T`.
    pub(crate) fn number<T: TryFrom<i32>>(&mut self) -> Option<T> {
        T::try_from(integer(self.text()?)?).ok()
    }

    /// The next field as a number in a range.
    pub(crate) fn number_in<T: TryFrom<i32> + PartialOrd>(&mut self, range: RangeInclusive<T>) -> Option<T> {
        self.number().filter(|number| range.contains(number))
    }

    /// The next field as `0` or `1`.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        self.number_in(0..=1_u8).map(|number| number == 1)
    }

    /// The next field as a number of any size (`Some(Some(n))`, saturated), or empty (`Some(None)`).
    pub(crate) fn optional(&mut self) -> Option<Option<i32>> {
        match self.text()? {
            [] => Some(None),
            digits => integer(digits).map(Some),
        }
    }

    /// Whether every field was taken.
    pub(crate) const fn is_done(&self) -> bool {
        self.rest.is_none()
    }
}

/// An integer in its one canonical form (no `+`, no `-0`, no leading zero); what does not fit is saturated.
fn integer(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let canonical = match digits {
        [] => false,
        [b'0'] => !negative,
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    if !canonical {
        return None;
    }
    let size = digits.iter().fold(0_i32, |n, d| n.saturating_mul(10).saturating_add(i32::from(d - b'0')));
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_form() {
        for (text, value) in
            [("0", 0), ("7", 7), ("-1", -1), ("65535", 65_535), ("99999999999", i32::MAX), ("-99999999999", -i32::MAX)]
        {
            assert_eq!(integer(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", "-", "+1", "-0", "00", "01", "1.5", "1 ", "nan", "0x1"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }
}
