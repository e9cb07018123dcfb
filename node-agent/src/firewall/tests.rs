//! The rules as text, and what the real `nft` makes of them in a network namespace of the test's own.

use super::{Firewall, bridge_rules, inet_rules};
use crate::testing::{allocation, network};
use roost_allocation::{FirewallInstance, FirewallPlan};
use roost_types::sync::PeerRoute;
use std::net::Ipv4Addr;

fn plan() -> FirewallPlan {
    let mut network = network();
    let peer = PeerRoute { network: Ipv4Addr::new(10, 77, 2, 0), prefix_len: 24, via: Ipv4Addr::new(10, 0, 0, 12) };
    network.routes.push(peer);
    let web = FirewallInstance {
        id: allocation(1),
        address: Ipv4Addr::new(10, 77, 1, 11),
        publish: vec!["18080:80".parse().unwrap(), "10.0.0.1:53:53/udp".parse().unwrap()],
    };
    FirewallPlan { network, instances: vec![web] }
}

#[test]
fn rules_say_what_is_published_and_what_is_forbidden() {
    let text = inet_rules(&plan(), Some(Ipv4Addr::new(10, 0, 0, 1)));
    for rule in [
        "add table inet roost\ndelete table inet roost\ntable inet roost {",
        "fib daddr type local meta nfproto ipv4 tcp dport 18080 dnat ip to 10.77.1.11:80",
        "ip daddr 10.0.0.1 meta nfproto ipv4 udp dport 53 dnat ip to 10.77.1.11:53",
        "ip saddr 10.77.1.0/24 ip daddr 10.77.2.0/24 accept",
        "ip saddr 10.77.1.0/24 oifname != \"roost0\" masquerade",
        "iifname \"roost0\" ip daddr 10.0.0.1 ct direction original drop",
    ] {
        assert!(text.contains(rule), "{rule} is not in\n{text}");
    }
    let pins = bridge_rules(&plan());
    assert!(pins.contains("ether type ip ip saddr != 10.77.1.11 drop"), "{pins}");
}

#[test]
fn a_published_port_is_translated_from_outside_and_from_the_node_itself() {
    let text = inet_rules(&plan(), None);
    assert_eq!(text.matches("dport 18080 dnat").count(), 2);
    let none = inet_rules(&FirewallPlan { instances: vec![], ..plan() }, None);
    assert!(!none.contains("dnat ip to"));
}

/// Needs root and `nft`: the thread leaves for a network namespace of its own, so the machine's rules are not touched.
#[test]
fn the_real_nft_takes_the_rules_and_a_flush_is_repaired() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let in_namespace = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let firewall = Firewall::new("10.0.0.1", 7700);
            firewall.apply(&plan()).await.unwrap();
            assert!(!firewall.repair().await.unwrap(), "nothing to repair");
            assert!(!firewall.repair().await.unwrap(), "its own listing is what it expects");
            let flushed = std::process::Command::new("nft").args(["flush", "ruleset"]).status().unwrap();
            assert!(flushed.success());
            assert!(firewall.repair().await.unwrap(), "a flushed table comes back");
            let chain = ["flush", "chain", "inet", "roost", "forward"];
            assert!(std::process::Command::new("nft").args(chain).status().unwrap().success());
            assert!(firewall.repair().await.unwrap(), "an emptied chain comes back");
            let list = std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
            let list = String::from_utf8(list.stdout).unwrap();
            assert!(
                list.contains("dport 18080 dnat ip to 10.77.1.11:80") && list.contains("table bridge roost"),
                "{list}"
            );
        });
    });
    in_namespace.join().unwrap();
}
