//! The records of a PAX extension header: `LENGTH KEY=VALUE\n`, where the length counts the whole record.
//!
//! The `tar` crate's reader takes every line break for a record's end, but values are binary (attributes) or hostile.

/// The records in order; none when the bytes are not wholly records.
pub fn records(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length = decimal(&bytes[..space]).and_then(|length| usize::try_from(length).ok())?;
        let record = bytes.get(space + 1..length)?;
        let (end, record) = record.split_last()?;
        let equals = record.iter().position(|byte| *byte == b'=').filter(|_| *end == b'\n')?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}

/// A number without sign or space; none when it is not one, or too large.
pub fn decimal(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok()?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_any_byte() {
        let (a, b) = (b"12 path=a\nb\n".as_slice(), b"8 k=v=w\n".as_slice());
        let both = [a, b].concat();
        assert_eq!(records(&both).unwrap(), [(&b"path"[..], &b"a\nb"[..]), (&b"k"[..], &b"v=w"[..])]);
        assert_eq!(records(b"").unwrap(), []);
    }

    #[test]
    fn what_does_not_add_up_is_no_record() {
        for bad in [
            "8 k=v\n",
            "5 k=v\n",
            "6 k=vx",
            "6 kvw\n",
            " k=v\n",
            "k=v\n",
            "0 ",
            "1 ",
            "2 ",
            "-6 k=v\n",
            "+6 k=v\n",
            "18446744073709551615 k=v\n",
            "99999999999999999999 k=v\n",
            "6 k=v\ntrailing",
        ] {
            assert_eq!(records(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
