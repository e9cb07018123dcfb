//! What a container is to the kernel.

use std::fs;

use anyhow::{Context, Result, ensure};
use roost_tests::machine::{self, NAMESPACES, Process};
use roost_tests::rack::Rack;
use roost_tests::until;
use roost_types::{Instance, InstanceState};

/// Users of one container: as many as a user namespace of its own has room for.
const USERS: u64 = 65_536;

/// What root inside a container must not be able to do.
const FORBIDDEN: [&str; 5] = [
    "mknod /tmp/disk b 7 0",
    "echo x > /proc/sys/kernel/core_pattern",
    "echo b > /proc/sysrq-trigger",
    "mount -o remount,rw /sys",
    "insmod /etc/passwd",
];

/// A nano that sleeps.
fn sleeper(rack: &Rack, name: &str) -> Result<(Instance, Process)> {
    rack.roost(&["launch", "busybox", name, "--size", "nano", "--", "sleep", "31536000"])?;
    let instance = rack.api.wait_for(name, InstanceState::Running)?;
    let process = machine::container(&instance)?.into_iter().find(|p| p.command_line().starts_with("sleep 31536000"));
    Ok((instance, process.context("no process of the container is its command")?))
}

pub fn every_namespace_is_its_own(rack: &Rack) -> Result<()> {
    let (_, a) = sleeper(rack, "a")?;
    let (_, b) = sleeper(rack, "b")?;
    let host = Process::find(i32::try_from(std::process::id())?).context("no process of the test")?;
    for kind in NAMESPACES {
        let (of_a, of_b, of_host) = (a.namespace(kind)?, b.namespace(kind)?, host.namespace(kind)?);
        ensure!(of_a != of_b && of_a != of_host && of_b != of_host, "the {kind} namespace is shared");
    }
    // What they look like from inside: no other process, no other host's name, no other interface.
    let processes = rack.roost(&["exec", "a", "--", "ps"])?;
    ensure!(!processes.contains("agent") && processes.lines().count() < 8, "processes of others:\n{processes}");
    ensure!(rack.roost(&["exec", "a", "--", "hostname"])? == "a\n");
    let links = rack.roost(&["exec", "a", "--", "ls", "/sys/class/net"])?;
    ensure!(links.split_whitespace().count() == 2, "interfaces: {links}");
    Ok(())
}

pub fn users_are_private_to_it(rack: &Rack) -> Result<()> {
    let (_, a) = sleeper(rack, "a")?;
    let (_, b) = sleeper(rack, "b")?;
    let base = |process: &Process| -> Result<u64> {
        let map = process.file("uid_map");
        let numbers: Vec<u64> = map.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        ensure!(numbers.len() == 3 && numbers[0] == 0 && numbers[2] == USERS, "uid map: {map}");
        Ok(numbers[1])
    };
    let (of_a, of_b) = (base(&a)?, base(&b)?);
    ensure!(of_a >= USERS && of_b >= USERS, "users of the host are mapped: {of_a}, {of_b}");
    ensure!(of_a.abs_diff(of_b) >= USERS, "the ranges overlap: {of_a}, {of_b}");
    let status = a.file("status");
    let real = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
    ensure!(real == Some(of_a), "root inside is {real:?} outside, not {of_a}");
    ensure!(rack.roost(&["exec", "a", "--", "id", "-u"])? == "0\n");
    let somebody =
        ["exec", "-u", "4711:4712", "-w", "/etc", "a", "--", "sh", "-c", "echo $(id -u):$(id -g) $(pwd) $HOME"];
    ensure!(rack.roost(&somebody)? == "4711:4712 /etc /\n");
    // Root inside may not do what only the host may.
    for forbidden in FORBIDDEN {
        ensure!(rack.run(&["exec", "a", "--", "sh", "-c", forbidden])?.code != 0, "inside may: {forbidden}");
    }
    Ok(())
}

pub fn memory_ends_where_the_size_says(rack: &Rack) -> Result<()> {
    let (instance, process) = sleeper(rack, "a")?;
    let allocation = instance.allocation.context("no allocation")?;
    let limit = machine::cgroup_value(allocation, &["memory.limit_in_bytes", "memory.max"])?;
    ensure!(limit == instance.memory_bytes.0.to_string(), "limit {limit}, size {}", instance.memory_bytes.0);
    let said = rack.run(&["exec", "a", "--", "awk", "BEGIN { s = \"x\"; while (1) s = s s }"])?;
    ensure!(said.code == 137, "a process that takes all memory ended with {said:?}");
    ensure!(process.is_alive(), "the container's own process was killed for what another one took");
    until("the killing is an event", || {
        let told = rack.roost(&["event"])?;
        Ok(told.contains("the kernel killed a process of instance a for want of memory").then_some(()))
    })?;
    Ok(())
}

pub fn what_it_has_changes_while_it_runs(rack: &Rack) -> Result<()> {
    let (instance, process) = sleeper(rack, "a")?;
    let allocation = instance.allocation.context("no allocation")?;
    let limit = || machine::cgroup_value(allocation, &["memory.limit_in_bytes", "memory.max"]);
    let said = rack.roost(&["resize", "a", "--size", "micro"])?;
    ensure!(said.contains("micro: 500 millicores"), "{said}");
    until("the larger size is in force", || Ok((limit()? == (128 << 20).to_string()).then_some(())))?;
    rack.roost(&["resize", "a", "--memory", "48M"])?;
    until("the smaller one is in force", || Ok((limit()? == (48 << 20).to_string()).then_some(())))?;
    let shown: Instance = rack.api.get("/v1/instances/a")?;
    ensure!((shown.size, shown.cpu_millis, shown.memory_bytes.0) == (None, 500, 48 << 20), "{shown:?}");
    ensure!(process.is_alive() && shown.restarts == 0, "it was started again");
    rack.roost(&["resize", "a", "--cpu-weight", "300"])?;
    let weight = || machine::cgroup_value(allocation, &["cpu.shares", "cpu.weight"]);
    until("the weight is in force", || Ok(["3072", "300"].contains(&weight()?.as_str()).then_some(())))?;
    let refused = rack.run(&["resize", "a", "--memory", "4000G"])?;
    ensure!(refused.code == 1 && refused.stderr.contains("memory"), "{refused:?}");
    Ok(())
}

pub fn processes_end_where_the_size_says(rack: &Rack) -> Result<()> {
    let (instance, process) = sleeper(rack, "a")?;
    let limit = machine::cgroup_value(instance.allocation.context("no allocation")?, &["pids.max"])?;
    ensure!(limit == "256", "limit of processes: {limit}");
    let flood = "i=0; while [ $i -lt 400 ]; do sleep 60 & i=$((i+1)); done; echo all 400 started";
    let said = rack.run(&["exec", "a", "--", "sh", "-c", flood])?;
    ensure!(!said.stdout.contains("all 400") && said.stderr.contains("fork"), "400 processes in a nano: {said:?}");
    ensure!(machine::container(&instance)?.len() <= 256, "more processes than the limit");
    ensure!(process.is_alive(), "the container's own process died of it");
    Ok(())
}

pub fn the_image_is_shared_and_never_written(rack: &Rack) -> Result<()> {
    let (a_instance, a) = sleeper(rack, "a")?;
    let node = a_instance.node.context("no node")?;
    let words = ["launch", "busybox", "b", "--node", node.as_str(), "--", "sleep", "31536000"];
    rack.roost(&words)?;
    rack.roost(&["exec", "a", "--", "sh", "-c", "echo mine > /etc/only-a; rm /bin/vi || true"])?;
    let said = rack.run(&["exec", "b", "--", "sh", "-c", "test ! -e /etc/only-a && test -e /bin/busybox"])?;
    ensure!(said.code == 0, "what one writes another sees: {said:?}");
    let root = a.file("mountinfo");
    let root = root.lines().find(|line| line.contains(" / / ")).context("no root mount")?;
    ensure!(root.contains(" - overlay "), "the root is not an overlay: {root}");
    // Both lower layers are one mount of one file: a board has one loop device for it.
    let backing = loops_of(node.as_str());
    ensure!(backing.len() == 1, "loop devices of {node}: {backing:?}");
    Ok(())
}

/// Image files of a board that are loop devices.
fn loops_of(node: &str) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let files = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    let mine = format!("roost-test-first-light-{}/rack/boards/{node}/", std::process::id());
    files.filter(|file| file.contains(&mine)).collect()
}
