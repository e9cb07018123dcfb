//! The rules as text, and what the real `nft` makes of them in a network namespace of the test's own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;

use roost_allocation::{FirewallInstance, FirewallPlan};
use roost_types::sync::{NameTable, PeerRoute};

use super::Firewall;
use super::rules::{bridge_rules, inet_rules};
use crate::testing::{allocation, network};

fn instance(n: u8, project: &str, publish: &[&str]) -> FirewallInstance {
    FirewallInstance {
        id: allocation(n),
        name: format!("i{n}").parse().unwrap(),
        project: project.parse().unwrap(),
        address: Ipv4Addr::new(10, 77, 1, 10 + n),
        publish: publish.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn plan() -> FirewallPlan {
    let mut network = network();
    let peer = PeerRoute { network: Ipv4Addr::new(10, 77, 2, 0), prefix_len: 24, via: Ipv4Addr::new(10, 0, 0, 12) };
    network.routes.push(peer);
    let elsewhere = BTreeMap::from([("far".parse().unwrap(), Ipv4Addr::new(10, 77, 2, 5))]);
    let names = NameTable { generation: 1, projects: BTreeMap::from([("shop".parse().unwrap(), elsewhere)]) };
    let instances = vec![
        instance(1, "shop", &["18080:80", "10.0.0.1:53:53/udp"]),
        instance(2, "blog", &[]),
        instance(3, "shop", &[]),
    ];
    FirewallPlan { network, instances, names: Arc::new(names) }
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
}

#[test]
fn projects_are_told_apart_on_the_bridge_and_through_the_node() {
    let text = inet_rules(&plan(), None);
    for rule in [
        "chain from_1 {\n    ip daddr { 10.77.1.11, 10.77.1.13, 10.77.2.5 } return\n    drop\n  }",
        "chain to_0 {\n    ip saddr { 10.77.1.12 } return\n    drop\n  }",
        "iifname \"roost0\" ip daddr { 10.77.2.0/24, 10.77.1.0/24 } ip saddr vmap \
         { 10.77.1.11 : jump from_1, 10.77.1.12 : jump from_0, 10.77.1.13 : jump from_1 }",
    ] {
        assert!(text.contains(rule), "{rule} is not in\n{text}");
    }
    let text = bridge_rules(&plan());
    for rule in [
        "\"rv02020202\" . 02:52:0a:4d:01:0c . 10.77.1.12",
        "\"rv02020202\" . 02:52:0a:4d:01:0c . 02:52:0a:4d:01:0c . 10.77.1.12",
        "arp saddr ip vmap { 10.77.1.11 : jump project_1, 10.77.1.12 : jump project_0, 10.77.1.13 : jump project_1 }",
        "chain project_0 {\n    ip daddr { 10.77.1.12 } accept\n    arp daddr ip { 10.77.1.12 } accept\n    drop",
    ] {
        assert!(text.contains(rule), "{rule} is not in\n{text}");
    }
}

#[test]
fn a_published_port_is_translated_from_outside_and_from_the_node_itself() {
    let text = inet_rules(&plan(), None);
    assert_eq!(text.matches("dport 18080 dnat").count(), 2);
    let none = inet_rules(&FirewallPlan { instances: vec![], ..plan() }, None);
    assert!(!none.contains("dnat ip to") && !none.contains("vmap"));
}

/// Runs a test in a network namespace of its own, if it may; the machine's rules are not touched.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    thread.join().unwrap();
}

fn nft(words: &str) -> String {
    let output = Command::new("nft").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "nft {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_real_nft_takes_the_rules_and_what_is_changed_is_repaired() {
    in_namespace(|| async {
        let firewall = Firewall::new("10.0.0.1", 7700);
        firewall.apply(&plan()).await.unwrap();
        let fresh = nft("list ruleset");
        assert!(fresh.contains("dport 18080 dnat ip to 10.77.1.11:80") && fresh.contains("table bridge roost"));
        assert_eq!(firewall.repair().await.unwrap(), [""; 0], "nothing to repair");
        for (change, found) in [
            ("flush ruleset", &["the table inet roost was gone", "the table bridge roost was gone"][..]),
            ("delete table bridge roost", &["the table bridge roost was gone"]),
            ("flush chain inet roost forward", &["the table inet roost had been changed"]),
            ("flush chain bridge roost pin", &["the table bridge roost had been changed"]),
            ("add table ip somebodys", &[]),
        ] {
            nft(change);
            assert_eq!(firewall.repair().await.unwrap(), found, "{change}");
            assert_eq!(firewall.repair().await.unwrap(), [""; 0], "{change}: repaired once");
        }
        nft("delete table ip somebodys");
        assert_eq!(nft("list ruleset"), fresh);
    });
}

#[test]
fn what_the_kernel_takes_is_found_out_without_leaving_anything() {
    in_namespace(|| async {
        let features = super::features().await;
        let found: Vec<_> = features.iter().map(|feature| (feature.name.as_str(), feature.supported)).collect();
        assert_eq!(found, [("firewall", true), ("bridge_firewall", true)]);
        assert!(features.iter().all(|feature| feature.advice.is_empty()));
        assert_eq!(nft("list ruleset"), "");
    });
}

#[test]
fn a_change_before_the_first_look_is_repaired_too() {
    in_namespace(|| async {
        let firewall = Firewall::new("10.0.0.1", 7700);
        for change in ["flush ruleset", "delete table bridge roost", "flush chain inet roost forward"] {
            firewall.apply(&plan()).await.unwrap();
            let fresh = nft("list ruleset");
            nft(change);
            firewall.repair().await.unwrap();
            assert_eq!(nft("list ruleset"), fresh, "{change}");
        }
    });
}

#[test]
fn a_full_board_of_a_large_rack_is_taken() {
    in_namespace(|| async {
        let far = (0..2_000_u32).map(|n| {
            let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 77, 16, 0).to_bits() + n);
            (format!("far-{n}").parse().unwrap(), address)
        });
        let names = NameTable { generation: 2, projects: BTreeMap::from([("shop".parse().unwrap(), far.collect())]) };
        let instances = (1..=200).map(|n| instance(n, if n % 2 == 0 { "shop" } else { "blog" }, &[])).collect();
        let firewall = Firewall::new("10.0.0.1", 7700);
        firewall.apply(&FirewallPlan { instances, names: Arc::new(names), ..plan() }).await.unwrap();
        assert_eq!(firewall.repair().await.unwrap(), [""; 0]);
        nft("add table ip somebodys");
        firewall.repair().await.unwrap();
        nft("add table ip another");
        assert_eq!(firewall.repair().await.unwrap(), [""; 0], "a long listing is the same every time");
    });
}
