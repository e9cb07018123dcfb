//! From what is wanted to what is to be done: a pure function whose result a test can compare.
//!
//! A [`Plan`] holds every decision about a container's inside; [`super::child`] carries it out and decides nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use roost_types::sync::NodeNetwork;
use roost_types::{AllocationSpec, FirstBoot};

use super::first_boot::Planned;

use crate::resolv_conf;

/// How much a container may do inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// One command under our tiny init.
    App,
    /// The image's own init.
    System,
}

/// How the image's own init is told to end.
pub const SIGNAL_SYSTEMD: i32 = 37; // SIGRTMIN+3 of the kernel's ABI as libc counts (34 + 3)

/// What hides a part of `/proc` or `/sys`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hidden {
    /// A file: an empty one.
    File,
    /// A directory: an empty one that cannot be written.
    Directory,
}

/// What tells of the whole machine and is hidden: the file system, the path in it, what it is.
pub const MASKED: [(&str, &str, Hidden); 13] = [
    ("proc", "acpi", Hidden::Directory),
    ("proc", "asound", Hidden::Directory),
    ("proc", "scsi", Hidden::Directory),
    ("proc", "interrupts", Hidden::File),
    ("proc", "kcore", Hidden::File),
    ("proc", "keys", Hidden::File),
    ("proc", "latency_stats", Hidden::File),
    ("proc", "timer_list", Hidden::File),
    ("proc", "timer_stats", Hidden::File),
    ("proc", "sched_debug", Hidden::File),
    ("sys", "firmware", Hidden::Directory),
    ("sys", "devices/virtual/powercap", Hidden::Directory),
    ("sys", "devices/system/cpu/cpu0/thermal_throttle", Hidden::Directory),
];

/// Parts of `/proc` that can be read but not written.
pub const READ_ONLY: [&str; 6] = ["bus", "fs", "irq", "sys", "sysrq-trigger", "tty"];

/// A file that is written into the container at each start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrittenFile {
    /// Name below `/etc`.
    pub name: &'static str,
    /// What it will hold.
    pub content: String,
}

/// Everything that is decided about a container's inside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Profile.
    pub profile: Profile,
    /// First of its 65,536 host ids.
    pub uid_base: u32,
    /// The number that its disk is counted under.
    pub quota_id: u32,
    /// Host name.
    pub host_name: String,
    /// First process: command and arguments.
    pub command: Vec<String>,
    /// Its environment, `NAME=value`.
    pub environment: Vec<String>,
    /// Whom it runs as; empty for root.
    pub user: String,
    /// Where it begins; empty for the root.
    pub workdir: String,
    /// What asks it to end, where that was said.
    pub stop_signal: Option<i32>,
    /// Files below `/etc`.
    pub files: Vec<WrittenFile>,
    /// What is written before the first start only.
    pub first_boot: Option<Planned>,
    /// Where its network cable leads.
    pub cable: Cable,
    /// Hardware address.
    pub mac: [u8; 6],
}

/// Where a container's network cable leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cable {
    /// To the node's bridge of instances.
    Bridge {
        /// Name of the host's end.
        veth: String,
        /// Its address.
        address: Ipv4Addr,
        /// Prefix length of the node's network.
        prefix_len: u8,
        /// The bridge's address.
        gateway: Ipv4Addr,
    },
    /// To the node's LAN: what is inside finds its address there.
    Lan {
        /// The node's interface there.
        interface: String,
    },
}

/// What of the board a container is planned for.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The board's name servers.
    pub name_servers: &'a [Ipv4Addr],
    /// The interface of the LAN that the container is put on, if any.
    pub lan: Option<&'a str>,
}

/// Plans a container; `first_boot` is given before the first start only.
#[must_use]
pub fn plan(
    spec: &AllocationSpec,
    network: &NodeNetwork,
    board: &Surroundings<'_>,
    first_boot: Option<&FirstBoot>,
) -> Plan {
    let host_name = spec.name.as_str().to_owned();
    let (files, cable) = match board.lan {
        None => (
            files(&host_name, spec, network.gateway, board.name_servers),
            Cable::Bridge {
                veth: veth_name(spec.id),
                address: spec.address,
                prefix_len: network.prefix_len,
                gateway: network.gateway,
            },
        ),
        Some(interface) => (files_on_lan(&host_name), Cable::Lan { interface: interface.to_owned() }),
    };
    Plan {
        profile: if spec.system { Profile::System } else { Profile::App },
        uid_base: spec.uid_base,
        quota_id: spec.quota_id.unwrap_or(spec.uid_base),
        command: spec.command.clone(),
        environment: environment(&spec.env, spec.system),
        // An init of its own is the container's root, whatever its image says of commands.
        user: if spec.system { String::new() } else { spec.user.clone() },
        workdir: if spec.system { String::new() } else { spec.workdir.clone() },
        stop_signal: spec.stop_signal.map(i32::from).filter(|signal| !spec.system && (1..=64).contains(signal)),
        files,
        first_boot: first_boot.map(|content| Planned::new(spec, content)),
        cable,
        mac: mac(spec.address),
        host_name,
    }
}

/// The last eight hexadecimal digits of the id: random in a UUIDv7. Fits the 15 characters of an interface name.
#[must_use]
pub fn veth_name(id: roost_types::AllocationId) -> String {
    let text = id.to_string();
    format!("rv{}", &text[text.len() - 8..])
}

/// Locally administered, and the same whenever the address is.
#[must_use]
pub fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x52, a, b, c, d]
}

/// How the first process of a `system` container is asked to end: by the program its image calls init.
#[must_use]
pub fn shutdown_signal(init_target: &str) -> i32 {
    let name = init_target.rsplit('/').next().unwrap_or(init_target);
    match name {
        "systemd" => SIGNAL_SYSTEMD,
        "busybox" => libc::SIGUSR2,
        // sysvinit and OpenRC's own init.
        _ => libc::SIGPWR,
    }
}

/// Where programs are looked for when the image does not say.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A C library reads no more.
const MOST_NAME_SERVERS: usize = 3;

fn environment(own: &BTreeMap<String, String>, system: bool) -> Vec<String> {
    let mut all: BTreeMap<&str, &str> = BTreeMap::from([("PATH", DEFAULT_PATH), ("TERM", "xterm")]);
    if system {
        // How systemd and OpenRC know that they are in a container.
        all.insert("container", "lxc");
    }
    all.extend(own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// The bridge answers names; the board's own name servers are for the moments in which it does not.
fn files(host_name: &str, spec: &AllocationSpec, gateway: Ipv4Addr, name_servers: &[Ipv4Addr]) -> Vec<WrittenFile> {
    let (address, project) = (spec.address, &spec.project);
    let servers = std::iter::once(&gateway).chain(name_servers.iter().filter(|server| **server != gateway));
    let servers = servers.take(MOST_NAME_SERVERS).map(|server| format!("nameserver {server}\n"));
    let resolver: String = servers.chain([format!("search {project}.roost.internal\n")]).collect();
    vec![
        WrittenFile { name: "hostname", content: format!("{host_name}\n") },
        WrittenFile { name: "hosts", content: hosts(host_name, address) },
        WrittenFile { name: "resolv.conf", content: resolver },
    ]
}

/// Its address and name servers come from the LAN; its own name means itself, as Debian has it.
fn files_on_lan(host_name: &str) -> Vec<WrittenFile> {
    vec![
        WrittenFile { name: "hostname", content: format!("{host_name}\n") },
        WrittenFile { name: "hosts", content: hosts(host_name, Ipv4Addr::new(127, 0, 1, 1)) },
    ]
}

fn hosts(host_name: &str, address: Ipv4Addr) -> String {
    format!(
        "127.0.0.1\tlocalhost\n{address}\t{host_name}\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
    )
}

/// The name servers in the text of a `resolv.conf` that a container can reach: not those on the board's loopback.
#[must_use]
pub fn name_servers(resolv_conf: &str) -> Vec<Ipv4Addr> {
    let of_v4 = resolv_conf::name_servers(resolv_conf).filter_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    of_v4.filter(|address| !address.is_loopback()).take(MOST_NAME_SERVERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_environment_wins_over_the_defaults() {
        let own = BTreeMap::from([("PATH".to_owned(), "/opt".to_owned()), ("A".to_owned(), "1".to_owned())]);
        assert_eq!(environment(&own, false), ["A=1", "PATH=/opt", "TERM=xterm"]);
    }

    #[test]
    fn an_init_is_asked_to_end_in_its_own_language() {
        assert_eq!(shutdown_signal("/lib/systemd/systemd"), SIGNAL_SYSTEMD);
        assert_eq!(shutdown_signal("/bin/busybox"), libc::SIGUSR2);
        assert_eq!(shutdown_signal("openrc-init"), libc::SIGPWR);
    }

    #[test]
    fn a_name_server_on_the_boards_loopback_is_no_use_inside() {
        let text = "# x\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver fe80::1\nsearch a\n";
        assert_eq!(name_servers(text), [Ipv4Addr::new(10, 0, 0, 1)]);
    }

    #[test]
    fn names_are_asked_of_the_bridge_first() {
        let id = roost_types::AllocationId::mint(1, [0xAB; 10]);
        let spec: AllocationSpec = serde_json::from_value(serde_json::json!({
            "id": id, "instance": id, "name": "web", "project": "shop", "generation": 1, "desired": "running",
            "epoch": 1, "image": format!("sha256:{}", "7".repeat(64)), "format": "erofs", "image_bytes": 1,
            "command": ["x"], "system": false, "env": {},
            "resources": {"cpu_millis": 250, "memory_bytes": 1, "disk_bytes": 1, "pids": 1},
            "address": "10.77.1.2", "uid_base": 131_072, "publish": [], "restart": "always", "seed_from": null,
        }))
        .unwrap();
        let gateway = Ipv4Addr::new(10, 77, 1, 1);
        let network = NodeNetwork { gateway, prefix_len: 24, routes: Vec::new() };
        let boards = [1, 2, 3].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let board = Surroundings { name_servers: &boards, lan: None };
        let resolver = plan(&spec, &network, &board, None).files.pop().unwrap();
        assert_eq!(
            (resolver.name, resolver.content.as_str()),
            (
                "resolv.conf",
                "nameserver 10.77.1.1\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch shop.roost.internal\n"
            )
        );
    }

    #[test]
    fn a_hardware_address_follows_the_address() {
        assert_eq!(mac(Ipv4Addr::new(10, 77, 1, 2)), [2, 0x52, 10, 77, 1, 2]);
    }

    #[test]
    fn a_veth_is_named_by_the_random_part_of_the_id() {
        let id = roost_types::AllocationId::mint(1, [0xAB; 10]);
        assert_eq!(veth_name(id), "rvabababab");
    }
}
