//! The node's firewall: what the rules are (pure), and how they are put in force.
//!
//! One table `inet roost` (translation and filter) and, where the kernel can, one table `bridge roost` (each port of the
//! bridge may use only its own address), replaced together in one transaction of `nft`. Nothing else is read or touched.
//!
//! ```text
//!   from outside ──▶ prerouting: published port? ──▶ to the instance
//!   from the node ─▶ output: published port? ───────▶ to the instance (source made the gateway's)
//!   instance ──────▶ bridge: its own address? ─▶ forward: not the controller ─▶ postrouting: as the node, unless to a peer
//!   instance ──────▶ input: ping and DNS only
//! ```

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Mutex;

use roost_allocation::{FirewallInstance, FirewallPlan};
use roost_types::AllocationId;
use roost_types::instance::{Publish, Transport};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The bridge of the instances.
pub const BRIDGE: &str = "roost0";

/// Why the rules are not in force.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// There is no `nft`.
    #[error("nft is not installed; published ports and isolation need the package 'nftables'")]
    Missing,
    /// It cannot be executed, or its pipes broke.
    #[error("run nft")]
    Run(#[source] std::io::Error),
    /// It refused the rules.
    #[error("nft refused the rules: {0}")]
    Refused(String),
}

/// The rules for `plan`, without those of the bridge table. `controller` is what instances may not talk to.
#[must_use]
pub fn inet_rules(plan: &FirewallPlan, controller: Option<Ipv4Addr>) -> String {
    let prefix = prefix(plan.network.gateway, plan.network.prefix_len);
    let mut text = String::from("add table inet roost\ndelete table inet roost\ntable inet roost {\n");
    chain(
        &mut text,
        "guard",
        "type filter hook prerouting priority raw; policy accept;",
        &[
            // Answers to what the node itself sent to a published port come back to 127.0.0.1, so the kernel is told to
            // route it; nothing from outside may use that.
            "iifname != \"lo\" ip daddr 127.0.0.0/8 drop".to_owned(),
            format!("iifname \"{BRIDGE}\" ip saddr != {prefix} drop"),
        ],
    );
    let published: Vec<String> = plan.instances.iter().flat_map(translations).collect();
    chain(&mut text, "prerouting", "type nat hook prerouting priority dstnat; policy accept;", &published);
    chain(&mut text, "output", "type nat hook output priority -100; policy accept;", &published);
    chain(
        &mut text,
        "postrouting",
        "type nat hook postrouting priority srcnat; policy accept;",
        &masquerades(plan, &prefix),
    );
    let mut forward = Vec::new();
    if let Some(controller) = controller {
        // What the controller's host asked for itself is answered; what an instance begins is not.
        forward.push(format!("iifname \"{BRIDGE}\" ip daddr {controller} ct direction original drop"));
    }
    chain(&mut text, "forward", "type filter hook forward priority filter; policy accept;", &forward);
    chain(
        &mut text,
        "input",
        "type filter hook input priority filter; policy accept;",
        &[
            format!("iifname \"{BRIDGE}\" ct state established,related accept"),
            format!("iifname \"{BRIDGE}\" icmp type echo-request accept"),
            format!("iifname \"{BRIDGE}\" meta l4proto {{ tcp, udp }} th dport 53 accept"),
            format!("iifname \"{BRIDGE}\" drop"),
        ],
    );
    text.push_str("}\n");
    text
}

/// The rules that pin each port of the bridge to its instance's address.
#[must_use]
pub fn bridge_rules(plan: &FirewallPlan) -> String {
    let mut text = String::from("add table bridge roost\ndelete table bridge roost\ntable bridge roost {\n");
    let rules: Vec<String> = plan.instances.iter().flat_map(pins).collect();
    chain(&mut text, "pin", "type filter hook prerouting priority -300; policy accept;", &rules);
    text.push_str("}\n");
    text
}

fn chain(text: &mut String, name: &str, hook: &str, rules: &[String]) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  chain {name} {{\n    {hook}");
    for rule in rules {
        let _ = writeln!(text, "    {rule}");
    }
    text.push_str("  }\n");
}

fn prefix(address: Ipv4Addr, length: u8) -> String {
    let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
    format!("{}/{length}", Ipv4Addr::from(u32::from(address) & mask))
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

fn masquerades(plan: &FirewallPlan, prefix: &str) -> Vec<String> {
    let peers = plan.network.routes.iter().map(|route| self::prefix(route.network, route.prefix_len));
    let mut rules: Vec<String> = peers.map(|peer| format!("ip saddr {prefix} ip daddr {peer} accept")).collect();
    rules.push(format!("ip saddr {prefix} oifname != \"{BRIDGE}\" masquerade"));
    // Through a published port to a neighbour or to itself, or from the node's loopback: the answer must pass here.
    rules.push(format!("ip saddr {{ {prefix}, 127.0.0.0/8 }} oifname \"{BRIDGE}\" ct status dnat masquerade"));
    rules
}

fn pins(instance: &FirewallInstance) -> Vec<String> {
    let (port, address) = (bridge_port(instance.id), instance.address);
    vec![
        format!("iifname \"{port}\" ether type ip ip saddr != {address} drop"),
        format!("iifname \"{port}\" ether type arp arp saddr ip != {address} drop"),
        format!("iifname \"{port}\" ether type != {{ ip, arp }} drop"),
    ]
}

/// The bridge's port of an instance: `rv` and the last 8 digits of the allocation's id.
#[must_use]
pub fn bridge_port(id: AllocationId) -> String {
    let digits = id.0.simple().to_string();
    format!("rv{}", &digits[24..])
}

/// Puts rules in force and keeps them there.
#[derive(Debug)]
pub struct Firewall {
    controller: (String, u16),
    in_force: Mutex<Option<InForce>>,
}

/// What was applied last.
#[derive(Clone, Debug)]
struct InForce {
    rules: String,
    /// How `nft` lists the table afterwards, once it was asked.
    listing: Option<String>,
}

impl Firewall {
    /// A firewall that keeps instances away from the controller.
    #[must_use]
    pub fn new(controller_host: &str, controller_port: u16) -> Self {
        Self { controller: (controller_host.to_owned(), controller_port), in_force: Mutex::new(None) }
    }

    /// Replaces the tables by those of `plan`.
    pub async fn apply(&self, plan: &FirewallPlan) -> Result<(), FirewallError> {
        let inet = inet_rules(plan, self.controller_address().await);
        let both = format!("{inet}{}", bridge_rules(plan));
        let rules = match nft(&["-f", "-"], &both).await {
            Ok(_) => both,
            Err(FirewallError::Refused(why)) => {
                nft(&["-f", "-"], &inet).await?;
                tracing::warn!(why, "no bridge filter here: an instance could use a neighbour's address");
                inet
            }
            Err(error) => return Err(error),
        };
        allow_loopback_answers();
        *self.lock() = Some(InForce { rules, listing: None });
        Ok(())
    }

    /// Looks whether the table is as it was put, and puts it again when it is not. Returns whether it had to.
    pub async fn repair(&self) -> Result<bool, FirewallError> {
        let Some(mut expected) = self.lock().clone() else { return Ok(false) };
        let listing = match nft(&["list", "table", "inet", "roost"], "").await {
            Ok(listing) => Some(listing),
            Err(FirewallError::Refused(_)) => None,
            Err(error) => return Err(error),
        };
        let intact = listing.is_some() && (expected.listing.is_none() || expected.listing == listing);
        if !intact {
            nft(&["-f", "-"], &expected.rules).await?;
        }
        let mut in_force = self.lock();
        if let Some(current) = in_force.as_mut().filter(|current| current.rules == expected.rules) {
            current.listing = if intact { listing } else { expected.listing.take() };
        }
        Ok(!intact)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<InForce>> {
        self.in_force.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn controller_address(&self) -> Option<Ipv4Addr> {
        let (host, port) = &self.controller;
        let found = tokio::net::lookup_host((host.as_str(), *port)).await.ok()?;
        found.into_iter().find_map(|address| match address {
            SocketAddr::V4(address) if !address.ip().is_loopback() => Some(*address.ip()),
            SocketAddr::V4(_) | SocketAddr::V6(_) => None,
        })
    }
}

/// Lets the node's own processes reach published ports by 127.0.0.1; the guard chain keeps everybody else out.
fn allow_loopback_answers() {
    let path = format!("/proc/sys/net/ipv4/conf/{BRIDGE}/route_localnet");
    if let Err(error) = std::fs::write(&path, "1") {
        tracing::debug!(path, %error, "published ports will not answer on 127.0.0.1 yet");
    }
}

async fn nft(args: &[&str], input: &str) -> Result<String, FirewallError> {
    let mut command = Command::new("nft");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => FirewallError::Missing,
        _ => FirewallError::Run(error),
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(FirewallError::Run)?;
    }
    let output = child.wait_with_output().await.map_err(FirewallError::Run)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(FirewallError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests;
