//! `roost hub list`.

use roost_types::rack::Hub;

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Columns, Style, or_dash, print};

/// Lists hubs and the counters of their lines.
pub async fn list(client: &Client, style: Style) -> Result<(), CliError> {
    let hubs: Vec<Hub> = client.list("/v1/hubs").await?;
    let headings = [
        "NAME",
        "CONNECTED",
        "FIRMWARE",
        "PROBES",
        "FRAMES",
        "BAD-CRC",
        "MALFORMED",
        "OUT-OF-RANGE",
        "DROPPED",
        "LOST",
        "PATH",
    ];
    let row = |hub: &Hub| {
        let c = &hub.counters;
        let mut cells = vec![
            hub.name.to_string(),
            if hub.connected { "yes" } else { "no" }.to_owned(),
            or_dash(hub.firmware.as_ref()),
            hub.probes.len().to_string(),
        ];
        cells.extend([c.frames_ok, c.bad_crc, c.malformed, c.out_of_range, c.dropped, c.lost].map(|n| n.to_string()));
        cells.push(hub.path.clone());
        cells
    };
    print(&style.list(&hubs, &Columns { headings: &headings, row: &row, name: &|hub| hub.name.to_string() })?)
}
