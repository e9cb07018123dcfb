//! `roost stats`: what instances use, as a table.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use futures_util::StreamExt;
use roost_types::{Instance, InstanceState, InstanceStats};
use serde::Serialize;

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Columns, Style, or_dash, print};

/// Between two looks, of which the difference is shown.
const INTERVAL: Duration = Duration::from_secs(1);
/// Questions under way at once.
const AT_ONCE: usize = 16;

/// One instance at one look.
#[derive(Serialize)]
struct Row {
    name: String,
    /// Of one core, since the look before.
    cpu_percent: Option<f64>,
    #[serde(flatten)]
    stats: InstanceStats,
}

/// Shows what instances use, all that run when none is named: once, or again and again.
pub async fn stats(client: &Client, style: Style, instances: &[String], watch: bool) -> Result<(), CliError> {
    let mut before = look(client, instances).await?;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = look(client, instances).await?;
        let rows: Vec<Row> = now.iter().map(|(name, stats)| row_of(name, before.get(name), stats)).collect();
        let text = style.list(&rows, &columns())?;
        if !watch {
            return print(&text);
        }
        // Home and clear: only on a terminal, a file gets one table after the other.
        let clear = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        print(&format!("{clear}{text}"))?;
        before = now;
    }
}

/// What each instance uses now, by name. Of those that were not named, one that stopped meanwhile is left out.
async fn look(client: &Client, named: &[String]) -> Result<BTreeMap<String, InstanceStats>, CliError> {
    let names: Vec<String> = if named.is_empty() {
        let running = client.list::<Instance>("/v1/instances").await?;
        let running = running.into_iter().filter(|instance| instance.state == InstanceState::Running);
        running.map(|instance| instance.name.to_string()).collect()
    } else {
        named.to_vec()
    };
    let ask = |name: String| async move {
        let path = format!("/v1/instances/{}/stats", segment(&name));
        (client.get::<InstanceStats>(&path).await, name)
    };
    let mut answers = futures_util::stream::iter(names.into_iter().map(ask)).buffer_unordered(AT_ONCE);
    let mut all = BTreeMap::new();
    while let Some((answer, name)) = answers.next().await {
        match answer {
            Ok(stats) => drop(all.insert(name, stats)),
            Err(CliError::Refused(_)) if named.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn row_of(name: &str, before: Option<&InstanceStats>, stats: &InstanceStats) -> Row {
    let cpu_percent = before.and_then(|before| {
        let passed = stats.at.since(before.at).as_micros();
        let used = stats.cpu.usage_usec.checked_sub(before.cpu.usage_usec)?;
        (passed > 0).then(|| used as f64 * 100.0 / passed as f64)
    });
    Row { name: name.to_owned(), cpu_percent, stats: stats.clone() }
}

fn columns() -> Columns<'static, Row> {
    Columns {
        headings: &[
            "NAME",
            "CPU",
            "MEMORY",
            "LIMIT",
            "MEM",
            "PSS",
            "NET IN",
            "NET OUT",
            "DISK READ",
            "DISK WRITTEN",
            "PIDS",
            "OOM",
        ],
        row: &cells,
        name: &|row| row.name.clone(),
    }
}

fn cells(row: &Row) -> Vec<String> {
    let memory = &row.stats.memory;
    let share = memory.limit_bytes.filter(|limit| *limit > 0).map(|limit| {
        let percent = memory.working_set_bytes as f64 * 100.0 / limit as f64;
        format!("{percent:.1}%")
    });
    let network = row.stats.network;
    vec![
        row.name.clone(),
        or_dash(row.cpu_percent.map(|percent| format!("{percent:.1}%"))),
        bytes(memory.working_set_bytes),
        or_dash(memory.limit_bytes.map(bytes)),
        or_dash(share),
        or_dash(memory.pss_bytes.map(bytes)),
        or_dash(network.map(|network| bytes(network.rx_bytes))),
        or_dash(network.map(|network| bytes(network.tx_bytes))),
        or_dash(row.stats.io.map(|io| bytes(io.read_bytes))),
        or_dash(row.stats.io.map(|io| bytes(io.write_bytes))),
        row.stats.pids.to_string(),
        memory.oom_kills.to_string(),
    ]
}

/// Bytes for people: at most four digits and a binary unit.
fn bytes(n: u64) -> String {
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64;
    for unit in ["KiB", "MiB", "GiB"] {
        value /= 1024.0;
        if value < 1000.0 {
            return format!("{value:.1} {unit}");
        }
    }
    format!("{:.1} TiB", value / 1024.0)
}

#[cfg(test)]
mod tests {
    use roost_types::Timestamp;

    use super::*;

    #[test]
    fn a_share_of_a_core_is_the_difference_of_two_looks() {
        let at = |ms, usage_usec| {
            let mut stats = InstanceStats { at: Timestamp(ms), ..InstanceStats::default() };
            stats.cpu.usage_usec = usage_usec;
            stats
        };
        assert_eq!(row_of("a", Some(&at(1000, 500_000)), &at(3000, 3_500_000)).cpu_percent, Some(150.0));
        // One that was restarted meanwhile counts anew.
        assert_eq!(row_of("a", Some(&at(1000, 500_000)), &at(3000, 100)).cpu_percent, None);
        assert_eq!(row_of("a", None, &at(3000, 100)).cpu_percent, None);
        assert_eq!(cells(&row_of("a", None, &at(3000, 100)))[..4], ["a", "-", "0 B", "-"]);
    }

    #[test]
    fn bytes_have_few_digits_and_a_unit() {
        assert_eq!([999, 1000, 64 << 20, 3 << 40].map(bytes), ["999 B", "1.0 KiB", "64.0 MiB", "3.0 TiB"]);
    }
}
