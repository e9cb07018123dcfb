//! What becomes of an instance between its launch and its end: names, snapshots, first boots, stops, restarts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use roost_tests::rack::Rack;
use roost_tests::{machine, repeated, until};
use roost_types::{Instance, InstanceState, Snapshot, SnapshotState};
use serde_json::json;

/// A public key that nobody has the other half of.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ1aWx0IGZvciB0aGUgdGVzdHMgb2YgYSByb29zdCEhISEh ann@home";

fn sleeper(rack: &Rack, name: &str) -> Result<Instance> {
    rack.roost(&["launch", "busybox", name, "--", "sleep", "31536000"])?;
    rack.api.wait_for(name, InstanceState::Running)
}

fn inside(rack: &Rack, name: &str, script: &str) -> Result<String> {
    rack.roost(&["exec", name, "--", "sh", "-c", script])
}

fn snapshots(rack: &Rack, name: &str) -> Result<Vec<Snapshot>> {
    rack.api.list(&format!("/v1/instances/{name}/snapshots"))
}

pub fn a_new_name_counts_everywhere_and_inside_with_the_next_start(rack: &Rack) -> Result<()> {
    let before = sleeper(rack, "old")?;
    sleeper(rack, "taken")?;
    let patch = |name: &str| {
        let body = json!({ "name": name }).to_string();
        rack.api.send(Method::PATCH, &format!("/v1/instances/{}", before.id), Some(body))
    };
    ensure!(patch("taken")?.status == 409 && patch("No Good")?.status == 400, "a bad name was taken");
    rack.roost(&["rename", "old", "new"])?;
    let after = rack.api.instance("new")?;
    ensure!(after.id == before.id && after.allocation == before.allocation, "another instance: {after:?}");
    ensure!(after.state == InstanceState::Running, "a new name disturbed it: {after:?}");
    ensure!(rack.api.send(Method::GET, "/v1/instances/old", None)?.status == 404, "the old name still counts");
    ensure!(inside(rack, "new", "hostname")? == "old\n", "the host name changed while it ran");
    rack.roost(&["restart", "new"])?;
    ensure!(inside(rack, "new", "hostname; cat /etc/hostname")? == "new\nnew\n", "the host name did not follow");
    Ok(())
}

/// Everything that the copy of a layer could lose.
const MAKE: &str =
    "mkdir -p /root/d && echo then > /root/d/note && chown 7:8 /root/d/note && chmod 4640 /root/d/note &&
    ln /root/d/note /root/d/again && ln -s /nowhere /root/d/link && mkfifo /root/d/fifo && rm /bin/vi &&
    rm -r /etc/init.d && mkdir /etc/init.d && echo mine > /etc/init.d/mine &&
    dd if=/dev/zero of=/root/d/holes bs=1 count=1 seek=64M 2>/dev/null";
/// And what it looks like.
const SHOW: &str = "cd /root/d && cat note && stat -c '%u:%g %a %h' note && readlink link && stat -c %F fifo &&
    ls /etc/init.d && stat -c %s holes && [ $(stat -c %b holes) -lt 1000 ] && [ ! -e /bin/vi ] && echo whole";
const SHOWN: &str = "then\n7:8 4640 2\n/nowhere\nfifo\nmine\n67108865\nwhole\n";

pub fn a_snapshot_is_restored_as_it_was(rack: &Rack) -> Result<()> {
    let web = sleeper(rack, "web")?;
    inside(rack, "web", MAKE)?;
    ensure!(rack.roost(&["snapshot", "create", "web"])? == "s1\n", "it has another name");
    ensure!(rack.api.instance("web")?.started_at == web.started_at, "it was not only paused");
    ensure!(inside(rack, "web", SHOW)? == SHOWN, "the snapshot changed its instance");
    inside(rack, "web", "echo now > /root/d/note; rm /root/d/holes; touch /root/new; rm -r /etc/init.d")?;
    rack.roost(&["snapshot", "restore", "web", "s1"])?;
    ensure!(rack.api.instance("web")?.state == InstanceState::Running, "it does not run when the verb returns");
    let shown = inside(rack, "web", SHOW)?;
    ensure!(shown == SHOWN, "after the restore: {shown}");
    ensure!(rack.run(&["exec", "web", "--", "test", "-e", "/root/new"])?.code == 1, "a later file is still there");

    // A stopped one stays stopped, and what was written since the first restore counts.
    inside(rack, "web", "echo later > /root/d/note")?;
    rack.roost(&["snapshot", "create", "web", "later"])?;
    rack.roost(&["stop", "web"])?;
    rack.roost(&["snapshot", "restore", "web", "later"])?;
    ensure!(rack.api.instance("web")?.state == InstanceState::Stopped, "it was started");
    rack.roost(&["start", "web"])?;
    ensure!(inside(rack, "web", "cat /root/d/note")? == "later\n", "another snapshot was restored");
    let listed = rack.roost(&["snapshot", "list", "web"])?;
    ensure!(listed.contains("s1") && listed.contains("later") && listed.contains("ready"), "{listed}");
    rack.roost(&["snapshot", "delete", "web", "s1"])?;
    ensure!(snapshots(rack, "web")?.len() == 1, "a deleted snapshot is listed");
    ensure!(rack.run(&["snapshot", "restore", "web", "s1"])?.code == 1, "a deleted snapshot was restored");
    Ok(())
}

pub fn a_launch_from_a_snapshot_has_its_files_on_any_board(rack: &Rack) -> Result<()> {
    let web = sleeper(rack, "web")?;
    let home = web.node.clone().context("no node")?.to_string();
    inside(rack, "web", MAKE)?;
    rack.roost(&["snapshot", "create", "web", "base"])?;
    inside(rack, "web", "echo now > /root/d/note")?;
    rack.roost(&["launch", "--from", "web/base", "near", "--node", &home])?;
    rack.roost(&["node", "cordon", &home])?;
    rack.roost(&["launch", "--from", "web/base", "far"])?;
    rack.roost(&["node", "uncordon", &home])?;
    for (name, at_home) in [("near", true), ("far", false)] {
        let copy = rack.api.instance(name)?;
        ensure!(copy.node.as_ref().is_some_and(|node| (node.as_str() == home) == at_home), "{name}: {:?}", copy.node);
        ensure!(copy.size == web.size && copy.command == web.command && copy.image == web.image, "{copy:?}");
        ensure!(inside(rack, name, "hostname")? == format!("{name}\n"), "it has the name of the other");
        // Holes do not survive the way over the network; everything else does.
        let shown = inside(rack, name, &SHOW.replace("[ $(stat -c %b holes) -lt 1000 ]", "true"))?;
        ensure!(shown == SHOWN, "{name}: {shown}");
    }
    // They are instances of their own.
    rack.roost(&["delete", "web"])?;
    ensure!(inside(rack, "near", "cat /root/d/note")? == "then\n", "it went with the other");
    Ok(())
}

pub fn snapshots_go_where_their_instance_goes(rack: &Rack) -> Result<()> {
    let web = sleeper(rack, "web")?;
    inside(rack, "web", "echo then > /root/note")?;
    rack.roost(&["snapshot", "create", "web"])?;
    inside(rack, "web", "echo now > /root/note")?;
    rack.roost(&["move", "web"])?;
    ensure!(rack.api.instance("web")?.node != web.node, "it did not move");
    ensure!(inside(rack, "web", "cat /root/note")? == "now\n", "its files did not come along");
    rack.roost(&["snapshot", "restore", "web", "s1"])?;
    ensure!(inside(rack, "web", "cat /root/note")? == "then\n", "its snapshot did not come along");
    Ok(())
}

/// The agent of a board.
fn agent(rack: &Rack, node: &str) -> Result<machine::Process> {
    let (run, state) = ("agent run", format!("/boards/{node}/"));
    let mut parts = rack.parts()?.into_iter();
    let found = parts.find(|part| part.command_line().contains(run) && part.command_line().contains(&state));
    found.with_context(|| format!("{node} has no agent"))
}

pub fn an_agent_killed_while_it_copies_leaves_no_half_snapshot(rack: &Rack) -> Result<()> {
    let web = sleeper(rack, "web")?;
    let (node, allocation) = (web.node.context("no node")?, web.allocation.context("no allocation")?);
    inside(rack, "web", "i=0; while [ $i -lt 100 ]; do head -c 3000000 /dev/urandom > /root/$i; i=$((i+1)); done")?;
    let frozen = || {
        let said = machine::cgroup_value(allocation, &["cgroup.events", "freezer.state"])?;
        Ok((said.contains("frozen 1") || said == "FROZEN").then_some(()))
    };
    for _ in 0..repeated(1, 20) {
        rack.roost(&["snapshot", "create", "web", "big", "--no-wait"])?;
        until("it is paused", frozen)?;
        kill(Pid::from_raw(agent(rack, node.as_str())?.pid), Signal::SIGKILL)?;
        // Its successor may pause it anew; nothing stays paused because somebody died.
        until("it goes on", || Ok(frozen()?.is_none().then_some(())))?;
        // The next agent makes it: whole, or not at all.
        let made = until("the snapshot is whole", || {
            let all = snapshots(rack, "web")?;
            Ok(all.into_iter().find(|snapshot| snapshot.state == SnapshotState::Ready))
        })?;
        ensure!(made.size_bytes.is_some_and(|size| size.0 >= 300_000_000), "it is not whole: {made:?}");
        rack.roost(&["snapshot", "restore", "web", "big"])?;
        ensure!(inside(rack, "web", "cat /root/* | wc -c")? == "300000000\n", "it lost files");
        rack.roost(&["snapshot", "delete", "web", "big"])?;
    }
    Ok(())
}

pub fn a_first_boot_is_given_keys_and_a_script_once(rack: &Rack) -> Result<()> {
    let secret = format!("hunter{}", std::process::id());
    let directory = std::env::temp_dir().join(format!("roost-test-first-boot-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let (data, key) = (directory.join("user-data"), directory.join("key.pub"));
    std::fs::write(&data, format!("#!/bin/sh\necho {secret} $(hostname) >> /root/ran\n"))?;
    std::fs::write(&key, format!("{KEY}\n"))?;
    let files = (data.to_string_lossy().into_owned(), key.to_string_lossy().into_owned());
    let words = ["launch", "busybox", "box", "--user-data", &files.0, "--ssh-key", &files.1];
    rack.roost(&words)?;
    std::fs::remove_dir_all(&directory)?;
    let ran = || Ok(inside(rack, "box", "cat /root/ran 2>/dev/null || true").ok().filter(|text| !text.is_empty()));
    let said = until("the script has run", ran)?;
    ensure!(said == format!("{secret} box\n"), "the script said {said}");
    let keys =
        inside(rack, "box", "cat /root/.ssh/authorized_keys; stat -c %a:%u /root/.ssh /root/.ssh/authorized_keys")?;
    ensure!(keys == format!("{KEY}\n700:0\n600:0\n"), "keys: {keys}");
    inside(rack, "box", "echo more >> /root/.ssh/authorized_keys")?;
    rack.roost(&["restart", "box"])?;
    rack.roost(&["move", "box"])?;
    let after = inside(rack, "box", "sleep 1; wc -l < /root/ran; wc -l < /root/.ssh/authorized_keys")?;
    ensure!(after == "1\n2\n", "it was done again after a restart or a move: {after}");

    // Who may see it is who was given it.
    for path in ["/v1/instances", "/v1/instances/box", "/v1/events?limit=1000", "/v1/operations?limit=1000"] {
        let answer = rack.api.send(Method::GET, path, None)?;
        ensure!(!answer.body.contains(&secret), "{path} shows user data");
    }
    ensure!(!rack.has_logged(&secret), "a log has user data");
    let refused = json!({"name": "x", "image": "busybox", "command": ["sleep", "9"], "user_data": "#!/bin/sh"});
    let answer = rack.api.send(Method::POST, "/v1/instances", Some(refused.to_string()))?;
    ensure!(answer.status == 400 && answer.json()?["field"] == "user_data", "{answer:?}");
    let long = json!({"image": "busybox", "user_data": "#".repeat(65_537)});
    let answer = rack.api.send(Method::POST, "/v1/instances", Some(long.to_string()))?;
    ensure!(answer.status == 400 && answer.json()?["field"] == "user_data", "{answer:?}");
    Ok(())
}

pub fn a_stop_takes_as_long_as_it_may(rack: &Rack) -> Result<()> {
    let stubborn = ["launch", "busybox", "stubborn", "--", "sh", "-c", "trap '' TERM; while true; do sleep 1; done"];
    rack.roost(&stubborn)?;
    let began = Instant::now();
    rack.roost(&["stop", "-t", "1", "stubborn"])?;
    let took = began.elapsed();
    ensure!(took >= Duration::from_secs(1) && took < Duration::from_secs(9), "a stop within 1 s took {took:?}");
    rack.roost(&["start", "stubborn"])?;
    rack.roost(&["stop", "-t", "600", "--no-wait", "stubborn"])?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(rack.api.instance("stubborn")?.state == InstanceState::Stopping, "it was killed early");
    rack.roost(&["stop", "-t", "0", "stubborn"])?;
    ensure!(rack.api.instance("stubborn")?.state == InstanceState::Stopped, "a shorter stop was not heard");
    let answer =
        rack.api.send(Method::POST, "/v1/instances/stubborn/stop", Some(r#"{"timeout_seconds":3601}"#.into()))?;
    ensure!(answer.status == 400 && answer.json()?["field"] == "timeout_seconds", "{answer:?}");
    Ok(())
}

pub fn what_fails_is_started_again_after_growing_pauses(rack: &Rack) -> Result<()> {
    let words = ["launch", "busybox", "fails", "--no-wait", "--restart", "always", "--", "sh", "-c", "exit 3"];
    rack.roost(&words)?;
    let mut pauses = Vec::new();
    until("it has been started again three times", || {
        let instance = rack.api.instance("fails")?;
        let pause = instance.state_reason.strip_prefix("exited with code 3, starts again after ");
        if let Some(pause) = pause.filter(|pause| pauses.last().is_none_or(|last| last != pause)) {
            pauses.push(pause.to_owned());
        }
        Ok((instance.restarts >= 3).then_some(()))
    })?;
    ensure!(pauses.starts_with(&["1 s".to_owned(), "2 s".to_owned(), "4 s".to_owned()]), "pauses: {pauses:?}");
    // A restart that a user asks for forgives what was.
    let answer = rack.api.send(Method::POST, "/v1/instances/fails/restart", None)?;
    ensure!(answer.status == 202, "{answer:?}");
    until("the pause is short again", || {
        Ok(rack.api.instance("fails")?.state_reason.ends_with("after 1 s").then_some(()))
    })?;
    Ok(())
}
