//! Which addresses may be asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Whether an address may be asked by https: it is public, or in a network that the operator allows.
pub fn may_ask(address: IpAddr, allowed: &[IpNet]) -> bool {
    is_public(address) || is_allowed(address, allowed)
}

/// Whether an address is in a network that the operator allows; only there is plain http good enough.
pub fn is_allowed(address: IpAddr, allowed: &[IpNet]) -> bool {
    let address = address.to_canonical();
    allowed.iter().any(|network| network.contains(&address))
}

/// Whether an address belongs to somebody on the internet, by the registries of special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Shared by carriers, protocol assignments, 6to4 relays, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let [high, low] = [g, h].map(u16::to_be_bytes);
    let embedded = Ipv4Addr::new(high[0], high[1], low[0], low[1]);
    // Translated to IPv4: what counts is where it ends.
    if (a, b, c, d, e, f) == (0x64, 0xFF9B, 0, 0, 0, 0) {
        return is_public_v4(embedded);
    }
    // Only 2000::/3 is given out, and of it not: Teredo and other protocols, documentation, 6to4.
    (a & 0xE000) == 0x2000 && !(a == 0x2001 && (b < 0x200 || b == 0xDB8)) && a != 0x2002 && (a & 0xFFF0) != 0x3FF0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_may_be_asked() {
        for public in ["1.1.1.1", "151.101.2.132", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"] {
            assert!(may_ask(public.parse().unwrap(), &[]), "{public}");
        }
        for private in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "203.0.113.7",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "10.77.1.2",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "100::1",
            "3fff::1",
        ] {
            assert!(!may_ask(private.parse().unwrap(), &[]), "{private}");
        }
    }

    #[test]
    fn an_operator_may_allow_a_private_network() {
        let allowed = ["192.168.7.0/24".parse().unwrap(), "fd12::/16".parse().unwrap()];
        for (address, may) in
            [("192.168.7.9", true), ("::ffff:192.168.7.9", true), ("192.168.8.9", false), ("fd12::1", true)]
        {
            assert_eq!(may_ask(address.parse().unwrap(), &allowed), may, "{address}");
        }
    }
}
