//! The checksum of a line: CRC-16/MCRF4XX, which avr-libc computes with `_crc_ccitt_update` from 0xFFFF.

use crc::{CRC_16_MCRF4XX, Crc};

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_MCRF4XX);

/// CRC-16/MCRF4XX of the bytes between `$` and `*`.
#[must_use]
pub const fn checksum(bytes: &[u8]) -> u16 {
    CRC.checksum(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn check_value_is_that_of_the_catalogue() {
        assert_eq!(super::checksum(b"123456789"), 0x6F91);
    }
}
