//! The rack's LAN: a bridge, and for each board a network namespace with one cable to it. Made with `ip` from iproute2.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::layout::{BoardPlan, Layout};
use super::process::feed;
use crate::error::CliError;

/// The file that stands for a network namespace.
pub fn netns_file(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Makes the bridge, unless it is there.
///
/// # Errors
/// When `ip` refuses.
pub async fn bridge_up(layout: &Layout) -> Result<(), CliError> {
    let bridge = layout.bridge();
    if interface_exists(&bridge) {
        return Ok(());
    }
    let address = layout.bridge_address();
    let lines = format!("link add {bridge} type bridge\naddr add {address}/24 dev {bridge}\nlink set {bridge} up\n");
    ip_batch(None, &lines).await
}

/// Makes a board's namespace and cable; a namespace that is there already is kept with everything in it.
///
/// # Errors
/// When `ip` refuses.
pub async fn board_up(layout: &Layout, board: &BoardPlan) -> Result<(), CliError> {
    if netns_file(&board.netns).exists() && interface_exists(&board.veth) {
        return Ok(());
    }
    board_down(board).await?;
    let (netns, veth, bridge) = (&board.netns, &board.veth, layout.bridge());
    let outside = format!(
        "netns add {netns}\nlink add {veth} type veth peer name eth0 netns {netns}\nlink set {veth} master {bridge} up\n"
    );
    ip_batch(None, &outside).await?;
    let gateway = layout.bridge_address();
    let inside = format!(
        "link set lo up\naddr add {}/24 dev eth0\nlink set eth0 up\nroute add default via {gateway}\n",
        board.address
    );
    ip_batch(Some(netns), &inside).await
}

/// Removes a board's cable and namespace.
///
/// # Errors
/// When `ip` refuses.
pub async fn board_down(board: &BoardPlan) -> Result<(), CliError> {
    // The cable goes first: a namespace lives on as long as something refers to it, and would keep its address in use.
    link_down(&board.veth).await?;
    netns_down(&board.netns).await
}

/// Removes a namespace by name.
///
/// # Errors
/// When `ip` refuses.
pub async fn netns_down(name: &str) -> Result<(), CliError> {
    if netns_file(name).exists() { ip_batch(None, &format!("netns del {name}\n")).await } else { Ok(()) }
}

/// Removes the bridge and every namespace of a rack.
///
/// # Errors
/// When `ip` refuses.
pub async fn down(layout: &Layout) -> Result<(), CliError> {
    for name in ports_of(&layout.bridge()) {
        link_down(&name).await?;
    }
    let prefix = layout.netns_prefix();
    let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|e| e.file_name());
    for name in names.filter_map(|n| n.into_string().ok()).filter(|n| n.starts_with(&prefix)) {
        netns_down(&name).await?;
    }
    link_down(&layout.bridge()).await
}

/// Removes an interface. One that vanishes by itself meanwhile, with its namespace, is as good.
async fn link_down(name: &str) -> Result<(), CliError> {
    if !interface_exists(name) {
        return Ok(());
    }
    match ip_batch(None, &format!("link del {name}\n")).await {
        Err(_) if !interface_exists(name) => Ok(()),
        other => other,
    }
}

/// Interfaces that are ports of a bridge.
fn ports_of(bridge: &str) -> Vec<String> {
    let dir = Path::new("/sys/class/net").join(bridge).join("brif");
    std::fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok()).collect()
}

/// Whether the machine has an interface of this name.
pub fn interface_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// Runs lines of `ip` in one process, inside a namespace or not.
async fn ip_batch(netns: Option<&str>, lines: &str) -> Result<(), CliError> {
    let mut command = Command::new("ip");
    if let Some(netns) = netns {
        command.args(["-n", netns]);
    }
    let done = feed(command.args(["-batch", "-"]), lines).await;
    done.map_err(|why| CliError::step(format!("ip: {}", lines.trim().replace('\n', "; ")), why))
}
