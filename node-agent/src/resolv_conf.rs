//! The board's `resolv.conf`: who is asked for names.

use std::net::IpAddr;

/// The file.
pub const PATH: &str = "/etc/resolv.conf";

/// The name servers in its text, in order.
pub fn name_servers(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
}

#[cfg(test)]
mod tests {
    use super::name_servers;

    #[test]
    fn only_name_servers_count_and_only_whole_addresses() {
        let text = "# nameserver 10.0.0.9\n nameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver ::1\nsearch a\n";
        let found: Vec<String> = name_servers(text).map(|server| server.to_string()).collect();
        assert_eq!(found, ["10.0.0.1", "::1"]);
    }
}
