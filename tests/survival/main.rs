//! Survival: what the rack's programs being killed, stopped and started again does to what users were promised.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roost_tests::machine::{self, Process};
use roost_tests::rack::Rack;
use roost_tests::suite::{self, World};
use roost_tests::{port_to_publish, repeated, until};
use roost_types::{Instance, InstanceState};
use serde_json::json;

/// Boards of the rack.
const BOARDS: u32 = 3;
/// Thermal states dwell so many times shorter than on a real rack.
const TIME_SCALE: u32 = 20;

struct Survivor {
    rack: Rack,
}

impl World for Survivor {
    fn start() -> Result<Self> {
        Ok(Self { rack: Rack::start("survival", BOARDS, TIME_SCALE)? })
    }

    fn tidy(&mut self) -> Result<()> {
        if !self.rack.is_running() {
            self.rack.start_again()?;
        }
        self.rack.empty()
    }

    fn stop(self) -> Result<()> {
        self.rack.stop()
    }

    fn tell(&self) -> String {
        self.rack.said()
    }
}

fn main() -> ExitCode {
    suite::run::<Survivor>(&[
        ("containers_outlive_everything_else", |w| containers_outlive_everything_else(&mut w.rack)),
        ("a_published_port_answers_after_a_kill", |w| a_published_port_answers_after_a_kill(&mut w.rack)),
        ("what_was_acknowledged_is_found_after_a_kill", |w| what_was_acknowledged_is_found_after_a_kill(&mut w.rack)),
        ("a_killed_part_comes_back_by_itself", |w| a_killed_part_comes_back_by_itself(&w.rack)),
        ("an_exit_while_nobody_looked_is_known", |w| an_exit_while_nobody_looked_is_known(&mut w.rack)),
        ("a_stop_leaves_nothing_and_a_start_brings_all_back", |w| a_stop_leaves_nothing(&mut w.rack)),
        ("two_racks_do_not_meet", |w| two_racks_do_not_meet(&w.rack)),
    ])
}

fn launch(rack: &Rack, name: &str) -> Result<Instance> {
    rack.roost(&["launch", "busybox", name, "--", "sleep", "31536000"])?;
    rack.api.wait_for(name, InstanceState::Running)
}

fn containers_outlive_everything_else(rack: &mut Rack) -> Result<()> {
    let mut before: Vec<(Instance, BTreeSet<Process>)> = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let instance = launch(rack, name)?;
        rack.roost(&["exec", name, "--", "sh", "-c", &format!("echo {name} > /tmp/mark")])?;
        let processes = machine::container(&instance)?;
        ensure!(!processes.is_empty(), "no process of {name} is there");
        before.push((instance, processes));
    }
    rack.kill_all_but_containers()?;
    ensure!(rack.has_way_out()?, "a killed rack's containers have lost their way out");
    for (instance, processes) in &before {
        ensure!(processes.iter().all(Process::is_alive), "{} died with its agent", instance.name);
    }
    rack.start_again()?;
    for (old, processes) in &before {
        let name = old.name.as_str();
        let new = rack.api.wait_for(name, InstanceState::Running)?;
        ensure!((new.id, new.allocation) == (old.id, old.allocation), "{name} is another: {new:?}");
        ensure!((new.restarts, new.started_at) == (old.restarts, old.started_at), "{name} was started again");
        ensure!(machine::container(&new)? == *processes, "{name} has other processes");
        ensure!(rack.roost(&["exec", name, "--", "cat", "/tmp/mark"])? == format!("{name}\n"), "exec in {name}");
    }
    // What was adopted is still governed.
    rack.roost(&["stop", "a"])?;
    ensure!(before[0].1.iter().all(|process| !process.is_alive()), "an adopted container does not stop");
    Ok(())
}

fn a_published_port_answers_after_a_kill(rack: &mut Rack) -> Result<()> {
    let port = port_to_publish();
    let publish = format!("{port}:80");
    let words = ["launch", "busybox", "web", "--publish", &publish, "--", "httpd", "-f", "-p", "80", "-h", "/etc"];
    rack.roost(&words)?;
    let before = rack.api.wait_for("web", InstanceState::Running)?;
    let processes = machine::container(&before)?;
    let answers = |rack: &Rack| {
        until("the published port answers", || {
            let answer = rack.api.fetch(&format!("http://127.0.0.1:{port}/hostname")).ok();
            Ok(answer.is_some_and(|answer| answer.status == 200 && answer.body == "web\n").then_some(()))
        })
    };
    answers(rack)?;
    for _ in 0..repeated(1, 20) {
        rack.kill_all_but_containers()?;
        rack.start_again()?;
        answers(rack)?;
        let after = rack.api.wait_for("web", InstanceState::Running)?;
        ensure!((after.allocation, after.restarts) == (before.allocation, before.restarts), "it was started again");
        ensure!(machine::container(&after)? == processes, "it has other processes");
    }
    Ok(())
}

fn what_was_acknowledged_is_found_after_a_kill(rack: &mut Rack) -> Result<()> {
    let mut acknowledged = Vec::new();
    for kill in 0..repeated(3, 50) {
        for n in 0..5 {
            let name = format!("k{kill}-{n}");
            let body = json!({"name": name, "image": "busybox", "cpu_millis": 50, "memory_bytes": 8 << 20,
                "command": ["sleep", "31536000"]});
            let answer = rack.api.post("/v1/instances", &body)?;
            ensure!(answer.status == 202, "{answer:?}");
            acknowledged.push(name);
        }
        rack.kill_all_but_containers()?;
        rack.start_again()?;
        let instances: Vec<Instance> = rack.api.list("/v1/instances")?;
        for name in &acknowledged {
            ensure!(instances.iter().any(|i| i.name.as_str() == name), "{name} was acknowledged and is lost");
        }
        ensure!(
            instances.len() == acknowledged.len(),
            "{} instances, {} asked for",
            instances.len(),
            acknowledged.len()
        );
        // The soak asks for more than three boards hold at once.
        if acknowledged.len() >= 15 {
            for name in acknowledged.drain(..) {
                rack.api.wait_for(&name, InstanceState::Running)?;
            }
            rack.empty()?;
        }
    }
    Ok(())
}

fn a_killed_part_comes_back_by_itself(rack: &Rack) -> Result<()> {
    let before = launch(rack, "web")?;
    let processes = machine::container(&before)?;
    let parts: Vec<Process> = rack.parts()?;
    let ours = |words: [&str; 2]| -> Result<&Process> {
        let found = parts.iter().find(|part| words.iter().all(|word| part.command_line().contains(word)));
        found.with_context(|| format!("no part is {words:?}"))
    };
    let node = before.node.as_ref().context("no node")?;
    let board = format!("/boards/{node}/");
    for victim in [ours(["agent run", &board])?, ours(["controller run", "--state"])?] {
        kill(Pid::from_raw(victim.pid), Signal::SIGKILL)?;
        until("the part that was killed is gone", || Ok((!victim.is_alive()).then_some(())))?;
        until("another took its place and governs", || {
            // Refused or not heard meanwhile: only that it comes back counts.
            let said = rack.run(&["exec", "web", "--", "hostname"])?;
            Ok((said.stdout == "web\n").then_some(()))
        })?;
        let after = rack.api.instance("web")?;
        ensure!(machine::container(&after)? == processes && after.restarts == before.restarts, "it was disturbed");
    }
    Ok(())
}

fn an_exit_while_nobody_looked_is_known(rack: &mut Rack) -> Result<()> {
    let script = "trap 'exit 42' USR1; while true; do sleep 0.1; done";
    rack.roost(&["launch", "busybox", "brief", "--restart", "never", "--", "sh", "-c", script])?;
    let brief = rack.api.wait_for("brief", InstanceState::Running)?;
    let shell = machine::container(&brief)?.into_iter().find(|process| process.command_line().starts_with("sh -c"));
    let process = shell.context("no shell in the container")?;
    rack.kill_all_but_containers()?;
    kill(Pid::from_raw(process.pid), Signal::SIGUSR1)?;
    until("the container has ended", || Ok((!process.is_alive()).then_some(())))?;
    rack.start_again()?;
    let brief = rack.api.wait_for("brief", InstanceState::Failed)?;
    ensure!(brief.exit_status.is_some_and(|status| status.code == 42), "{:?}", brief.exit_status);
    Ok(())
}

fn a_stop_leaves_nothing(rack: &mut Rack) -> Result<()> {
    let before = launch(rack, "web")?;
    rack.roost(&["exec", "web", "--", "sh", "-c", "echo kept > /etc/note"])?;
    rack.interrupt()?;
    rack.start_again()?;
    let after = rack.api.wait_for("web", InstanceState::Running)?;
    ensure!(after.id == before.id, "another instance: {after:?}");
    // Its board had its power cut, so it may have been placed anew; on the same board it has its files.
    if after.allocation == before.allocation {
        ensure!(rack.roost(&["exec", "web", "--", "cat", "/etc/note"])? == "kept\n", "its files are gone");
    }
    Ok(())
}

fn two_racks_do_not_meet(rack: &Rack) -> Result<()> {
    let mine = launch(rack, "same")?;
    let processes = machine::container(&mine)?;
    let mut other = Rack::start_flagged("survival-other", 1, TIME_SCALE, &["--no-nat"])?;
    ensure!(rack.has_way_out()? && !other.has_way_out()?, "one rack has a way out, the other was told to have none");
    let theirs = launch(&other, "same")?;
    ensure!(machine::container(&theirs)?.is_disjoint(&processes), "one container in two racks");
    ensure!(rack.cgroup()? != other.cgroup()?, "two racks in one place");
    ensure!(rack.api.list::<Instance>("/v1/instances")?.len() == 1, "one rack sees the other's instance");
    other.interrupt()?;
    other.stop()?;
    ensure!(rack.has_way_out()?, "the end of one rack closed the other's way out");
    ensure!(machine::container(&rack.api.instance("same")?)? == processes, "the end of one rack disturbed the other");
    ensure!(rack.roost(&["exec", "same", "--", "hostname"])? == "same\n");
    Ok(())
}
