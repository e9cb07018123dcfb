//! Whom boards ask for names outside: the resolvers of this machine, as far as boards can reach them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// Where this machine's resolvers are named: first the file that programs read; where that names only a service on this
/// machine's loopback, systemd-resolved tells here whom it asks itself.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The file that names resolvers which a board can reach: `named`, or this machine's. Where there is none, that is said.
///
/// # Errors
/// When `named` cannot be read, or names none that a board can reach.
pub fn file(named: Option<&Path>) -> Result<Option<PathBuf>, CliError> {
    let Some(named) = named else {
        let found = FILES.iter().map(Path::new).find(|path| fs::read_to_string(path).is_ok_and(|text| has_any(&text)));
        if found.is_none() {
            eprintln!(
                "instances know no names beyond the rack: this machine names no resolver that a board can reach; name \
                 one with --resolv-conf"
            );
        }
        return Ok(found.map(Into::into));
    };
    let failed = |e: std::io::Error| CliError::step(format!("reading {}", named.display()), e);
    if !has_any(&fs::read_to_string(named).map_err(failed)?) {
        let needed = "a line `nameserver ADDRESS` with an IPv4 address that is not on the loopback";
        return Err(CliError::Usage(format!("--resolv-conf {}: it needs {needed}", named.display())));
    }
    std::path::absolute(named).map(Some).map_err(failed)
}

/// Boards have no IPv6, and a loopback of their own.
fn has_any(text: &str) -> bool {
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    named.filter_map(|rest| rest.trim().parse::<Ipv4Addr>().ok()).any(|address| !address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::has_any;

    #[test]
    fn a_resolver_on_the_loopback_is_no_use_to_a_board() {
        assert!(has_any("# x\nnameserver 127.0.0.53\nnameserver 192.168.1.1\n"));
        for none in ["nameserver 127.0.0.53\n", "nameserver fe80::1\n", "#nameserver 192.168.1.1\n", ""] {
            assert!(!has_any(none), "{none}");
        }
    }
}
