//! The rules as text, and what the real `nft` makes of them in a network namespace of the test's own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;

use roost_allocation::{FirewallInstance, FirewallPlan};
use roost_types::sync::{NameTable, PeerRoute};

use super::rules::Rules;
use super::{FAMILIES, Firewall, Place};
use crate::testing::{allocation, network};

const IMAGES: Place = Place { address: Ipv4Addr::new(10, 0, 0, 11), port: 7701, bytes_per_second: 1 };

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

fn text(plan: &FirewallPlan, controller: Option<Ipv4Addr>) -> String {
    Rules::new(plan, controller, Some(IMAGES), &[]).text(&FAMILIES)
}

#[test]
fn rules_say_what_is_published_and_what_is_forbidden() {
    let text = text(&plan(), Some(Ipv4Addr::new(10, 0, 0, 1)));
    for rule in [
        "add table inet roost\ndelete table inet roost\ntable inet roost {",
        "fib daddr type local meta nfproto ipv4 dnat ip addr . port to meta l4proto . th dport map @ports\n",
        "add element inet roost ports { tcp . 18080 : 10.77.1.11 . 80 }",
        "dnat ip addr . port to ip daddr . meta l4proto . th dport map @ports_of_address",
        "add element inet roost ports_of_address { 10.0.0.1 . udp . 53 : 10.77.1.11 . 53 }",
        "ip saddr 10.77.1.0/24 ip daddr 10.77.2.0/24 accept",
        "ip saddr 10.77.1.0/24 oifname != \"roost0\" masquerade",
        "iifname \"roost0\" ip daddr 10.0.0.1 ct direction original drop",
    ] {
        assert!(text.contains(rule), "{rule} is not in\n{text}");
    }
}

#[test]
fn projects_are_told_apart_on_the_bridge_and_through_the_node() {
    let text = text(&plan(), None);
    for rule in [
        "chain from_1 {\n    ip daddr @members_1 return\n    drop\n  }",
        "chain to_0 {\n    ip saddr @members_0 return\n    drop\n  }",
        "add element inet roost members_1 { 10.77.1.11, 10.77.1.13, 10.77.2.5 }",
        "iifname \"roost0\" ip daddr { 10.77.2.0/24, 10.77.1.0/24 } ip saddr vmap @sent_by",
        "add element inet roost sent_by \
         { 10.77.1.11 : jump from_1, 10.77.1.12 : jump from_0, 10.77.1.13 : jump from_1 }",
        "\"rv02020202\" . 02:52:0a:4d:01:0c . 10.77.1.12",
        "arp saddr ip vmap @project_of",
        "add element bridge roost project_of \
         { 10.77.1.11 : jump project_1, 10.77.1.12 : jump project_0, 10.77.1.13 : jump project_1 }",
        "chain project_0 {\n    ip daddr @members_0 accept\n    arp daddr ip @members_0 accept\n    drop",
        "add element bridge roost members_0 { 10.77.1.12 }",
    ] {
        assert!(text.contains(rule), "{rule} is not in\n{text}");
    }
}

#[test]
fn images_are_for_nodes_of_the_rack_alone() {
    let with_peer = text(&plan(), None);
    for rule in [
        "iifname \"roost0\" ip daddr { 10.0.0.12 } tcp dport 7701 drop\n    ct state established",
        "ip saddr != { 10.0.0.12 } ip daddr 10.0.0.11 tcp dport 7701 drop",
        "ip daddr 10.0.0.11 tcp dport 7701 accept\n    dnat ip",
    ] {
        assert!(with_peer.contains(rule), "{rule} is not in\n{with_peer}");
    }
    let mut alone = plan();
    alone.network.routes.clear();
    let alone = text(&alone, None);
    assert!(alone.contains("    ip daddr 10.0.0.11 tcp dport 7701 drop\n"), "{alone}");
}

#[test]
fn a_published_port_is_translated_from_outside_and_from_the_node_itself() {
    assert_eq!(text(&plan(), None).matches("th dport map @ports\n").count(), 2);
    assert!(!text(&FirewallPlan { instances: vec![], ..plan() }, None).contains("add element"));
}

#[test]
fn an_instance_that_comes_or_goes_changes_no_rule() {
    let all = Rules::new(&plan(), None, None, &[]);
    let mut fewer = plan();
    fewer.instances.remove(1);
    let fewer = Rules::new(&fewer, None, None, &all.projects);
    assert_eq!((&all.inet, &all.bridge), (&fewer.inet, &fewer.bridge), "its project keeps its chains");
    assert!(fewer.elements.len() < all.elements.len());
    let mut another = plan();
    another.instances = vec![instance(4, "new", &[])];
    assert_eq!(Rules::new(&another, None, None, &all.projects).projects, ["new".parse().unwrap()]);
}

#[test]
fn of_two_instances_with_one_port_one_has_it() {
    let mut both = plan();
    both.instances.push(instance(4, "shop", &["18080:81"]));
    assert_eq!(text(&both, None).matches("tcp . 18080").count(), 1);
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
        let firewall = Firewall::new("10.0.0.1", 7700, Some(IMAGES));
        firewall.apply(&plan()).await.unwrap();
        let fresh = nft("list ruleset");
        assert!(fresh.contains("tcp . 18080 : 10.77.1.11 . 80") && fresh.contains("table bridge roost"));
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
fn changed_elements_are_as_if_all_had_been_put() {
    in_namespace(|| async {
        let firewall = Firewall::new("10.0.0.1", 7700, Some(IMAGES));
        firewall.apply(&plan()).await.unwrap();
        let tables = nft("-a list tables");
        let mut changed = plan();
        changed.instances[0].publish = vec!["18081:80".parse().unwrap(), "127.0.0.1:53:5353/udp".parse().unwrap()];
        changed.instances[2] = instance(4, "shop", &["18082:80"]);
        for plan in [&changed, &FirewallPlan { instances: vec![], ..plan() }, &changed] {
            firewall.apply(plan).await.unwrap();
            assert_eq!(nft("-a list tables"), tables, "the tables are the same ones");
            let by_elements = nft("list ruleset");
            assert_eq!(firewall.repair().await.unwrap(), [""; 0]);
            assert_eq!(nft("list ruleset"), by_elements, "what only we changed is not put anew");
            assert_eq!(nft("-a list tables"), tables);
        }
        let by_elements = nft("list ruleset");
        Firewall::new("10.0.0.1", 7700, Some(IMAGES)).apply(&changed).await.unwrap();
        assert_eq!(nft("list ruleset"), by_elements);
    });
}

#[test]
fn a_change_by_somebody_else_is_mended_by_the_next_change_of_ours() {
    in_namespace(|| async {
        let firewall = Firewall::new("10.0.0.1", 7700, Some(IMAGES));
        let mut fewer = plan();
        fewer.instances.pop();
        firewall.apply(&plan()).await.unwrap();
        let fresh = nft("list ruleset");
        for change in ["flush ruleset", "flush chain bridge roost pin", "flush set bridge roost pins"] {
            firewall.apply(&fewer).await.unwrap();
            nft(change);
            firewall.apply(&plan()).await.unwrap();
            assert_eq!(nft("list ruleset"), fresh, "{change}");
        }
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
        let firewall = Firewall::new("10.0.0.1", 7700, Some(IMAGES));
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
        let firewall = Firewall::new("10.0.0.1", 7700, Some(IMAGES));
        firewall.apply(&FirewallPlan { instances, names: Arc::new(names), ..plan() }).await.unwrap();
        assert_eq!(firewall.repair().await.unwrap(), [""; 0]);
        nft("add table ip somebodys");
        firewall.repair().await.unwrap();
        nft("add table ip another");
        assert_eq!(firewall.repair().await.unwrap(), [""; 0], "a long listing is the same every time");
    });
}
