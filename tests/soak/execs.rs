//! Users of exec that are there no more.

use std::fs;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use roost_tests::board::Board;
use roost_tests::machine::{self, Process};
use roost_tests::{result, until};
use roost_types::InstanceState;

/// Clients at once.
const AT_ONCE: u32 = 10;

pub fn clients_that_vanish_leave_nothing(board: &Board, clients: u32) -> Result<()> {
    board.roost(&["launch", "busybox", "held", "--size", "nano", "--", "sleep", "31536000"])?;
    let instance = board.api.wait_for("held", InstanceState::Running)?;
    let allocation = instance.allocation.context("no allocation")?;
    let processes = || machine::of_allocation(allocation).len();
    let alone = processes();
    let (agent, keeper) = (board.agent()?, board.keeper()?);
    vanish(board, 1, alone, &processes)?;
    let before = (descriptors(&agent)?, descriptors(&keeper)?);
    for round in 0..clients / AT_ONCE {
        vanish(board, AT_ONCE, alone, &processes).with_context(|| format!("round {round}"))?;
    }
    let left = until("no descriptor is left", || {
        let now = (descriptors(&agent)?, descriptors(&keeper)?);
        Ok((now.0 <= before.0 && now.1 <= before.1).then_some(()))
    });
    ensure!(
        left.is_ok(),
        "descriptors of agent and keeper: {before:?} before, {:?} after",
        (descriptors(&agent)?, descriptors(&keeper)?)
    );
    result(&format!("descriptors, processes left by {clients} clients of exec that were killed"), "0");
    Ok(())
}

/// So many clients run something and are killed; what they ran goes, too.
fn vanish(board: &Board, clients: u32, alone: usize, processes: &impl Fn() -> usize) -> Result<()> {
    let start = |_| -> Result<Child> {
        let mut command = board.command();
        command.args(["exec", "held", "--", "sleep", "1000"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start roost")
    };
    let mut all = (0..clients).map(start).collect::<Result<Vec<_>>>()?;
    let running = until("all run", || Ok((processes() == alone + clients as usize).then_some(())));
    for client in &mut all {
        client.kill()?;
        client.wait()?;
    }
    running?;
    until("what they ran is gone", || Ok((processes() == alone).then_some(())))
}

fn descriptors(process: &Process) -> Result<usize> {
    let path = format!("/proc/{}/fd", process.pid);
    Ok(fs::read_dir(&path).with_context(|| format!("read {path}"))?.count())
}
