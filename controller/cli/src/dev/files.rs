//! Secrets and configuration: made once per state directory, then kept, so that a new start finds the same cluster.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;

use roost_types::rack::{HubConfig, ZoneConfig};
use roost_types::{ActingMode, HubOutput, RackConfig};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::layout::{BoardPlan, Layout};
use crate::context::{Context, save, save_in_config, write_private};
use crate::error::CliError;

/// A node as the controller's `--nodes` file lists it.
#[derive(Serialize)]
struct NodeEntry {
    name: String,
    secret_sha256: String,
}

/// A token as the controller's `--tokens` file lists it.
#[derive(Serialize)]
struct TokenEntry {
    name: &'static str,
    role: &'static str,
    token_sha256: String,
}

/// Paths of the controller's files.
pub struct ControllerFiles {
    /// `rack.yaml`.
    pub rack: PathBuf,
    /// `nodes.yaml`.
    pub nodes: PathBuf,
    /// `tokens.yaml`.
    pub tokens: PathBuf,
    /// `alerts.yaml`, which the user may write.
    pub alerts: PathBuf,
}

/// The file with a board's secret.
pub fn secret_path(board: &BoardPlan) -> PathBuf {
    board.state.join("secret")
}

/// Where the controller's files are.
pub fn controller_files(layout: &Layout) -> ControllerFiles {
    let at = |name: &str| layout.state.join(name);
    ControllerFiles {
        rack: at("rack.yaml"),
        nodes: at("nodes.yaml"),
        tokens: at("tokens.yaml"),
        alerts: at("alerts.yaml"),
    }
}

/// Writes every file of a rack.
///
/// # Errors
/// When one cannot be written.
pub fn write_all(layout: &Layout, url: &str, mode: ActingMode) -> Result<Context, CliError> {
    let files = controller_files(layout);
    let token = keep_secret(&layout.state.join("token"))?;
    let mut nodes = Vec::new();
    for board in layout.plans() {
        let secret = keep_secret(&secret_path(&board))?;
        nodes.push(NodeEntry { name: board.name.to_string(), secret_sha256: sha256(&secret) });
    }
    write_yaml(&files.nodes, &nodes)?;
    write_yaml(&files.tokens, &[TokenEntry { name: "dev", role: "admin", token_sha256: sha256(&token) }])?;
    if !files.alerts.exists() {
        write_private(&files.alerts, "")?;
    }
    let rack = rack_config(layout, mode);
    rack.check().map_err(|e| CliError::step("laying out the rack", e))?;
    write_yaml(&files.rack, &rack)?;
    let context = Context { url: url.to_owned(), token, ca: None };
    save(&layout.context(), &context)?;
    save_in_config("dev", Some(&context))?;
    Ok(context)
}

/// The rack as the controller is told of it: a zone, a probe and a fan output per shelf, a relay for
/// each of the first boards.
fn rack_config(layout: &Layout, mode: ActingMode) -> RackConfig {
    let plans = layout.plans();
    let zone = |shelf: usize| ZoneConfig {
        name: layout.zone(shelf),
        slots: plans.iter().filter(|p| p.shelf() == shelf).map(|p| p.slot.clone()).collect(),
        probes: vec![layout.probe(shelf)],
        limits: None,
        fans: vec![layout.fan(shelf)],
        tachometers: true,
    };
    let relay = |(number, plan): (u8, &BoardPlan)| (plan.name.clone(), HubOutput { hub: layout.hub_name(), number });
    RackConfig {
        hubs: vec![HubConfig { name: layout.hub_name(), path: layout.hub_path().display().to_string() }],
        zones: (0..usize::from(layout.shelves())).map(zone).collect(),
        power: (1..).zip(plans.iter().take(layout.relays().into())).map(relay).collect(),
        mode,
        nodes: plans.iter().map(|p| (p.name.clone(), p.slot.clone())).collect::<BTreeMap<_, _>>(),
        projects: BTreeMap::new(),
    }
}

fn write_yaml(path: &std::path::Path, value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_yaml::to_string(value).map_err(|e| CliError::step(format!("writing {}", path.display()), e))?;
    write_private(path, &text)
}

/// The secret in a file; made when the file is not there.
fn keep_secret(path: &std::path::Path) -> Result<String, CliError> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(CliError::step(format!("reading {}", path.display()), e));
        }
        Ok(_) | Err(_) => {}
    }
    let secret = random_hex()?;
    write_private(path, &format!("{secret}\n"))?;
    Ok(secret)
}

/// 256 random bits in hexadecimal.
///
/// # Errors
/// When the kernel gives none.
pub fn random_hex() -> Result<String, CliError> {
    let mut bytes = [0; 32];
    let mut source = std::fs::File::open("/dev/urandom").map_err(|e| CliError::step("opening /dev/urandom", e))?;
    source.read_exact(&mut bytes).map_err(|e| CliError::step("reading /dev/urandom", e))?;
    Ok(hex(&bytes))
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rack_fits_together() {
        for boards in [1, 6, 7, 12, 48, 49, 200] {
            let layout = Layout { id: 3, state: "/s".into(), boards };
            let rack = rack_config(&layout, ActingMode::Act);
            assert_eq!(rack.check(), Ok(()), "{boards} boards");
            assert_eq!(rack.nodes.len(), usize::from(boards));
            assert_eq!(rack.zones.iter().map(|z| z.slots.len()).sum::<usize>(), usize::from(boards));
        }
    }

    #[test]
    fn a_secret_is_made_once_and_known_by_its_digest_only() {
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let dir = std::env::temp_dir().join(format!("roost-secret-{}", std::process::id()));
        let path = dir.join("secret");
        let first = keep_secret(&path).unwrap();
        assert_eq!((first.len(), keep_secret(&path).unwrap()), (64, first));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
