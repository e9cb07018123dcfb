//! The node's firewall: puts rules in force and keeps them there.
//!
//! One table `inet roost` (translation and filter) and, where the kernel can, one table `bridge roost` (what may pass
//! the bridge), replaced together in one transaction of `nft`. Nothing else is read or touched. What the rules are is
//! told in [`rules`].

mod nft;
pub mod rules;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use roost_allocation::FirewallPlan;
use roost_types::node::Feature;

use nft::{generation, nft};
use rules::{bridge_rules, inet_rules};

pub use crate::runtime::linux::BRIDGE;

/// Families of our tables.
const FAMILIES: [&str; 2] = ["inet", "bridge"];

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
    /// Our tables: both, or the first alone.
    families: &'static [&'static str],
    /// The kernel's generation when they were last known to be as they were put.
    intact_at: Option<u32>,
    /// Digests of how `nft` lists the tables, once it was asked.
    listings: Option<Vec<u64>>,
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
        let (rules, families, intact_at) = match put(&both).await {
            Ok(generation) => (both, &FAMILIES[..], generation),
            Err(FirewallError::Refused(why)) => {
                let generation = put(&inet).await?;
                tracing::warn!(
                    why,
                    "no bridge filter here: an instance could use a neighbour's address and reach other projects"
                );
                (inet, &FAMILIES[..1], generation)
            }
            Err(error) => return Err(error),
        };
        allow_loopback_answers();
        *self.lock() = Some(InForce { rules, families, intact_at, listings: None });
        Ok(())
    }

    /// Looks whether the tables are as they were put, and puts them again when they are not. Returns what was wrong, a
    /// sentence each. Costs one small message as long as nobody changes any rule.
    pub async fn repair(&self) -> Result<Vec<String>, FirewallError> {
        let Some(expected) = self.lock().clone() else { return Ok(Vec::new()) };
        let now = generation();
        if now.is_some() && now == expected.intact_at {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for family in expected.families {
            found.push(listing(family).await?);
        }
        let wrong = compare(&expected, &found);
        let known = expected.listings.is_some();
        let mut intact_at = now;
        if !wrong.is_empty() || !known {
            intact_at = put(&expected.rules).await?;
            found.clear();
            for family in expected.families {
                found.push(listing(family).await?);
            }
        }
        let mut in_force = self.lock();
        if let Some(current) = in_force.as_mut().filter(|current| current.rules == expected.rules) {
            current.intact_at = intact_at;
            current.listings = found.into_iter().collect();
        }
        Ok(wrong)
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

/// Whether this node can part instances, tried on the kernel without putting anything in force.
pub async fn features() -> Vec<Feature> {
    let tried = |family: &str, chain: &str| format!("table {family} roost_probe {{\n chain c {{\n {chain}\n }}\n }}\n");
    let nat = "type nat hook postrouting priority srcnat; ip saddr 192.0.2.1 masquerade";
    let bridge = "type filter hook forward priority 0; iifname . ether saddr . ip saddr { \"x\" . 02:00:00:00:00:01 . 192.0.2.1 } drop";
    let takes = async |text: String| nft(&["-c", "-f", "-"], &text).await.is_ok();
    let feature = |name: &str, supported: bool, advice: &str| Feature {
        name: name.to_owned(),
        supported,
        advice: if supported { String::new() } else { advice.to_owned() },
    };
    vec![
        feature(
            "firewall",
            takes(tried("inet", nat)).await,
            "install the package 'nftables' and use a kernel with CONFIG_NF_TABLES_INET and CONFIG_NFT_NAT: without \
             them no instance of this node is reached or kept apart",
        ),
        feature(
            "bridge_firewall",
            takes(tried("bridge", bridge)).await,
            "use a kernel with CONFIG_NF_TABLES_BRIDGE: without it an instance can use a neighbour's address and reach \
             other projects on this node",
        ),
    ]
}

/// Puts rules in force; the generation they are, unless somebody else changed rules at the same time.
async fn put(rules: &str) -> Result<Option<u32>, FirewallError> {
    let before = generation();
    nft(&["-f", "-"], rules).await?;
    let after = generation();
    Ok(after.filter(|after| before.is_some_and(|before| before.wrapping_add(1) == *after)))
}

/// Digest of how `nft` lists our table of a family; none when there is no such table.
async fn listing(family: &str) -> Result<Option<u64>, FirewallError> {
    match nft(&["list", "table", family, "roost"], "").await {
        Ok(text) => {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            Ok(Some(hasher.finish()))
        }
        Err(FirewallError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is wrong with the tables that were found. Whether one was changed is only known if it was listed before.
fn compare(expected: &InForce, found: &[Option<u64>]) -> Vec<String> {
    let known = |at: usize| expected.listings.as_ref().and_then(|listings| listings.get(at)).copied();
    let tables = expected.families.iter().zip(found).enumerate();
    tables
        .filter_map(|(at, (family, found))| match (found, known(at)) {
            (None, _) => Some(format!("the table {family} roost was gone")),
            (Some(found), Some(known)) if *found != known => Some(format!("the table {family} roost had been changed")),
            (Some(_), _) => None,
        })
        .collect()
}

/// Lets the node's own processes reach published ports by 127.0.0.1; the guard chain keeps everybody else out.
fn allow_loopback_answers() {
    let path = format!("/proc/sys/net/ipv4/conf/{BRIDGE}/route_localnet");
    if let Err(error) = std::fs::write(&path, "1") {
        tracing::debug!(path, %error, "published ports will not answer on 127.0.0.1 yet");
    }
}

#[cfg(test)]
mod tests;
