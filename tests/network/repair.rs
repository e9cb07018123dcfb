//! Somebody with all rights on a board changes its network.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;
use roost_tests::{figure, port_to_publish, until, within};
use roost_types::EventKind;

use super::{fetched, serve};

/// A repair may take so long.
const WITHIN: Duration = Duration::from_secs(30);

/// What is done, what of it shows that it was undone, and what the event says.
const CHANGES: [(&str, &str, &str); 6] = [
    ("nft flush ruleset", "nft list table inet roost", "the table inet roost was gone"),
    ("nft delete table bridge roost", "nft list chain bridge roost pin", "the table bridge roost was gone"),
    ("ip address flush dev roost0", "ip address show to 10.77.1.1 dev roost0 | grep inet", "roost0"),
    ("ip route del 10.77.2.0/24", "ip route show 10.77.2.0/24 | grep via", "the route to 10.77.2.0/24 was gone"),
    ("echo 0 > /proc/sys/net/ipv4/ip_forward", "grep 1 /proc/sys/net/ipv4/ip_forward", "ip_forward was 0"),
    ("ip link del roost0", "ip link show roost0", "roost0"),
];

pub fn what_is_changed_is_put_back_and_told(rack: &Rack) -> Result<()> {
    let port = port_to_publish();
    let open = serve(rack, "default", "open", "n01", &["--publish", &format!("{port}:80")])?;
    let near = serve(rack, "default", "near", "n01", &[])?;
    let far = serve(rack, "default", "far", "n02", &[])?;
    let board = rack.api.node("n01")?.address.context("n01 has no address")?;
    let works = || -> Result<Option<()>> {
        let page = rack.api.fetch(&format!("http://{board}:{port}/hostname")).is_ok_and(|page| page.body == "open\n");
        let pages = page && fetched(rack, &near, "open")?.is_some() && fetched(rack, &open, "far")?.is_some();
        Ok((pages && fetched(rack, &far, "near")?.is_some()).then_some(()))
    };
    until("everything works", works)?;
    for (change, undone, told) in CHANGES {
        let before = rack.api.newest_event()?;
        let said = rack.on_board("n01", &["sh", "-c", change])?;
        ensure!(said.code == 0, "{change}: {said:?}");
        let began = Instant::now();
        within(WITHIN, &format!("'{change}' is undone"), || {
            Ok((rack.on_board("n01", &["sh", "-c", undone])?.code == 0).then_some(()))
        })?;
        figure(&format!("'{change}' to undone"), began.elapsed());
        until(&format!("everything works after '{change}'"), works)?;
        until(&format!("'{change}' is told"), || {
            let events = rack.api.events_after(before)?;
            let is_it =
                |event: &&roost_types::Event| event.kind == EventKind::NodeRepaired && event.subject == "/v1/nodes/n01";
            Ok(events.iter().filter(is_it).any(|event| event.message.contains(told)).then_some(()))
        })?;
    }
    Ok(())
}
