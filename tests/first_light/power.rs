//! A board's power is cut, as the mains would be.

use anyhow::{Context, Result, ensure};
use roost_tests::machine;
use roost_tests::rack::Rack;
use roost_tests::until;
use roost_types::{InstanceState, Node, NodeStatus};

pub fn what_is_bound_to_a_board_waits_for_its_power(rack: &Rack) -> Result<()> {
    let node = rack.api.list::<Node>("/v1/nodes")?.first().context("no node")?.name.to_string();
    rack.roost(&["launch", "busybox", "bound", "--node", &node, "--", "sleep", "31536000"])?;
    let before = rack.api.instance("bound")?;
    let old = machine::container(&before)?;
    ensure!(!old.is_empty(), "no process of the container is there");
    rack.roost(&["exec", "bound", "--", "sh", "-c", "echo kept > /etc/note && sync"])?;

    rack.roost(&["node", "power", &node, "off"])?;
    until("the board is down", || Ok((rack.api.node(&node)?.status == NodeStatus::Down).then_some(())))?;
    ensure!(old.iter().all(|process| !process.is_alive()), "processes live on a board with no power");
    let waits = rack.api.wait_for("bound", InstanceState::Pending)?;
    ensure!(waits.allocation == before.allocation, "its allocation, and with it its files, was given up: {waits:?}");
    ensure!(waits.state_reason.contains("is lost"), "no reason: {waits:?}");
    let why = rack.roost(&["why", "bound"])?;
    let line = why.lines().find(|line| line.starts_with(&node) && line.contains("status"));
    ensure!(line.is_some_and(|line| line.contains("down")), "no reason for {node}:\n{why}");

    rack.roost(&["node", "power", &node, "on"])?;
    let back = rack.api.wait_for("bound", InstanceState::Running)?;
    ensure!(back.node.as_ref().is_some_and(|on| on.as_str() == node), "it runs elsewhere: {back:?}");
    ensure!(!machine::container(&back)?.is_empty(), "running, and no process of it is there");
    ensure!(back.allocation == before.allocation, "another allocation on the same board: {back:?}");
    ensure!(rack.roost(&["exec", "bound", "--", "cat", "/etc/note"])? == "kept\n", "its files are gone");
    Ok(())
}

pub fn a_cut_board_loses_all_and_comes_back(rack: &Rack) -> Result<()> {
    rack.roost(&["launch", "busybox", "web", "--", "sleep", "31536000"])?;
    let before = rack.api.instance("web")?;
    let node = before.node.clone().context("no node")?.to_string();
    let old = machine::container(&before)?;
    ensure!(!old.is_empty(), "no process of the container is there");

    rack.roost(&["node", "power", &node, "off"])?;
    until("the board is down", || Ok((rack.api.node(&node)?.status == NodeStatus::Down).then_some(())))?;
    ensure!(old.iter().all(|process| !process.is_alive()), "processes live on a board with no power");
    let board = format!("{}{node}", rack.cgroup()?);
    ensure!(machine::in_cgroup(&board).is_empty(), "something runs on a board with no power");

    // Its power is confirmed off, so nothing of it can run: it is placed anew.
    let moved = until("it runs elsewhere", || {
        let instance = rack.api.instance("web")?;
        Ok((instance.state == InstanceState::Running && instance.node != before.node).then_some(instance))
    })?;
    ensure!(moved.allocation != before.allocation, "the same allocation on another board");
    let new = machine::container(&moved)?;

    rack.roost(&["node", "power", &node, "on"])?;
    until("the board is ready", || Ok((rack.api.node(&node)?.status == NodeStatus::Ready).then_some(())))?;
    let after = rack.api.instance("web")?;
    ensure!(after.node == moved.node && after.allocation == moved.allocation, "it moved back: {after:?}");
    ensure!(machine::container(&after)? == new, "it was disturbed when the board came back");
    ensure!(machine::of_allocation(before.allocation.context("no allocation")?).is_empty(), "it runs twice");
    // The board is as good as before.
    rack.roost(&["launch", "busybox", "again", "--node", &node, "--", "sleep", "1000"])?;
    Ok(())
}
