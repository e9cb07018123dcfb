//! `roost dev heat|fans|room|hub|noise|status`: commands to a running rack in a box, through the API like everything else.

use reqwest::Method;
use roost_types::dev::{DevCommand, DevReply};
use roost_types::{MilliCelsius, MilliPercent};

use crate::args::{DevAction, Fans, Plug};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{Format, Style, print};

/// Sends a command and prints the answer.
pub async fn run(client: &Client, style: Style, action: DevAction) -> Result<(), CliError> {
    let command = command_of(action)?;
    let response = client.send(client.request(Method::POST, "/v1/dev/commands").json(&command)).await?;
    let reply: DevReply = client.json(response).await?;
    if !reply.ok {
        return Err(CliError::Failed(reply.message));
    }
    match style.format {
        Format::Table => print(&format!("{}\n", reply.message)),
        Format::Json | Format::Yaml => print(&style.document(&reply)?),
    }
}

fn command_of(action: DevAction) -> Result<DevCommand, CliError> {
    Ok(match action {
        DevAction::Heat { zone, celsius, release: _, humidity } => {
            if let Some(c) = celsius.filter(|c| !(-40.0..=125.0).contains(c)) {
                return Err(CliError::Usage(format!(
                    "{c} °C is not a temperature the chip can measure: use -40 to 125"
                )));
            }
            if let Some(h) = humidity.filter(|h| !(0.0..=100.0).contains(h)) {
                return Err(CliError::Usage(format!("{h} % is not a relative humidity: use 0 to 100")));
            }
            DevCommand::Heat {
                zone,
                celsius: celsius.map(MilliCelsius::from_f64),
                humidity: humidity.map(MilliPercent::from_f64),
            }
        }
        DevAction::Fans { zone, action } => DevCommand::Fans { zone, turning: action == Fans::Run },
        DevAction::Room { celsius } => DevCommand::Room { celsius: MilliCelsius::from_f64(celsius) },
        DevAction::Hub { action } => DevCommand::Hub { plugged: action == Plug::Plug },
        DevAction::Noise { text } => DevCommand::Noise { text },
        DevAction::Status => DevCommand::Status,
    })
}
