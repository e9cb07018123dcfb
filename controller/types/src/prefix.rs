//! IPv4 networks as an address and a length.

use std::net::Ipv4Addr;

/// The mask of a length; lengths over 32 are 32.
#[must_use]
pub fn mask(length: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0))
}

/// The first address of the network that `address` is in.
#[must_use]
pub fn first(address: Ipv4Addr, length: u8) -> Ipv4Addr {
    address & mask(length)
}

/// Whether both addresses are in one network of this length.
#[must_use]
pub fn are_together(a: Ipv4Addr, b: Ipv4Addr, length: u8) -> bool {
    first(a, length) == first(b, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_its_mask() {
        for (length, text) in [(0, "0.0.0.0"), (8, "255.0.0.0"), (25, "255.255.255.128"), (32, "255.255.255.255")] {
            assert_eq!(mask(length).to_string(), text);
        }
        let (a, b) = (Ipv4Addr::new(10, 77, 1, 200), Ipv4Addr::new(10, 77, 1, 1));
        assert_eq!(first(a, 24), Ipv4Addr::new(10, 77, 1, 0));
        assert!(are_together(a, b, 24) && !are_together(a, b, 25));
    }
}
