//! What the rules are: pure text for `nft`.
//!
//! ```text
//!   from outside ──▶ prerouting: published port? ──▶ to the instance
//!   from the node ─▶ output: published port? ───────▶ to the instance (source made the gateway's)
//!   instance ──────▶ pin: its own port, MAC and address? ─▶ between: to its own project?         (on the bridge)
//!                 └▶ forward: not the controller, only its own project or a published port ─▶ postrouting: as the
//!                    node, unless to a peer                                                      (through the node)
//!   instance ──────▶ input: ping and DNS, to the gateway only
//! ```
//!
//! Whatever grows with the number of instances is a set or a map: a packet costs the same on a full board.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

use roost_allocation::{FirewallInstance, FirewallPlan};
use roost_types::Name;
use roost_types::instance::{Publish, Transport};
use roost_types::prefix::first;

use super::BRIDGE;
use crate::runtime::linux::{mac, veth_name};

/// The rules for `plan`, without those of the bridge table. `controller` is what instances may not talk to.
#[must_use]
pub fn inet_rules(plan: &FirewallPlan, controller: Option<Ipv4Addr>) -> String {
    let own = prefix(plan.network.gateway, plan.network.prefix_len);
    let mut text = String::from("add table inet roost\ndelete table inet roost\ntable inet roost {\n");
    chain(
        &mut text,
        "guard",
        "type filter hook prerouting priority raw; policy accept;",
        &[
            // Answers to what the node itself sent to a published port come back to 127.0.0.1, so the kernel is told to
            // route it; nothing from outside may use that.
            "iifname != \"lo\" ip daddr 127.0.0.0/8 drop".to_owned(),
            format!("iifname \"{BRIDGE}\" ip saddr != {own} drop"),
            format!("iifname \"{BRIDGE}\" meta nfproto ipv6 drop"),
        ],
    );
    let published: Vec<String> = plan.instances.iter().flat_map(translations).collect();
    // An instance that publishes port 53 of the node does not get its neighbours' questions.
    let gateway = plan.network.gateway;
    let dns = format!("iifname \"{BRIDGE}\" ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53");
    let prerouting: Vec<String> = std::iter::once(format!("{dns} accept")).chain(published.iter().cloned()).collect();
    chain(&mut text, "prerouting", "type nat hook prerouting priority dstnat; policy accept;", &prerouting);
    chain(&mut text, "output", "type nat hook output priority -100; policy accept;", &published);
    chain(
        &mut text,
        "postrouting",
        "type nat hook postrouting priority srcnat; policy accept;",
        &masquerades(plan, &own),
    );
    let members = members(plan);
    for (number, addresses) in members.values().enumerate() {
        let addresses = set(addresses);
        chain(&mut text, &format!("from_{number}"), "", &[format!("ip daddr {addresses} return"), "drop".to_owned()]);
        chain(&mut text, &format!("to_{number}"), "", &[format!("ip saddr {addresses} return"), "drop".to_owned()]);
    }
    let forward = forwards(plan, &members, controller);
    chain(&mut text, "forward", "type filter hook forward priority filter; policy accept;", &forward);
    chain(
        &mut text,
        "input",
        "type filter hook input priority filter; policy accept;",
        &[
            format!("iifname \"{BRIDGE}\" ct state established,related accept"),
            format!("iifname \"{BRIDGE}\" icmp type echo-request accept"),
            format!("{dns} accept"),
            format!("iifname \"{BRIDGE}\" drop"),
        ],
    );
    text.push_str("}\n");
    text
}

/// The rules that pin each port of the bridge to its instance's addresses, and keep projects apart. What is not named
/// here says nothing on the bridge.
#[must_use]
pub fn bridge_rules(plan: &FirewallPlan) -> String {
    let mut text = String::from("add table bridge roost\ndelete table bridge roost\ntable bridge roost {\n");
    let members = members(plan);
    for (number, addresses) in members.values().enumerate() {
        let addresses = set(addresses);
        let rules =
            [format!("ip daddr {addresses} accept"), format!("arp daddr ip {addresses} accept"), "drop".to_owned()];
        chain(&mut text, &format!("project_{number}"), "", &rules);
    }
    let not_ours = format!("iifname != \"{PORTS}\" accept");
    // An instance is no DHCP server; other frames than IPv4 and ARP (IPv6 router advertisements too) are not carried.
    let mut pin = vec![not_ours.clone(), "udp sport 67 drop".to_owned()];
    let mut between = vec![not_ours];
    if !plan.instances.is_empty() {
        let pins = |fields: &dyn Fn(&str, &str) -> String| set(plan.instances.iter().map(|one| pin_of(one, fields)));
        let ip = pins(&|mac, address| format!("{mac} . {address}"));
        let arp = pins(&|mac, address| format!("{mac} . {mac} . {address}"));
        pin.push(format!("iifname . ether saddr . ip saddr {ip} accept"));
        pin.push(format!("iifname . ether saddr . arp saddr ether . arp saddr ip {arp} accept"));
        let jumps = jumps(plan, &members, "project");
        between.push(format!("ip saddr vmap {jumps}"));
        between.push(format!("arp saddr ip vmap {jumps}"));
    }
    pin.push("drop".to_owned());
    between.push("drop".to_owned());
    chain(&mut text, "pin", "type filter hook prerouting priority -300; policy accept;", &pin);
    chain(&mut text, "between", "type filter hook forward priority 0; policy accept;", &between);
    text.push_str("}\n");
    text
}

/// Every port of the bridge that is an instance's, and of no other bridge.
const PORTS: &str = "rv*";

fn chain(text: &mut String, name: &str, hook: &str, rules: &[String]) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  chain {name} {{");
    for line in std::iter::once(hook).filter(|hook| !hook.is_empty()).chain(rules.iter().map(String::as_str)) {
        let _ = writeln!(text, "    {line}");
    }
    text.push_str("  }\n");
}

fn set<T: ToString>(elements: impl IntoIterator<Item = T>) -> String {
    let elements: Vec<String> = elements.into_iter().map(|element| element.to_string()).collect();
    format!("{{ {} }}", elements.join(", "))
}

fn prefix(address: Ipv4Addr, length: u8) -> String {
    format!("{}/{length}", first(address, length))
}

/// The addresses of each project that has an instance here: those here, and those that the controller told of.
fn members(plan: &FirewallPlan) -> BTreeMap<&Name, BTreeSet<Ipv4Addr>> {
    let mut members: BTreeMap<&Name, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for instance in &plan.instances {
        members.entry(&instance.project).or_default().insert(instance.address);
    }
    for (project, addresses) in &mut members {
        addresses.extend(plan.names.projects.get(*project).into_iter().flat_map(BTreeMap::values));
    }
    members
}

/// From an instance's address to its project's chain.
fn jumps(plan: &FirewallPlan, members: &BTreeMap<&Name, BTreeSet<Ipv4Addr>>, chain: &str) -> String {
    let number = |project: &Name| members.keys().position(|other| *other == project).unwrap_or_default();
    set(plan.instances.iter().map(|one| format!("{} : jump {chain}_{}", one.address, number(&one.project))))
}

fn forwards(
    plan: &FirewallPlan,
    members: &BTreeMap<&Name, BTreeSet<Ipv4Addr>>,
    controller: Option<Ipv4Addr>,
) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(controller) = controller {
        // What the controller's host asked for itself is answered; what an instance begins is not.
        rules.push(format!("iifname \"{BRIDGE}\" ip daddr {controller} ct direction original drop"));
    }
    rules.push("ct state established,related accept".to_owned());
    rules.push("ct status dnat accept".to_owned());
    if !plan.instances.is_empty() {
        let peers = plan.network.routes.iter().map(|route| prefix(route.network, route.prefix_len));
        let own = prefix(plan.network.gateway, plan.network.prefix_len);
        let instances = set(peers.chain([own]));
        let (from, to) = (jumps(plan, members, "from"), jumps(plan, members, "to"));
        rules.push(format!("iifname \"{BRIDGE}\" ip daddr {instances} ip saddr vmap {from}"));
        rules.push(format!("oifname \"{BRIDGE}\" ip saddr {instances} ip daddr vmap {to}"));
    }
    rules
}

fn translations(instance: &FirewallInstance) -> impl Iterator<Item = String> {
    let address = instance.address;
    instance.publish.iter().map(move |publish| {
        let Publish { host_ip, host, container, transport } = publish;
        let to = match host_ip {
            Some(ip) => format!("ip daddr {ip}"),
            None => "fib daddr type local".to_owned(),
        };
        let protocol = match transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        format!("{to} meta nfproto ipv4 {protocol} dport {host} dnat ip to {address}:{container}")
    })
}

fn masquerades(plan: &FirewallPlan, own: &str) -> Vec<String> {
    let peers = plan.network.routes.iter().map(|route| prefix(route.network, route.prefix_len));
    let mut rules: Vec<String> = peers.map(|peer| format!("ip saddr {own} ip daddr {peer} accept")).collect();
    rules.push(format!("ip saddr {own} oifname != \"{BRIDGE}\" masquerade"));
    // Through a published port to a neighbour or to itself, or from the node's loopback: the answer must pass here.
    rules.push(format!("ip saddr {{ {own}, 127.0.0.0/8 }} oifname \"{BRIDGE}\" ct status dnat masquerade"));
    rules
}

/// `"port" . ` and what follows from the instance's hardware and network address.
fn pin_of(instance: &FirewallInstance, fields: &dyn Fn(&str, &str) -> String) -> String {
    let mac = mac(instance.address).map(|byte| format!("{byte:02x}")).join(":");
    format!("\"{}\" . {}", veth_name(instance.id), fields(&mac, &instance.address.to_string()))
}
