//! The supervisor's socket: one JSON command a line, one JSON reply a line. Only root can reach it.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use roost_types::dev::{DevCommand, DevReply};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::boards::Boards;
use super::heat::Heat;
use super::hub::Hub;
use super::layout::Layout;
use crate::error::CliError;

/// The longest command.
const MAX_LINE: u64 = 64 * 1024;

/// What commands act on.
pub struct RackInABox {
    /// Names and paths.
    pub layout: Layout,
    /// The boards.
    pub boards: Arc<Boards>,
    /// The hub.
    pub hub: Arc<Hub>,
    /// The air.
    pub heat: Arc<Heat>,
}

/// Listens for commands.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(rack: Arc<RackInABox>) -> Result<(), CliError> {
    let path = rack.layout.socket();
    let failed = |e: std::io::Error| CliError::step(format!("listening on {}", path.display()), e);
    // One of an earlier run would be in the way.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&rack)));
        }
    });
    Ok(())
}

/// Answers one connection until it closes.
async fn serve(stream: UnixStream, rack: Arc<RackInABox>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(MAX_LINE));
    let mut line = String::new();
    while matches!(read.read_line(&mut line).await, Ok(n) if n > 0) {
        let reply = match serde_json::from_str(&line) {
            Ok(command) => obey(&rack, command).await,
            Err(e) => DevReply { ok: false, message: format!("not a command: {e}") },
        };
        // Replies always serialise; a caller that went away needs none.
        let text = serde_json::to_string(&reply).unwrap_or_default() + "\n";
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        line.clear();
        read.get_mut().set_limit(MAX_LINE);
    }
}

async fn obey(rack: &RackInABox, command: DevCommand) -> DevReply {
    match act(rack, command).await {
        Ok(message) => DevReply { ok: true, message },
        Err(error) => DevReply { ok: false, message: error.to_string() },
    }
}

async fn act(rack: &RackInABox, command: DevCommand) -> Result<String, CliError> {
    match command {
        DevCommand::Heat { zone, celsius, humidity } => {
            rack.heat.hold(&zone, celsius, humidity)?;
            Ok(match celsius {
                Some(t) => format!("the air at {zone} is held at {t}"),
                None => format!("the heat model decides at {zone} again"),
            })
        }
        DevCommand::Fans { zone, turning } => {
            rack.heat.turn_fans(&zone, turning).await?;
            Ok(format!("the fans of {zone} {}", if turning { "turn" } else { "stand still" }))
        }
        DevCommand::Room { celsius } => {
            rack.heat.set_room(celsius)?;
            Ok(format!("the room goes to {celsius}"))
        }
        DevCommand::Hub { plugged: true } => rack.hub.plug().await.map(|()| "the hub is plugged in".into()),
        DevCommand::Hub { plugged: false } => {
            rack.hub.unplug().await;
            Ok("the hub is unplugged".into())
        }
        DevCommand::Noise { text } => {
            rack.hub.inject(text.as_bytes()).await?;
            Ok(format!("{} bytes put on the hub's line", text.len()))
        }
        DevCommand::Power { node, action } => {
            rack.boards.switch(&node, action).await?;
            let state = if rack.boards.is_on(&node).await { "on" } else { "off" };
            Ok(format!("the power of {node} is {state}"))
        }
        DevCommand::Status => Ok(status(rack).await),
    }
}

async fn status(rack: &RackInABox) -> String {
    let mut off = Vec::new();
    for plan in rack.layout.plans() {
        if !rack.boards.is_on(&plan.name).await {
            off.push(plan.name.to_string());
        }
    }
    let off = if off.is_empty() { "all on".to_owned() } else { format!("off: {}", off.join(" ")) };
    let hub = if rack.hub.is_plugged().await { "plugged in" } else { "unplugged" };
    format!("rack {}: {} boards, {off}; hub {hub}; {}", rack.layout.id, rack.layout.boards, rack.heat.describe())
}
