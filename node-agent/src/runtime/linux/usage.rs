//! What a running container uses, read by the agent: the keeper must not wait for any of it.

use std::fs;
use std::time::{Duration, Instant};

use roost_types::stats::{InstanceStats, NetworkStats};
use roost_types::{AllocationId, Timestamp};

use super::cgroup::Cgroups;
use super::plan::veth_name;
use super::sys;

/// Reading one process's share of its pages takes the kernel up to a millisecond or two: the most processes that are read.
const MAX_PROCESSES: usize = 256;
/// The longest that may take altogether.
const SHARE_TIME: Duration = Duration::from_millis(200);

/// Reads it. Blocks for as long as the kernel takes.
#[must_use]
pub fn read(cgroups: &Cgroups, id: AllocationId) -> InstanceStats {
    let text = id.to_string();
    let mut stats = cgroups.stats(&text);
    stats.at = Timestamp(sys::unix_ms());
    stats.memory.pss_bytes = shares(&cgroups.processes(&text));
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    stats.network = network_of(&devices, &veth_name(id));
    stats
}

/// The processes' share of their pages.
fn shares(processes: &[i32]) -> Option<u64> {
    if processes.len() > MAX_PROCESSES {
        return None;
    }
    let began = Instant::now();
    let mut sum = 0;
    for pid in processes {
        if began.elapsed() > SHARE_TIME {
            return None;
        }
        // One that ended meanwhile has no pages.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        sum += share_of(&text).unwrap_or(0);
    }
    Some(sum)
}

/// Bytes after `Pss:` in the text of `smaps_rollup`.
fn share_of(text: &str) -> Option<u64> {
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("Pss:"))?.split_whitespace().next()?;
    kibibytes.parse::<u64>().ok().map(|n| n * 1024)
}

/// The counters of the host's end of a cable in the text of `/proc/net/dev`, seen from the other end.
fn network_of(devices: &str, veth: &str) -> Option<NetworkStats> {
    let counters = devices.lines().find_map(|line| line.trim().strip_prefix(veth)?.strip_prefix(':'))?;
    let numbers: Vec<u64> = counters.split_whitespace().map_while(|word| word.parse().ok()).collect();
    Some(NetworkStats {
        rx_bytes: *numbers.get(8)?,
        rx_packets: *numbers.get(9)?,
        tx_bytes: *numbers.first()?,
        tx_packets: *numbers.get(1)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hosts_end_received_the_container_sent() {
        let devices = "Inter-|   Receive |  Transmit\n face |bytes packets\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n\
                       rvab: 100 2 0 0 0 0 0 0 3000 4 0 0 0 0 0 0\nrvabc: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        let expected = NetworkStats { rx_bytes: 3000, rx_packets: 4, tx_bytes: 100, tx_packets: 2 };
        assert_eq!(network_of(devices, "rvab"), Some(expected));
        assert_eq!(network_of(devices, "rvx"), None);
    }

    #[test]
    fn a_share_is_in_bytes() {
        assert_eq!(
            share_of("00400000-7ff rollup\nRss: 900 kB\nPss:            12 kB\nPss_Dirty: 4 kB\n"),
            Some(12_288)
        );
        assert_eq!(share_of(""), None);
    }
}
