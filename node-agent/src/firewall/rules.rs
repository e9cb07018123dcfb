//! What the rules are: pure text for `nft`, and the elements of the sets and maps that the rules look up.
//!
//! ```text
//!   from outside ──▶ prerouting: published port? ──▶ to the instance
//!   from the node ─▶ output: published port? ───────▶ to the instance (source made the gateway's)
//!   instance ──────▶ pin: its own port, MAC and address? ─▶ between: to its own project?         (on the bridge)
//!                 └▶ forward: not the controller, only its own project or a published port ─▶ postrouting: as the
//!                    node, unless to a peer                                                      (through the node)
//!   instance ──────▶ input: ping and DNS, to the gateway only
//!   other node ────▶ input: images
//! ```
//!
//! Whatever grows with the number of instances is a set or a map: a packet costs the same on a full board, and an
//! instance that comes or goes changes elements and no rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

use roost_allocation::{FirewallInstance, FirewallPlan};
use roost_types::Name;
use roost_types::instance::Publish;
use roost_types::prefix::first;

use super::BRIDGE;
use super::elements::{Element, Family, Field, Set, Value};
use crate::images::server::Place;
use crate::runtime::linux::{mac, veth_name};

/// The name of our table in each family.
pub const TABLE: &str = "roost";
/// Every port of the bridge that is an instance's, and of no other bridge.
const PORTS: &str = "rv*";

/// All that is to be in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The projects that have chains, each under its place here.
    pub projects: Vec<Name>,
    /// The table of routed packets, with empty sets.
    pub inet: String,
    /// The table of what passes the bridge, with empty sets.
    pub bridge: String,
    /// What is in the sets of both, in order.
    pub elements: Vec<Element>,
}

impl Rules {
    /// The rules for `plan`. `controller` is what instances may not talk to, `images` where this node gives images to others:
    /// only they may, and no published port takes it. The projects of `before` keep their chains, unless there is one that
    /// they lack: then only those that are needed have any.
    #[must_use]
    pub fn new(plan: &FirewallPlan, controller: Option<Ipv4Addr>, images: Option<Place>, before: &[Name]) -> Self {
        let members = members(plan);
        let projects: Vec<Name> = if members.keys().all(|project| before.contains(project)) {
            before.to_vec()
        } else {
            members.keys().copied().cloned().collect()
        };
        let elements = elements(plan, &members, &projects);
        Self {
            inet: inet_table(plan, controller, images, projects.len()),
            bridge: bridge_table(projects.len()),
            elements,
            projects,
        }
    }

    /// What is in the sets of these families.
    #[must_use]
    pub fn elements_of(&self, families: &[Family]) -> BTreeSet<&Element> {
        self.elements.iter().filter(|element| families.contains(&element.set.family())).collect()
    }

    /// A text for `nft` that replaces our tables of these families, whatever they are, in one transaction.
    #[must_use]
    pub fn text(&self, families: &[Family]) -> String {
        let mut text = String::new();
        for family in families {
            text += match family {
                Family::Inet => &self.inet,
                Family::Bridge => &self.bridge,
            };
        }
        for of_one_set in self.elements.chunk_by(|one, next| one.set == next.set) {
            let set = of_one_set[0].set;
            if families.contains(&set.family()) {
                let elements: Vec<String> = of_one_set.iter().map(Element::to_string).collect();
                // Writing to a String cannot fail.
                let _ =
                    writeln!(text, "add element {} {TABLE} {set} {{ {} }}", set.family().name(), elements.join(", "));
            }
        }
        text
    }
}

fn inet_table(plan: &FirewallPlan, controller: Option<Ipv4Addr>, images: Option<Place>, projects: usize) -> String {
    let own = prefix(plan.network.gateway, plan.network.prefix_len);
    let mut text = table(Family::Inet, projects);
    declare(&mut text, "map", Set::Ports, "inet_proto . inet_service : ipv4_addr . inet_service");
    declare(&mut text, "map", Set::PortsOfAddress, "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service");
    declare(&mut text, "map", Set::SentBy, "ipv4_addr : verdict");
    declare(&mut text, "map", Set::SentTo, "ipv4_addr : verdict");
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
    let published = [
        format!("dnat ip addr . port to ip daddr . meta l4proto . th dport map @{}", Set::PortsOfAddress),
        format!(
            "fib daddr type local meta nfproto ipv4 dnat ip addr . port to meta l4proto . th dport map @{}",
            Set::Ports
        ),
    ];
    // An instance that publishes port 53 of the node does not get its neighbours' questions.
    let gateway = plan.network.gateway;
    let dns = format!("iifname \"{BRIDGE}\" ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53");
    let of_images = images.map(|Place { address, port, .. }| format!("ip daddr {address} tcp dport {port}"));
    let own_ports = std::iter::once(&dns).chain(&of_images).map(|own| format!("{own} accept"));
    let prerouting: Vec<String> = own_ports.chain(published.iter().cloned()).collect();
    chain(&mut text, "prerouting", "type nat hook prerouting priority dstnat; policy accept;", &prerouting);
    chain(&mut text, "output", "type nat hook output priority -100; policy accept;", &published);
    chain(
        &mut text,
        "postrouting",
        "type nat hook postrouting priority srcnat; policy accept;",
        &masquerades(plan, &own),
    );
    for number in 0..projects {
        let members = Set::Members(Family::Inet, number);
        for (way, peer) in [("from", "daddr"), ("to", "saddr")] {
            let rules = [format!("ip {peer} @{members} return"), "drop".to_owned()];
            chain(&mut text, &format!("{way}_{number}"), "", &rules);
        }
    }
    let mut forward = forwards(plan, controller, own);
    let nodes: Vec<String> = plan.network.routes.iter().map(|route| route.via.to_string()).collect();
    let nodes = format!("{{ {} }}", nodes.join(", "));
    if let Some(place) = images.filter(|_| !plan.network.routes.is_empty()) {
        // Masqueraded, it would look like this node.
        forward.insert(0, format!("iifname \"{BRIDGE}\" ip daddr {nodes} tcp dport {} drop", place.port));
    }
    chain(&mut text, "forward", "type filter hook forward priority filter; policy accept;", &forward);
    let mut input = vec![
        format!("iifname \"{BRIDGE}\" ct state established,related accept"),
        format!("iifname \"{BRIDGE}\" icmp type echo-request accept"),
        format!("{dns} accept"),
        format!("iifname \"{BRIDGE}\" drop"),
    ];
    if let Some(of_images) = of_images {
        let strangers = if plan.network.routes.is_empty() { String::new() } else { format!("ip saddr != {nodes} ") };
        input.push(format!("{strangers}{of_images} drop"));
    }
    chain(&mut text, "input", "type filter hook input priority filter; policy accept;", &input);
    text.push_str("}\n");
    text
}

/// Pins each port of the bridge to its instance's addresses, and keeps projects apart. What is not named here says
/// nothing on the bridge.
fn bridge_table(projects: usize) -> String {
    let mut text = table(Family::Bridge, projects);
    declare(&mut text, "set", Set::Pins, "ifname . ether_addr . ipv4_addr");
    declare(&mut text, "map", Set::ProjectOf, "ipv4_addr : verdict");
    for number in 0..projects {
        let members = Set::Members(Family::Bridge, number);
        let rules =
            [format!("ip daddr @{members} accept"), format!("arp daddr ip @{members} accept"), "drop".to_owned()];
        chain(&mut text, &format!("project_{number}"), "", &rules);
    }
    let not_ours = format!("iifname != \"{PORTS}\" accept");
    let (pins, project_of) = (Set::Pins, Set::ProjectOf);
    // An instance is no DHCP server; other frames than IPv4 and ARP (IPv6 router advertisements too) are not carried.
    let pin = [
        not_ours.clone(),
        "udp sport 67 drop".to_owned(),
        format!("iifname . ether saddr . ip saddr @{pins} accept"),
        format!("iifname . ether saddr . arp saddr ip @{pins} iifname . arp saddr ether . arp saddr ip @{pins} accept"),
        "drop".to_owned(),
    ];
    let between = [
        not_ours,
        format!("ip saddr vmap @{project_of}"),
        format!("arp saddr ip vmap @{project_of}"),
        "drop".to_owned(),
    ];
    chain(&mut text, "pin", "type filter hook prerouting priority -300; policy accept;", &pin);
    chain(&mut text, "between", "type filter hook forward priority 0; policy accept;", &between);
    text.push_str("}\n");
    text
}

/// The beginning of a table that takes the place of the one there is, with the sets of its projects.
fn table(family: Family, projects: usize) -> String {
    let name = family.name();
    let mut text = format!("add table {name} {TABLE}\ndelete table {name} {TABLE}\ntable {name} {TABLE} {{\n");
    for number in 0..projects {
        declare(&mut text, "set", Set::Members(family, number), "ipv4_addr");
    }
    text
}

fn declare(text: &mut String, kind: &str, set: Set, types: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {kind} {set} {{ type {types}; }}");
}

fn chain(text: &mut String, name: &str, hook: &str, rules: &[String]) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  chain {name} {{");
    for line in std::iter::once(hook).filter(|hook| !hook.is_empty()).chain(rules.iter().map(String::as_str)) {
        let _ = writeln!(text, "    {line}");
    }
    text.push_str("  }\n");
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

fn forwards(plan: &FirewallPlan, controller: Option<Ipv4Addr>, own: String) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(controller) = controller {
        // What the controller's host asked for itself is answered; what an instance begins is not.
        rules.push(format!("iifname \"{BRIDGE}\" ip daddr {controller} ct direction original drop"));
    }
    rules.push("ct state established,related accept".to_owned());
    rules.push("ct status dnat accept".to_owned());
    let peers = plan.network.routes.iter().map(|route| prefix(route.network, route.prefix_len));
    let instances: Vec<String> = peers.chain([own]).collect();
    let instances = instances.join(", ");
    rules.push(format!("iifname \"{BRIDGE}\" ip daddr {{ {instances} }} ip saddr vmap @{}", Set::SentBy));
    rules.push(format!("oifname \"{BRIDGE}\" ip saddr {{ {instances} }} ip daddr vmap @{}", Set::SentTo));
    rules
}

fn masquerades(plan: &FirewallPlan, own: &str) -> Vec<String> {
    let peers = plan.network.routes.iter().map(|route| prefix(route.network, route.prefix_len));
    let mut rules: Vec<String> = peers.map(|peer| format!("ip saddr {own} ip daddr {peer} accept")).collect();
    rules.push(format!("ip saddr {own} oifname != \"{BRIDGE}\" masquerade"));
    // Through a published port to a neighbour or to itself, or from the node's loopback: the answer must pass here.
    rules.push(format!("ip saddr {{ {own}, 127.0.0.0/8 }} oifname \"{BRIDGE}\" ct status dnat masquerade"));
    rules
}

fn elements(plan: &FirewallPlan, members: &BTreeMap<&Name, BTreeSet<Ipv4Addr>>, projects: &[Name]) -> Vec<Element> {
    let number = |project: &Name| projects.iter().position(|other| other == project).unwrap_or_default();
    let mut all = Vec::new();
    for (project, addresses) in members {
        let number = number(project);
        for (address, family) in addresses.iter().flat_map(|one| [(one, Family::Inet), (one, Family::Bridge)]) {
            let key = vec![Field::Address(*address)];
            all.push(Element { set: Set::Members(family, number), key, value: Value::None });
        }
    }
    for instance in &plan.instances {
        let number = number(&instance.project);
        for (set, chain) in [(Set::SentBy, "from"), (Set::SentTo, "to"), (Set::ProjectOf, "project")] {
            let key = vec![Field::Address(instance.address)];
            all.push(Element { set, key, value: Value::Jump(format!("{chain}_{number}")) });
        }
        all.push(pin(instance));
        all.extend(instance.publish.iter().map(|publish| translation(instance.address, publish)));
    }
    all.sort();
    // The kernel refuses two meanings of one key, and everything beside them.
    all.dedup_by(|one, before| one.set == before.set && one.key == before.key);
    all
}

fn pin(instance: &FirewallInstance) -> Element {
    let address = instance.address;
    let key = vec![Field::Interface(veth_name(instance.id)), Field::Mac(mac(address)), Field::Address(address)];
    Element { set: Set::Pins, key, value: Value::None }
}

fn translation(address: Ipv4Addr, publish: &Publish) -> Element {
    let Publish { host_ip, host, container, transport } = *publish;
    let port = [Field::Protocol(transport), Field::Port(host)];
    let (set, key) = match host_ip {
        Some(ip) => (Set::PortsOfAddress, std::iter::once(Field::Address(ip)).chain(port).collect()),
        None => (Set::Ports, port.to_vec()),
    };
    Element { set, key, value: Value::Fields(vec![Field::Address(address), Field::Port(container)]) }
}
