//! The node's own network, and the LAN.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use roost_agent::runtime::Runtime;
use roost_agent::runtime::linux::veth_name;
use roost_types::instance::Network;
use roost_types::sync::{NodeNetwork, PeerRoute};

use crate::rig::{LAN, Rig};

fn ip(words: &str) -> String {
    let out = Command::new("ip").args(words.split(' ')).output().expect("ip");
    assert!(out.status.success(), "ip {words}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub async fn routes_to_other_nodes_come_and_go(rig: &Rig) {
    ip("link add lan type bridge");
    ip("address add 10.98.0.1/24 dev lan");
    ip("link set lan up");
    ip("route add 10.99.77.0/24 via 10.98.0.9");
    let peer = |n: u8, via: u8| PeerRoute {
        network: Ipv4Addr::new(10, 99, n, 0),
        prefix_len: 24,
        via: Ipv4Addr::new(10, 98, 0, via),
    };
    let mut network = NodeNetwork { routes: vec![peer(1, 2), peer(2, 3)], ..rig.network.clone() };
    rig.runtime.ensure_network(&network).await.expect("two routes");
    network.routes = vec![peer(2, 4)];
    rig.runtime.ensure_network(&network).await.expect("another route");
    let routes = ip("route show");
    assert!(!routes.contains("10.99.1.0/24"), "the route to a node that is no more: {routes}");
    assert!(routes.contains("10.99.2.0/24 via 10.98.0.4") && !routes.contains("via 10.98.0.3"), "{routes}");
    assert!(routes.contains("10.99.77.0/24 via 10.98.0.9"), "an operator's own route stays: {routes}");
    ip("link del lan");
}

pub async fn a_bridge_made_anew_has_its_ports(rig: &Rig) {
    let spec = rig.spec(&["sleep", "1000"]);
    rig.start(&spec).await;
    let port = || {
        let out = Command::new("ip").args(["-o", "link", "show", &veth_name(spec.id)]).output().expect("ip");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert!(port().contains("master roost0"), "{}", port());
    assert!(Command::new("ip").args(["link", "del", "roost0"]).status().expect("ip").success());
    assert!(!port().contains("master"), "{}", port());
    rig.runtime.ensure_network(&rig.network).await.expect("the bridge again");
    assert!(port().contains("master roost0"), "{}", port());
    let ipv6 = fs::read_to_string("/proc/sys/net/ipv6/conf/roost0/disable_ipv6").expect("a setting");
    assert_eq!(ipv6, "1\n", "the node has no IPv6 address there");
}

/// A DHCP server on the other end of the LAN's cable.
struct DhcpServer {
    process: Child,
    leases: PathBuf,
}

impl DhcpServer {
    fn start() -> Self {
        ip(&format!("link add {LAN} type veth peer name dhcp0"));
        ip("address add 10.97.0.1/24 dev dhcp0");
        ip(&format!("link set {LAN} up"));
        ip("link set dhcp0 up");
        let leases = std::env::temp_dir().join(format!("roost-runtime-leases-{}", std::process::id()));
        let mut dnsmasq = Command::new("dnsmasq");
        dnsmasq.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=dhcp0", "--user=root"]);
        dnsmasq.args(["--bind-interfaces", "--dhcp-range=10.97.0.50,10.97.0.60,1h", "--pid-file="]);
        dnsmasq.arg(format!("--dhcp-leasefile={}", leases.display())).stderr(Stdio::null());
        Self { process: dnsmasq.spawn().expect("dnsmasq is installed"), leases }
    }
}

impl Drop for DhcpServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.leases);
        let _ = Command::new("ip").args(["link", "del", LAN]).status();
    }
}

pub async fn on_the_lan_the_inside_asks_for_its_address(rig: &Rig) {
    let server = DhcpServer::start();
    let mut spec = rig.spec(&["/bin/init"]);
    (spec.system, spec.network) = (true, Network::Lan);
    rig.start(&spec).await;
    assert!(!rig.has_veth(spec.id), "it has no port on the bridge");
    let (addresses, _) = rig.exec(spec.id, &["ip", "-4", "-o", "address", "show", "eth0"]).await;
    assert_eq!(addresses, "", "Roost gives it no address");
    let script = "[ \"$1\" = bound ] || exit 0; ip address add $ip/24 dev $interface";
    let write = format!("echo '#!/bin/sh\n{script}' > /tmp/bound; chmod 755 /tmp/bound");
    assert_eq!(rig.exec(spec.id, &["sh", "-c", &write]).await.1, 0);
    let ask = ["udhcpc", "-n", "-q", "-t", "20", "-T", "1", "-i", "eth0", "-s", "/tmp/bound"];
    let (said, code) = rig.exec(spec.id, &ask).await;
    assert_eq!(code, 0, "{said}");
    let (addresses, _) = rig.exec(spec.id, &["ip", "-4", "-o", "address", "show", "eth0"]).await;
    assert!(addresses.contains("inet 10.97.0.5"), "{addresses} {said}");
    let leases = fs::read_to_string(&server.leases).expect("leases");
    let mac = spec.address.octets().map(|byte| format!("{byte:02x}")).join(":");
    assert!(leases.contains(&format!("02:52:{mac}")), "a hardware address of its own: {leases}");
    let (pinged, code) = rig.exec(spec.id, &["ping", "-c", "1", "-W", "5", "10.97.0.1"]).await;
    assert_eq!(code, 0, "{pinged}");
    rig.runtime.stop(spec.id, Duration::ZERO).await.expect("stop");
}
