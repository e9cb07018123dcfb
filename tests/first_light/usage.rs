//! What instances use, as `roost stats` and the API tell it.

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;
use roost_tests::until;
use roost_types::InstanceStats;
use serde_json::Value;

/// Bytes that an instance sends.
const SENT: u64 = 4 << 20;

pub fn what_an_instance_uses_is_counted(rack: &Rack) -> Result<()> {
    rack.roost(&["launch", "busybox", "box", "--size", "nano", "--", "httpd", "-f", "-p", "80", "-h", "/tmp"])?;
    let stats = || rack.api.get::<InstanceStats>("/v1/instances/box/stats");
    let idle = stats()?;
    ensure!(idle.memory.limit_bytes == Some(64 << 20) && idle.pids_limit == Some(256), "{idle:?}");
    ensure!(idle.pids >= 1 && idle.memory.working_set_bytes <= idle.memory.usage_bytes, "{idle:?}");
    let pss = idle.memory.pss_bytes.context("no PSS")?;
    ensure!(pss > 0 && pss < 64 << 20, "PSS: {pss}");

    let busy = "timeout 3 sh -c 'while :; do :; done' & timeout 3 sh -c 'while :; do :; done'; true";
    rack.roost(&["exec", "box", "--", "sh", "-c", busy])?;
    let worked = stats()?;
    ensure!(worked.cpu.usage_usec > idle.cpu.usage_usec + 500_000, "{idle:?}\n    {worked:?}");
    // Whether its cap held it back depends on who else is busy; that it is counted does not.
    ensure!(worked.cpu.periods > idle.cpu.periods && worked.cpu.throttled_usec.is_some(), "no cap: {worked:?}");

    // What it sends and what it receives are not mixed up.
    let serve = format!("head -c {SENT} /dev/zero > /tmp/much && ip -4 addr show eth0");
    rack.roost(&["exec", "box", "--", "sh", "-c", &serve])?;
    rack.roost(&["launch", "busybox", "reader", "--node", worked_on(rack)?.as_str(), "--", "sleep", "1000"])?;
    let url = format!("http://{}/much", rack.api.instance("box")?.address.context("no address")?);
    rack.roost(&["exec", "reader", "--", "wget", "-q", "-O", "/dev/null", &url])?;
    let before = worked.network.context("no network")?;
    let network = stats()?.network.context("no network")?;
    let (tx, rx) = (network.tx_bytes - before.tx_bytes, network.rx_bytes - before.rx_bytes);
    ensure!(tx > SENT && rx < SENT / 4 && network.tx_packets > before.tx_packets, "sent {tx}, received {rx}");

    let hog = rack.run(&["exec", "box", "--", "awk", "BEGIN { s = \"x\"; while (1) s = s s }"])?;
    ensure!(hog.code == 137, "{hog:?}");
    until("the kill for want of memory is counted", || Ok((stats()?.memory.oom_kills > 0).then_some(())))?;
    Ok(())
}

fn worked_on(rack: &Rack) -> Result<String> {
    Ok(rack.api.instance("box")?.node.context("no node")?.to_string())
}

pub fn a_table_shows_all_that_run(rack: &Rack) -> Result<()> {
    for name in ["one", "two"] {
        rack.roost(&["launch", "busybox", name, "--size", "nano", "--", "sleep", "1000"])?;
    }
    let table = rack.roost(&["stats"])?;
    let lines: Vec<&str> = table.lines().collect();
    ensure!(lines.len() == 3 && lines[0].starts_with("NAME") && lines[1].starts_with("one"), "{table}");
    ensure!(lines[1].contains("64.0 MiB") && lines[1].contains('%'), "{table}");
    let rows: Value = serde_json::from_str(&rack.roost(&["stats", "two", "-o", "json"])?)?;
    ensure!(rows[0]["name"] == "two" && rows[0]["cpu_percent"].is_number(), "{rows}");
    rack.roost(&["stop", "one"])?;
    ensure!(rack.roost(&["stats", "-q"])? == "two\n", "one that stopped is listed");
    let refused = rack.run(&["stats", "one"])?;
    ensure!(refused.code == 1 && refused.stderr.contains("not_running"), "{refused:?}");
    Ok(())
}
