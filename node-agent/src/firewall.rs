//! The node's firewall: puts rules in force and keeps them there.
//!
//! One table `inet roost` (translation and filter) and, where the kernel can, one table `bridge roost` (what may pass
//! the bridge), replaced together in one transaction of `nft`. An instance that comes or goes only changes elements of
//! their sets, by one message to the kernel. Nothing else is read or touched. What the rules are is told in [`rules`].

mod batch;
pub mod elements;
mod nft;
pub mod rules;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};

use roost_allocation::FirewallPlan;
use roost_types::node::Feature;
use tokio::sync::Mutex;

use elements::{Element, Family};
use nft::{generation, nft};
use rules::{Rules, TABLE};

use crate::images::server::Place;
pub use crate::runtime::linux::BRIDGE;

/// Families of our tables.
const FAMILIES: [Family; 2] = [Family::Inet, Family::Bridge];

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
    image_server: Option<Place>,
    in_force: Mutex<Option<InForce>>,
}

/// What was applied last.
#[derive(Debug)]
struct InForce {
    rules: Rules,
    /// Our tables: both, or the first alone.
    families: &'static [Family],
    /// The kernel's generation when they were last known to be as they were put.
    intact_at: Option<u32>,
    /// Digests of how `nft` lists the tables, once it was asked.
    listings: Option<Vec<u64>>,
}

impl Firewall {
    /// A firewall that keeps instances away from the controller, and all but nodes of the rack from this node's images.
    #[must_use]
    pub fn new(controller_host: &str, controller_port: u16, image_server: Option<Place>) -> Self {
        let controller = (controller_host.to_owned(), controller_port);
        Self { controller, image_server, in_force: Mutex::new(None) }
    }

    /// Makes the tables those of `plan`: by a change of elements where that is enough and nobody else has changed any
    /// rule since, anew otherwise.
    pub async fn apply(&self, plan: &FirewallPlan) -> Result<(), FirewallError> {
        let controller = self.controller_address().await;
        let mut in_force = self.in_force.lock().await;
        let before = in_force.as_ref().map_or(&[][..], |current| &current.rules.projects);
        let rules = Rules::new(plan, controller, self.image_server, before);
        if !in_force.as_mut().is_some_and(|current| current.change_elements(&rules)) {
            *in_force = Some(put_all(rules).await?);
        }
        allow_loopback_answers();
        Ok(())
    }

    /// Looks whether the tables are as they were put, and puts them again when they are not. Returns what was wrong, a
    /// sentence each. Costs one small message as long as nobody changes any rule.
    pub async fn repair(&self) -> Result<Vec<String>, FirewallError> {
        let mut in_force = self.in_force.lock().await;
        let Some(expected) = in_force.as_mut() else { return Ok(Vec::new()) };
        let now = generation();
        if now.is_some() && now == expected.intact_at {
            return Ok(Vec::new());
        }
        let mut found = list(expected.families).await?;
        let wrong = expected.compare(&found);
        expected.intact_at = now;
        if !wrong.is_empty() || expected.listings.is_none() {
            expected.intact_at = put(&expected.rules.text(expected.families)).await?;
            found = list(expected.families).await?;
        }
        expected.listings = found.into_iter().collect();
        Ok(wrong)
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

impl InForce {
    /// Changes the sets to hold what they hold in `rules`; false, and nothing done, when that is not all that differs or
    /// the kernel does not take it.
    fn change_elements(&mut self, rules: &Rules) -> bool {
        let Some(intact_at) = self.intact_at else { return false };
        let (old, new) = (&self.rules, rules);
        if (&old.projects, &old.inet, &old.bridge) != (&new.projects, &new.inet, &new.bridge) {
            return false;
        }
        let (before, after) = (old.elements_of(self.families), new.elements_of(self.families));
        let removed: Vec<&Element> = before.difference(&after).copied().collect();
        let added: Vec<&Element> = after.difference(&before).copied().collect();
        if removed.is_empty() && added.is_empty() {
            return true;
        }
        if removed.len() + added.len() > batch::MOST {
            return false;
        }
        match batch::change(&removed, &added, intact_at) {
            Ok(generation) => {
                (self.intact_at, self.listings) = (Some(generation), None);
                self.rules.elements.clone_from(&rules.elements);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "elements of the firewall's sets cannot be changed; it is put anew");
                false
            }
        }
    }

    /// What is wrong with the tables that were found. Whether one was changed is only known if it was listed before.
    fn compare(&self, found: &[Option<u64>]) -> Vec<String> {
        let known = |at: usize| self.listings.as_ref().and_then(|listings| listings.get(at)).copied();
        let tables = self.families.iter().zip(found).enumerate();
        tables
            .filter_map(|(at, (family, found))| match (found, known(at)) {
                (None, _) => Some(format!("the table {} {TABLE} was gone", family.name())),
                (Some(found), Some(known)) if *found != known => {
                    Some(format!("the table {} {TABLE} had been changed", family.name()))
                }
                (Some(_), _) => None,
            })
            .collect()
    }
}

/// Replaces the tables; the bridge's only where the kernel has such.
async fn put_all(rules: Rules) -> Result<InForce, FirewallError> {
    let (families, intact_at) = match put(&rules.text(&FAMILIES)).await {
        Ok(generation) => (&FAMILIES[..], generation),
        Err(FirewallError::Refused(why)) => {
            let generation = put(&rules.text(&FAMILIES[..1])).await?;
            tracing::warn!(
                why,
                "no bridge filter here: an instance could use a neighbour's address and reach other projects"
            );
            (&FAMILIES[..1], generation)
        }
        Err(error) => return Err(error),
    };
    Ok(InForce { rules, families, intact_at, listings: None })
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

/// Digests of how `nft` lists our tables; none for one that is not there.
async fn list(families: &[Family]) -> Result<Vec<Option<u64>>, FirewallError> {
    let mut found = Vec::new();
    for family in families {
        found.push(match nft(&["list", "table", family.name(), TABLE], "").await {
            Ok(text) => {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                Some(hasher.finish())
            }
            Err(FirewallError::Refused(_)) => None,
            Err(error) => return Err(error),
        });
    }
    Ok(found)
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
