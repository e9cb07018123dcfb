//! What grows while instances come and go.

use std::fs;

use anyhow::{Result, ensure};
use roost_tests::board::Board;
use roost_tests::machine::Process;
use roost_tests::{result, until};
use roost_types::Instance;
use serde_json::json;

/// The first part of the cycles fills caches, and is not counted: one of so many.
const WARM_UP: u32 = 4;
/// The most that the memory of a process may grow, in KiB: allocators keep some of what was freed.
const MOST_GROWTH_KIB: f64 = 8192.0;

/// One look.
#[derive(Clone, Copy)]
struct Sample {
    agent: Held,
    keeper: Held,
    groups: usize,
    dying: u64,
}

/// What a process holds.
#[derive(Clone, Copy)]
struct Held {
    descriptors: usize,
    kib: u64,
}

pub fn cycles_without_a_kill_grow_nothing(board: &Board, cycles: u32) -> Result<()> {
    let mut samples = Vec::new();
    for cycle in 0..cycles {
        let name = format!("grow-{cycle}");
        let body = json!({"name": name, "image": "busybox", "size": "nano", "publish": ["8081:80"],
            "command": ["sh", "-c", "echo here; exec sleep 31536000"]});
        let answer = board.api.post_and_wait("/v1/instances", &body, 30)?;
        ensure!((200..300).contains(&answer.status), "{answer:?}");
        board.roost(&["exec", &name, "--", "true"])?;
        board.api.delete(&format!("/v1/instances/{name}"))?;
        until("it is gone", || Ok(board.api.list::<Instance>("/v1/instances")?.is_empty().then_some(())))?;
        if cycle >= cycles / WARM_UP {
            board.ensure_clean()?;
            samples.push(look(board)?);
        }
    }
    judge(&samples, cycles)
}

fn look(board: &Board) -> Result<Sample> {
    let (agent, keeper) = (held(&board.agent()?)?, held(&board.keeper()?)?);
    Ok(Sample { agent, keeper, groups: board.groups_below()?, dying: board.dying_groups() })
}

fn held(process: &Process) -> Result<Held> {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", process.pid))?.count();
    let status = process.file("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default();
    Ok(Held { descriptors, kib })
}

fn judge(samples: &[Sample], cycles: u32) -> Result<()> {
    let counted = samples.len() as f64;
    for (what, most, value) in [
        ("descriptors of the agent", 0.5, samples.iter().map(|s| s.agent.descriptors as f64).collect::<Vec<_>>()),
        ("descriptors of the keeper", 0.5, samples.iter().map(|s| s.keeper.descriptors as f64).collect()),
        ("memory of the agent in KiB", MOST_GROWTH_KIB, samples.iter().map(|s| s.agent.kib as f64).collect()),
        ("memory of the keeper in KiB", MOST_GROWTH_KIB, samples.iter().map(|s| s.keeper.kib as f64).collect()),
        ("cgroups of the board", 0.5, samples.iter().map(|s| s.groups as f64).collect()),
        ("dying cgroups (version 2)", 8.0, samples.iter().map(|s| s.dying as f64).collect()),
    ] {
        let slope = slope(&value);
        let last = value.last().copied().unwrap_or_default();
        result(
            &format!("growth of {what} over {cycles} cycles of create, exec, delete"),
            &format!("{:.2} per 1000 cycles (last {last})", slope * 1000.0),
        );
        ensure!(slope * counted < most, "{what} grow: {value:?}");
    }
    Ok(())
}

/// By least squares, per sample.
fn slope(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
    let by = |n: usize| n as f64 - middle;
    let (mut above, mut below) = (0.0, 0.0);
    for (n, value) in values.iter().enumerate() {
        above += by(n) * (value - mean);
        below += by(n) * by(n);
    }
    if below == 0.0 { 0.0 } else { above / below }
}
