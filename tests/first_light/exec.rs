//! Commands in an instance whose users behave badly: who vanish, and who send what nobody reads.

use std::io::Write;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use roost_tests::machine::{self, Process};
use roost_tests::rack::Rack;
use roost_tests::until;
use roost_types::Instance;

/// Users that vanish; fault F37 has 1,000.
const USERS: usize = 100;
/// Users at once: each is a program of its own.
const AT_ONCE: usize = 20;
/// What a command does not read for so long must still be there afterwards.
const UNREAD_SECONDS: u64 = 70;
/// More than every buffer on the way holds.
const MUCH: usize = 32 << 20;
/// Descriptors that come and go by themselves: connections that are being polled, files being written.
const NOISE: usize = 12;

pub fn users_that_vanish_leave_nothing_behind(rack: &Rack) -> Result<()> {
    rack.roost(&["launch", "busybox", "box", "--size", "medium", "--", "sleep", "100000"])?;
    let instance = rack.api.instance("box")?;
    // Meanwhile: a command that reads its input only after more than a minute.
    let mut patient = reader(rack)?;

    rack.roost(&["exec", "box", "--", "true"])?;
    let before = descriptors(rack)?;
    for _ in 0..USERS / AT_ONCE {
        vanish(rack, &instance)?;
    }
    let children = "ps | grep -c 'sleep [7]777'";
    let said = rack.roost(&["exec", "box", "--", "sh", "-c", children])?;
    ensure!(said.trim() == USERS.to_string(), "{said} children that hold the streams, not {USERS}");
    let after = until("the parts hold no more than before", || {
        let after = descriptors(rack)?;
        let same = before.iter().all(|(part, was)| after.iter().any(|(p, is)| p == part && *is <= was + NOISE));
        Ok(same.then_some(after))
    });
    ensure!(after.is_ok(), "before: {before:?}\n    after: {:?}", descriptors(rack)?);

    let (status, counted) = patient.ended()?;
    ensure!(status.success() && counted.trim() == MUCH.to_string(), "the patient reader: {status}, {counted}");
    Ok(())
}

/// `AT_ONCE` users start a command that reads nothing, with a child that holds its streams, and are killed.
fn vanish(rack: &Rack, instance: &Instance) -> Result<()> {
    let script = "setsid sleep 7777 & exec sleep 8888";
    let commands = |wanted: usize| {
        move || {
            let running = machine::container(instance)?;
            let found = running.iter().filter(|process| process.command_line().starts_with("sleep 8888")).count();
            Ok((found == wanted).then_some(()))
        }
    };
    let mut users: Vec<Child> = Vec::new();
    for _ in 0..AT_ONCE {
        let mut command = rack.command();
        // A user's input that never ends fills every buffer.
        command.args(["exec", "-i", "box", "--", "sh", "-c", script]);
        command.stdin(std::fs::File::open("/dev/zero")?).stdout(Stdio::null()).stderr(Stdio::null());
        users.push(command.spawn().context("start roost")?);
    }
    let begun = until("every user's command runs", commands(AT_ONCE));
    for user in &mut users {
        user.kill()?;
        user.wait()?;
    }
    begun?;
    until("the commands of users that vanished are gone", commands(0))
}

/// The controller, the agents and the keepers with how many files each has open.
fn descriptors(rack: &Rack) -> Result<Vec<(String, usize)>> {
    let cgroup = rack.cgroup()?;
    let named = |process: &Process| {
        let line = process.command_line();
        let part = ["controller", "keeper", "agent"].into_iter().find(|part| line.contains(part))?;
        Some(format!("{part} {}", process.pid))
    };
    let ours =
        |process: &Process| process.file("cgroup").contains(&cgroup) && !process.file("cgroup").contains("/instances/");
    let mut all: Vec<Process> = rack.parts()?;
    all.extend(machine::processes().into_iter().filter(ours));
    let count = |process: &Process| std::fs::read_dir(format!("/proc/{}/fd", process.pid)).map_or(0, Iterator::count);
    let mut counted: Vec<_> = all.iter().filter_map(|process| Some((named(process)?, count(process)))).collect();
    counted.sort();
    counted.dedup();
    Ok(counted)
}

/// A user whose command reads nothing for a long time and then everything.
struct Patient {
    roost: Child,
    feeder: thread::JoinHandle<bool>,
}

fn reader(rack: &Rack) -> Result<Patient> {
    let mut command = rack.command();
    command.args(["exec", "-i", "box", "--", "sh", "-c", &format!("sleep {UNREAD_SECONDS}; wc -c")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut roost = command.spawn().context("start roost")?;
    let mut to = roost.stdin.take().context("no input")?;
    let feeder = thread::spawn(move || to.write_all(&vec![7; MUCH]).is_ok());
    Ok(Patient { roost, feeder })
}

impl Patient {
    fn ended(&mut self) -> Result<(std::process::ExitStatus, String)> {
        let limit = Duration::from_secs(2 * UNREAD_SECONDS);
        let ended = roost_tests::within(limit, "the patient reader has ended", || Ok(self.roost.try_wait()?));
        if ended.is_err() {
            self.roost.kill()?;
            self.roost.wait()?;
        }
        let mut counted = String::new();
        let mut from = self.roost.stdout.take().context("no output")?;
        std::io::Read::read_to_string(&mut from, &mut counted)?;
        ensure!(ended.is_err() || self.feeder.is_finished(), "the command has ended and its input was not taken");
        ended.map(|status| (status, counted)).map_err(|error| anyhow!("{error:#}"))
    }
}
