//! The way out of a rack: this machine forwards for the boards and lends them its address, by a table of its own.
//!
//! ```text
//!   instance ──▶ its board (as the board) ──▶ bridge ──▶ this machine (as this machine) ──▶ wherever it can go
//! ```
//!
//! Only answers come back. Racks do not reach one another, nor an instance the controller by another of this machine's
//! addresses than the bridge's, which the boards look after themselves. A machine that did not forward before forwards
//! for racks and for nobody else. `nft` replaces a table in one step, so that a new start finds nothing to tidy up.

use tokio::process::Command;

use super::forwarding::Turn;
use super::layout::Layout;
use super::process::feed;
use crate::error::CliError;

/// Beginning of the names of the tables of racks with a way out.
const TABLES: &str = "roost_dev_";
/// Beginning of the names of the tables of racks without.
const CLOSED_TABLES: &str = "roost_in_";
/// The bridges of all racks, as `nft` matches them.
const BRIDGES: &str = "rb*";

/// Lets a rack out, or does again what was done.
///
/// # Errors
/// When this machine cannot be made to forward, or refuses the rules.
pub async fn open(layout: &Layout, api_port: u16) -> Result<(), CliError> {
    let turn = Turn::take()?;
    let only_racks = turn.remember()?;
    // The rules come first: from the moment on that the machine forwards, they say what.
    nft(&way_out(layout, api_port, only_racks)).await?;
    turn.forward()
}

/// Keeps a rack in, also on a machine that forwards for others.
///
/// # Errors
/// When the machine refuses the rules.
pub async fn close(layout: &Layout) -> Result<(), CliError> {
    down(layout).await?;
    nft(&no_way_out(layout)).await
}

/// Takes the rules of a rack away. The last one with a way out puts the machine's forwarding back.
///
/// # Errors
/// When something does not go.
pub async fn down(layout: &Layout) -> Result<(), CliError> {
    let turn = Turn::take()?;
    nft(&without_tables(layout)).await?;
    let output = Command::new("nft").args(["list", "tables", "ip"]).output().await;
    let output = output.map_err(|e| CliError::step("running nft", e))?;
    let others = String::from_utf8_lossy(&output.stdout).contains(&format!("table ip {TABLES}"));
    if others { Ok(()) } else { turn.put_back() }
}

/// What another firewall of this machine would have to let through, if there is one that drops what it does not know.
pub async fn obstacle() -> Option<String> {
    let output = Command::new("nft").args(["list", "chains"]).output().await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    drops_by_default(&text).map(|(table, chain)| format!("the chain {chain} of the table {table}"))
}

/// The first chain for forwarded packets whose policy is to drop.
fn drops_by_default(chains: &str) -> Option<(&str, &str)> {
    let (mut table, mut chain) = ("", "");
    for line in chains.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches(" {");
        } else if let Some(name) = line.strip_prefix("chain ") {
            chain = name.trim_end_matches(" {");
        } else if line.contains("hook forward") && line.contains("policy drop") {
            return Some((table, chain));
        }
    }
    None
}

/// Begins a transaction in which the rack has no table, whatever it had before.
fn without_tables(layout: &Layout) -> String {
    let id = layout.id;
    [TABLES, CLOSED_TABLES].map(|name| format!("add table ip {name}{id}\ndelete table ip {name}{id}\n")).concat()
}

/// The table of a rack with a way out. `only_racks`: nobody else's packets are forwarded.
fn way_out(layout: &Layout, api_port: u16, only_racks: bool) -> String {
    let (id, bridge, gateway) = (layout.id, layout.bridge(), layout.bridge_address());
    let others = if only_racks {
        format!("    iifname != \"{BRIDGES}\" oifname != \"{BRIDGES}\" drop\n")
    } else {
        String::new()
    };
    let before = without_tables(layout);
    format!(
        "{before}table ip {TABLES}{id} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {gateway}/24 oifname != {{ \"{bridge}\", \"lo\" }} masquerade
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname \"{bridge}\" oifname \"{bridge}\" accept
    iifname \"{bridge}\" ip saddr != {gateway}/24 drop
    iifname \"{bridge}\" oifname \"{BRIDGES}\" drop
    iifname \"{bridge}\" tcp flags syn tcp option maxseg size set rt mtu
    iifname \"{bridge}\" accept
    oifname \"{bridge}\" ct state established,related accept
    oifname \"{bridge}\" drop
{others}  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname \"{bridge}\" ip daddr != {gateway} tcp dport {api_port} drop
  }}
}}
"
    )
}

/// The table of a rack without.
fn no_way_out(layout: &Layout) -> String {
    let (id, bridge) = (layout.id, layout.bridge());
    let before = without_tables(layout);
    format!(
        "{before}table ip {CLOSED_TABLES}{id} {{
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname \"{bridge}\" oifname != \"{bridge}\" drop
    iifname != \"{bridge}\" oifname \"{bridge}\" drop
  }}
}}
"
    )
}

async fn nft(rules: &str) -> Result<(), CliError> {
    let put = feed(Command::new("nft").args(["-f", "-"]), rules).await;
    put.map_err(|why| CliError::step("putting the rules of the way out in force", why))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn layout() -> Layout {
        Layout { id: 7, state: PathBuf::from("/s"), boards: 1 }
    }

    #[test]
    fn only_racks_are_forwarded_where_nothing_was() {
        let (only_racks, open) = (way_out(&layout(), 7700, true), way_out(&layout(), 7700, false));
        let line = "    iifname != \"rb*\" oifname != \"rb*\" drop\n";
        assert!(only_racks.contains(line) && !open.contains(line));
        assert_eq!(only_racks.replace(line, ""), open);
        assert!(open.contains("ip saddr 10.66.7.1/24 oifname != { \"rb7\", \"lo\" } masquerade"), "{open}");
        assert!(open.contains("iifname \"rb7\" ip daddr != 10.66.7.1 tcp dport 7700 drop"), "{open}");
    }

    #[test]
    fn a_firewall_that_drops_what_it_does_not_know_is_named() {
        let chains = "table ip nat {\n\tchain POSTROUTING {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n\t}\n}\n\
                      table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n\
                      \tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n";
        assert_eq!(drops_by_default(chains), Some(("ip filter", "FORWARD")));
        assert_eq!(drops_by_default(&chains.replace("policy drop", "policy accept")), None);
    }
}
