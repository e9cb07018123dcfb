//! Values of flags, from what was typed.

use roost_types::{Arch, RunAs, SnapshotSource};

/// `armhf`, `arm64` or `amd64`.
pub fn parse_arch(text: &str) -> Result<Arch, String> {
    match text {
        "armhf" => Ok(Arch::Armhf),
        "arm64" => Ok(Arch::Arm64),
        "amd64" => Ok(Arch::Amd64),
        _ => Err(format!("'{text}' is not armhf, arm64 or amd64")),
    }
}

/// `KEY=VALUE`.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}

/// `USER[:GROUP]`, as it was typed.
pub fn parse_run_as(text: &str) -> Result<String, String> {
    text.parse::<RunAs>().map(|_| text.to_owned())
}

/// `NAME/SNAPSHOT`.
pub fn parse_source(text: &str) -> Result<SnapshotSource, String> {
    match text.split_once('/') {
        Some((instance, snapshot)) if !instance.is_empty() && !snapshot.is_empty() => {
            Ok(SnapshotSource { instance: instance.to_owned(), snapshot: snapshot.to_owned() })
        }
        _ => Err(format!("'{text}' is not NAME/SNAPSHOT")),
    }
}

/// An amount that may be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked<T>(pub Option<T>);

/// Bytes, or `none`.
pub fn parse_bytes_or_none(text: &str) -> Result<Asked<u64>, String> {
    if text == "none" { Ok(Asked(None)) } else { parse_bytes(text).map(|bytes| Asked(Some(bytes))) }
}

/// A number, or `none`.
pub fn parse_number_or_none(text: &str) -> Result<Asked<u32>, String> {
    let number = || text.parse().map_err(|_| format!("'{text}' is neither a number nor none"));
    if text == "none" { Ok(Asked(None)) } else { number().map(|number| Asked(Some(number))) }
}

/// Bytes with an optional binary unit: `96M`, `1G`, `512MiB`, `1048576`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return Err(format!("'{text}' is not an amount of bytes: use K, M or G, for example 96M")),
    };
    let number: u64 = number.parse().map_err(|_| format!("'{text}' does not begin with a number"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory() {
        for (text, bytes) in
            [("8388608", 8 << 20), ("96M", 96 << 20), ("512MiB", 512 << 20), ("1G", 1 << 30), ("4kB", 4096)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "M", "1X", "-1", "1.5G", "99999999999999999999", "18446744073709551615G"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
