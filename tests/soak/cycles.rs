//! Instances are created, stopped, started and deleted over and over, and in each cycle the agent or the keeper is killed
//! at one of the system calls that it makes meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use roost_tests::board::{Board, Build};
use roost_tests::machine::{Process, network_namespaces};
use roost_tests::{result, until};
use roost_types::InstanceState;
use serde_json::json;

use crate::blade::{Blade, Recorder};
use crate::random::Random;

/// What is done to the instance in a cycle, in this order.
const STEPS: [Step; 4] = [Step::Create, Step::Stop, Step::Start, Step::Delete];
/// Of so many kills one is the keeper's.
const KEEPERS_SHARE: u64 = 3;
/// Of so many instances one has its image's own init, with a console.
const SYSTEMS_SHARE: u64 = 4;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    Create,
    Stop,
    Start,
    Delete,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Victim {
    Agent,
    Keeper,
}

/// An instance to be.
struct Subject {
    name: String,
    system: bool,
}

impl Subject {
    fn new(cycle: u32, system: bool) -> Self {
        Self { name: format!("soak-{cycle}"), system }
    }

    /// Asks for a step.
    fn ask(&self, board: &Board, step: Step) -> Result<()> {
        let path = format!("/v1/instances/{}", self.name);
        match step {
            Step::Create => {
                let mut body = json!({"name": self.name, "image": "busybox", "size": "nano", "publish": ["8080:80"]});
                if !self.system {
                    body["command"] = json!(["sleep", "31536000"]);
                }
                board.api.post("/v1/instances", &body)?;
            }
            Step::Stop => drop(board.api.post(&format!("{path}/stop"), &json!({}))?),
            Step::Start => drop(board.api.post(&format!("{path}/start"), &json!({}))?),
            Step::Delete => board.api.delete(&path)?,
        }
        Ok(())
    }

    /// Whether what was asked for is so.
    fn is_done(&self, board: &Board, step: Step) -> Result<bool> {
        let state = match board.api.instance(&self.name) {
            Ok(instance) => Some(instance.state),
            Err(_) => None,
        };
        Ok(match step {
            Step::Create | Step::Start => state == Some(InstanceState::Running),
            Step::Stop => state == Some(InstanceState::Stopped),
            Step::Delete => state.is_none(),
        })
    }
}

/// The system calls of each step, by whom.
type Sequences = BTreeMap<(Victim, Step), Vec<String>>;

/// What came of all cycles.
#[derive(Default)]
struct Outcome {
    /// Kills at a system call, and kills after the step since the call did not come.
    kills: BTreeMap<(Victim, bool), u32>,
    /// Different places that were hit.
    places: BTreeSet<(Victim, Step, usize)>,
    repairs: Vec<Duration>,
}

pub fn kills_at_any_step_leave_nothing(board: &mut Board, cycles: u32, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let before = settled_firewall(board)?;
    let sequences = record(board)?;
    let namespaces = network_namespaces();
    let mut outcome = Outcome::default();
    for cycle in 0..cycles {
        let subject = Subject::new(cycle, random.below(SYSTEMS_SHARE) == 0);
        let victim = if random.below(KEEPERS_SHARE) == 0 { Victim::Keeper } else { Victim::Agent };
        let step = STEPS[usize::try_from(random.below(4))?];
        let sequence = &sequences[&(victim, step)];
        let place = usize::try_from(random.below(sequence.len() as u64))?;
        let what = format!(
            "cycle {cycle} of seed {seed}: {victim:?} killed at call {place} ({}) of {step:?}",
            sequence[place]
        );
        run_cycle(board, &subject, (victim, step, place), sequence, &mut outcome).context(what.clone())?;
        board.ensure_clean().context(what.clone())?;
        ensure!(settled_firewall(board)? == before, "{what}: the firewall is another than before");
        if cycle % 50 == 49 {
            println!("    {} cycles", cycle + 1);
        }
    }
    outcome.tell(cycles, seed, &sequences);
    ensure_no_namespace_stays(namespaces, cycles)
}

/// Others make and end namespaces meanwhile, so a few more are no leak.
fn ensure_no_namespace_stays(before: Option<u64>, cycles: u32) -> Result<()> {
    let (Some(before), Some(after)) = (before, network_namespaces()) else { return Ok(()) };
    result("network namespaces of the whole machine before and after", &format!("{before} and {after}"));
    ensure!(after < before + 40 + u64::from(cycles) / 20, "{after} network namespaces, {before} before");
    Ok(())
}

/// What is looked for after each cycle is found while there is an instance.
pub fn what_an_instance_has_is_seen(board: &Board) -> Result<()> {
    let subject = Subject::new(u32::MAX, false);
    subject.ask(board, Step::Create)?;
    until("it runs", || Ok(subject.is_done(board, Step::Create)?.then_some(())))?;
    let found = board.leftovers()?.join("\n");
    for kind in ["cgroup ", "process ", "link ", "/agent/instances/", "/run/containers/"] {
        ensure!(found.contains(kind), "no {kind} among {found}");
    }
    ensure!(board.firewall()?.contains("8080"), "its port is not in the firewall");
    subject.ask(board, Step::Delete)?;
    board.ensure_clean()
}

/// The address that the next instance gets tells whether every earlier one was given back.
pub fn addresses_are_given_back(board: &Board) -> Result<()> {
    let subject = Subject::new(u32::MAX, false);
    let mut addresses = BTreeSet::new();
    for _ in 0..2 {
        subject.ask(board, Step::Create)?;
        until("it runs", || Ok(subject.is_done(board, Step::Create)?.then_some(())))?;
        addresses.insert(board.api.instance(&subject.name)?.address);
        subject.ask(board, Step::Delete)?;
        until("it is gone", || Ok(subject.is_done(board, Step::Delete)?.then_some(())))?;
    }
    let last = addresses.iter().flatten().map(|address| address.octets()[3]).max().context("no address")?;
    ensure!(last < 8, "addresses were not given back: {addresses:?}");
    Ok(())
}

/// The firewall once it stands still.
fn settled_firewall(board: &Board) -> Result<String> {
    let mut last = String::new();
    until("the firewall stands still", || {
        let now = board.firewall()?;
        let still = now == last && !now.contains("8080");
        last.clone_from(&now);
        Ok(still.then_some(now))
    })
}

/// One undisturbed cycle for each victim, watched.
fn record(board: &mut Board) -> Result<Sequences> {
    let mut sequences = Sequences::new();
    for victim in [Victim::Agent, Victim::Keeper] {
        // The first start mounts the image and more: it is not like the others.
        for watched in [false, true] {
            let subject = Subject::new(u32::MAX, false);
            for step in STEPS {
                let process = find(board, victim)?;
                let recorder = watched
                    .then(|| {
                        Recorder::attach(
                            &process,
                            &std::env::temp_dir().join(format!("soak-calls-{}", std::process::id())),
                        )
                    })
                    .transpose()?;
                subject.ask(board, step)?;
                until("the step is done", || Ok(subject.is_done(board, step)?.then_some(())))?;
                if let Some(recorder) = recorder {
                    let calls = recorder.finish()?;
                    ensure!(!calls.is_empty(), "{victim:?} makes no system call in {step:?}");
                    sequences.insert((victim, step), calls);
                }
            }
        }
    }
    Ok(sequences)
}

fn find(board: &Board, victim: Victim) -> Result<Process> {
    match victim {
        Victim::Agent => board.agent(),
        Victim::Keeper => board.keeper(),
    }
}

fn run_cycle(
    board: &mut Board,
    subject: &Subject,
    (victim, fatal, place): (Victim, Step, usize),
    sequence: &[String],
    outcome: &mut Outcome,
) -> Result<()> {
    for step in STEPS {
        if step != fatal {
            subject.ask(board, step)?;
            until(&format!("{step:?} is done"), || Ok(subject.is_done(board, step)?.then_some(())))?;
            continue;
        }
        let process = find(board, victim)?;
        let blade = Blade::set(&process, sequence, place)?;
        subject.ask(board, step)?;
        // Once more than the step takes: a call that did not come by then is not made this time.
        let end = Instant::now() + Duration::from_secs(2);
        until("the blade falls or the step is done", || {
            Ok((blade.has_fallen() || subject.is_done(board, step)? || Instant::now() > end).then_some(()))
        })?;
        let fell = blade.has_fallen();
        blade.take_away()?;
        let died = Instant::now();
        match victim {
            Victim::Agent => {
                if !board.agent_has_died()? {
                    board.kill_agent()?;
                }
                board.start_agent(&Build::this())?;
            }
            // Its agent starts another.
            Victim::Keeper if process.is_alive() => {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), nix::sys::signal::SIGKILL)?;
            }
            Victim::Keeper => {}
        }
        *outcome.kills.entry((victim, fell)).or_default() += 1;
        if fell {
            outcome.places.insert((victim, step, place));
        }
        until(&format!("{step:?} is done after all"), || Ok(subject.is_done(board, step)?.then_some(())))?;
        outcome.repairs.push(died.elapsed());
    }
    Ok(())
}

impl Outcome {
    fn tell(&self, cycles: u32, seed: u64, sequences: &Sequences) {
        let count = |victim, fell| self.kills.get(&(victim, fell)).copied().unwrap_or_default();
        let calls: usize = sequences.values().map(Vec::len).sum();
        let mut repairs = self.repairs.clone();
        repairs.sort();
        let at = |percent: usize| repairs.get((repairs.len() * percent / 100).min(repairs.len().saturating_sub(1)));
        let ms = |percent| at(percent).map_or(0, Duration::as_millis);
        result("create, stop, start, delete, with a kill in each", &format!("{cycles} cycles, seed {seed}"));
        result(
            "kills of the agent",
            &format!(
                "{} at a system call, {} right after the step",
                count(Victim::Agent, true),
                count(Victim::Agent, false)
            ),
        );
        result(
            "kills of the keeper",
            &format!(
                "{} at a system call, {} right after the step",
                count(Victim::Keeper, true),
                count(Victim::Keeper, false)
            ),
        );
        result("different places that were hit", &format!("{} of the {calls} calls of a cycle", self.places.len()));
        result(
            "left of cgroups, links, mounts, loop devices, directories, zombies, firewall rules, after each cycle",
            "0",
        );
        result(
            "from the kill to the step being done",
            &format!("p50 {} ms, p95 {} ms, worst {} ms", ms(50), ms(95), ms(100)),
        );
    }
}
