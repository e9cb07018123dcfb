//! Fifty containers under agents that are killed and replaced by another build, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roost_tests::board::{Board, Build};
use roost_tests::machine::{self, Process};
use roost_tests::{result, until};
use roost_types::{Instance, InstanceState};
use serde_json::json;

/// Containers.
const ALL: usize = 50;
/// Of those, how many write numbered lines all the time.
const WRITERS: usize = 20;
/// The most containers that end while there is no agent, one with every change of the agent.
const ENDING: usize = 20;

pub fn containers_outlive_agents_of_two_builds(board: &mut Board, changes: u32) -> Result<()> {
    let this = Build::this();
    let (other, builds) = match Build::previous() {
        Some(previous) => (previous, "this one and an earlier one"),
        None => (this.clone(), "this one twice"),
    };
    launch_all(board)?;
    let before = facts(board)?;
    let mut adoptions = Vec::new();
    for change in 0..changes {
        board.kill_agent()?;
        let (ended, code) = (format!("ends-{change}"), 10 + i32::try_from(change)?);
        if usize::try_from(change)? < ENDING {
            end(&before[&ended].1)?;
        }
        let build = if change % 2 == 0 { &other } else { &this };
        adoptions.push(adopt(board, build)?);
        if usize::try_from(change)? < ENDING {
            let instance = board.api.wait_for(&ended, InstanceState::Failed)?;
            let seen = instance.exit_status.map(|status| status.code);
            ensure!(seen == Some(code), "{ended} ended with {code}, not {seen:?}");
        }
        ensure_undisturbed(board, &before, change)?;
        if change % 4 >= 2 {
            // The keeper of one build adopts what that of the other wrote.
            kill(Pid::from_raw(board.keeper()?.pid), Signal::SIGKILL)?;
            ensure_undisturbed(board, &before, change)?;
        }
    }
    let lines = written(board)?;
    adoptions.sort();
    result("builds of the agent", builds);
    result("changes of the agent under 50 containers by kill -9 and start of the other build", &changes.to_string());
    result("restarts of containers", "0");
    result("log lines lost or doubled", &format!("0 of {lines}"));
    result(
        "wrong exit codes of containers that ended while there was no agent",
        &format!("0 of {}", ENDING.min(changes as usize)),
    );
    let [best, .., worst] = adoptions[..] else { return Ok(()) };
    result("start of an agent to all containers adopted", &format!("{} to {} ms", best.as_millis(), worst.as_millis()));
    Ok(())
}

fn launch_all(board: &Board) -> Result<()> {
    for n in 0..ALL {
        let (name, command) = if n < WRITERS {
            (format!("writes-{n}"), "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.3; done".to_owned())
        } else if n < WRITERS + ENDING {
            let n = n - WRITERS;
            (format!("ends-{n}"), format!("trap 'exit {}' USR1; while :; do sleep 0.5; done", n + 10))
        } else {
            (format!("sleeps-{n}"), "exec sleep 31536000".to_owned())
        };
        let restart = if name.starts_with("ends") { "never" } else { "always" };
        let body = json!({"name": name, "image": "busybox", "size": "nano", "restart": restart,
            "command": ["sh", "-c", command]});
        board.api.post("/v1/instances", &body)?;
    }
    until("all run", || {
        let instances: Vec<Instance> = board.api.list("/v1/instances")?;
        let running = instances.iter().filter(|instance| instance.state == InstanceState::Running).count();
        Ok((running == ALL).then_some(()))
    })
}

/// Each instance, and the processes of its container that do not come and go.
type Facts = BTreeMap<String, (Instance, BTreeSet<Process>)>;

fn facts(board: &Board) -> Result<Facts> {
    let mut facts = Facts::new();
    let instances: Vec<Instance> = board.api.list("/v1/instances")?;
    let all = machine::in_cgroup("/instances/");
    for instance in instances {
        let id = format!("/{}", instance.allocation.context("no allocation")?);
        let own = all.iter().filter(|process| process.file("cgroup").contains(&id)).cloned().collect();
        facts.insert(instance.name.to_string(), (instance, own));
    }
    // Longer than any of them sleeps.
    std::thread::sleep(Duration::from_secs(1));
    facts.values_mut().for_each(|(_, own)| own.retain(Process::is_alive));
    ensure!(facts.values().all(|(_, own)| own.len() >= 2), "a container has no init or no command");
    Ok(facts)
}

/// Has a container end by itself.
fn end(processes: &BTreeSet<Process>) -> Result<()> {
    let shell = processes.iter().find(|process| process.command_line().starts_with("sh -c"));
    let shell = shell.context("it has no shell")?;
    kill(Pid::from_raw(shell.pid), Signal::SIGUSR1)?;
    until("the container has ended", || Ok((!shell.is_alive()).then_some(())))
}

/// Starts an agent; how long it took until it had adopted everything.
fn adopt(board: &mut Board, build: &Build) -> Result<Duration> {
    let written = fs::metadata(board.agent_log())?.len();
    let began = Instant::now();
    board.start_agent(build)?;
    let said = until("the agent has adopted", || {
        let text = fs::read(board.agent_log())?;
        let text = String::from_utf8_lossy(&text[usize::try_from(written)?..]).into_owned();
        Ok(text.contains("found on this node").then_some(text))
    })?;
    let took = began.elapsed();
    ensure!(said.contains(&format!("containers={ALL} ")), "it found others: {said}");
    Ok(took)
}

/// Nothing that runs was started again, and all of it is governed.
fn ensure_undisturbed(board: &Board, before: &Facts, change: u32) -> Result<()> {
    let probe = format!("sleeps-{}", ALL - 1);
    until("what was adopted is governed", || {
        let exec = board.roost(&["exec", &probe, "--", "hostname"]);
        Ok(exec.is_ok_and(|said| said.trim() == probe).then_some(()))
    })?;
    let instances: Vec<Instance> = board.api.list("/v1/instances")?;
    ensure!(instances.len() == ALL, "{} instances", instances.len());
    for new in instances {
        let (old, processes) = &before[new.name.as_str()];
        let number = new.name.as_str().strip_prefix("ends-").and_then(|number| number.parse::<u32>().ok());
        if number.is_some_and(|number| number <= change) {
            continue;
        }
        let name = &new.name;
        ensure!(new.state == InstanceState::Running, "{name} is {}: {}", new.state, new.state_reason);
        ensure!((new.restarts, new.started_at) == (old.restarts, old.started_at), "{name} was started again");
        ensure!(processes.iter().all(Process::is_alive), "{name} has other processes");
    }
    Ok(())
}

/// Every line of the writers is there once, and in order; how many there are.
fn written(board: &Board) -> Result<usize> {
    let mut lines = 0;
    for n in 0..WRITERS {
        let name = format!("writes-{n}");
        let text = board.roost(&["logs", &name])?;
        let expected: String = (0..text.lines().count()).map(|line| format!("line {line}\n")).collect();
        ensure!(text == expected, "{name} lost or doubled a line: {text}");
        ensure!(!text.is_empty(), "{name} wrote nothing");
        lines += text.lines().count();
    }
    Ok(lines)
}
