//! A user's day, by the command line and the API.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use roost_tests::machine;
use roost_tests::rack::Rack;
use roost_tests::{figure, port_to_publish as port, until};
use roost_types::{Instance, InstanceState, Operation, OperationStatus};
use serde_json::json;

fn url() -> String {
    format!("http://127.0.0.1:{}", port())
}

fn launch_web(rack: &Rack) -> Result<Instance> {
    let publish = format!("{}:80", port());
    let words = ["launch", "busybox", "web", "--size", "nano", "--publish", &publish, "--"];
    rack.roost(&[&words[..], &["httpd", "-f", "-p", "80", "-h", "/etc"]].concat())?;
    rack.api.wait_for("web", InstanceState::Running)
}

/// The page at the published port, once it is there.
fn page(rack: &Rack, path: &str) -> Result<String> {
    until("the published port answers", || {
        let answer = rack.api.fetch(&format!("{}{path}", url())).ok();
        Ok(answer.filter(|answer| answer.status == 200).map(|answer| answer.body))
    })
}

pub fn launched_web_answers_from_inside(rack: &Rack) -> Result<()> {
    let began = Instant::now();
    let web = launch_web(rack)?;
    figure("roost launch to running, first of its image on the board", began.elapsed());
    ensure!(web.node.is_some() && web.address.is_some(), "no node or address: {web:?}");
    rack.roost(&["exec", "web", "--", "sh", "-c", "echo from-inside-$(hostname) > /etc/roost-says"])?;
    let said = page(rack, "/roost-says")?;
    ensure!(said == "from-inside-web\n", "the published port answered {said:?}");
    ensure!(page(rack, "/hostname")? == "web\n", "its /etc/hostname is not its name");
    Ok(())
}

pub fn every_verb_shows_it(rack: &Rack) -> Result<()> {
    let web = launch_web(rack)?;
    let node = web.node.context("no node")?.to_string();
    let address = web.address.context("no address")?.to_string();
    let ports = format!("{}:80", port());
    let shows = |words: &[&str], parts: &[&str]| -> Result<()> {
        let text = rack.roost(words)?;
        for part in parts {
            ensure!(text.contains(part), "roost {} does not show {part}:\n{text}", words.join(" "));
        }
        Ok(())
    };
    shows(&["list"], &["web", "running", &node, &address, &ports])?;
    shows(&["info", "web"], &["web", "running", &node, &address, &ports, "nano", "httpd -f -p 80"])?;
    shows(&["exec", "web", "--", "hostname"], &["web"])?;
    shows(&["why", "web"], &[&node, "nodes looked at", "THERMAL"])?;
    shows(&["rack"], &[&node, "shelf-1", "shelf-3", "°C", "1 inst"])?;
    shows(&["node", "list"], &[&node, "ready"])?;
    shows(&["image", "list"], &["busybox"])?;
    shows(&["hub", "list"], &["hub0", "yes"])?;
    shows(&["event"], &["instance-created", "instance-placed", "instance-started"])?;
    shows(&["operation", "list"], &["succeeded"])?;
    rack.roost(&["logs", "web"])?;
    let listed: Vec<Instance> = serde_json::from_str(&rack.roost(&["list", "-o", "json"])?)?;
    ensure!(listed.len() == 1 && listed[0].id == web.id, "list -o json: {listed:?}");
    Ok(())
}

pub fn launching_is_a_receipt_that_settles(rack: &Rack) -> Result<()> {
    // Once, so that the image is on a board; the figure is of the second.
    rack.api.post("/v1/instances", &json!({"name": "first", "image": "busybox", "command": ["sleep", "1000"]}))?;
    let first = rack.api.wait_for("first", InstanceState::Running)?;
    let node = first.node.context("no node")?;
    let began = Instant::now();
    let body =
        json!({"name": "second", "image": "busybox", "command": ["sleep", "1000"], "constraints": {"node": node}});
    let answer = rack.api.post("/v1/instances", &body)?;
    ensure!(answer.status == 202 && answer.location.starts_with("/v1/operations/"), "{answer:?}");
    let operation = until("the operation is over", || {
        let operation: Operation = rack.api.get(&answer.location)?;
        Ok(operation.status.is_final().then_some(operation))
    })?;
    figure("POST to running, image on the board, polled every 20 ms", began.elapsed());
    ensure!(operation.status == OperationStatus::Succeeded, "{operation:?}");
    ensure!(rack.api.instance("second")?.state == InstanceState::Running, "succeeded before it ran");
    Ok(())
}

pub fn a_wish_to_wait_is_heard(rack: &Rack) -> Result<()> {
    let body = json!({"name": "soon", "image": "busybox", "command": ["sleep", "1000"]});
    let answer = rack.api.post_and_wait("/v1/instances", &body, 30)?;
    let soon: Instance = serde_json::from_str(&answer.body).with_context(|| answer.body.clone())?;
    ensure!(answer.status == 201 && soon.state == InstanceState::Running, "{answer:?}");
    ensure!(answer.location == format!("/v1/instances/{}", soon.id), "{answer:?}");

    // What does not settle in time is a receipt, and it settles later.
    let node = soon.node.context("no node")?.to_string();
    rack.roost(&["node", "cordon", &node])?;
    let body = json!({"name": "late", "image": "busybox", "command": ["sleep", "1000"], "constraints": {"node": node}});
    let answer = rack.api.post_and_wait("/v1/instances", &body, 1)?;
    ensure!(answer.status == 202 && answer.location.starts_with("/v1/operations/"), "{answer:?}");
    ensure!(!rack.api.get::<Operation>(&answer.location)?.status.is_final(), "over, and nothing can run it");
    rack.roost(&["node", "uncordon", &node])?;
    rack.api.wait_for("late", InstanceState::Running)?;
    let operation = until("the operation is over", || {
        let operation: Operation = rack.api.get(&answer.location)?;
        Ok(operation.status.is_final().then_some(operation))
    })?;
    ensure!(operation.status == OperationStatus::Succeeded, "{operation:?}");
    Ok(())
}

pub fn exec_takes_standard_input(rack: &Rack) -> Result<()> {
    rack.roost(&["launch", "busybox", "reads", "--", "sleep", "1000"])?;
    let piped =
        |words: &[&str], input: &[u8]| rack.fed(&[&["exec", "-i", "reads", "--"], words].concat(), input.to_vec());
    ensure!(piped(&["sh", "-c", "cat; echo end"], b"one\ntwo\n")? == b"one\ntwo\nend\n", "lines changed on their way");
    let bytes: Vec<u8> = (0..=255).collect();
    ensure!(piped(&["cat"], &bytes)? == bytes, "bytes that are no text changed on their way");
    ensure!(piped(&["wc", "-c"], &vec![7; 3 << 20])? == b"3145728\n", "3 MiB did not arrive whole");
    // More than all buffers on the way hold, in both directions: output must flow while input cannot.
    let long = vec![7; 128 << 20];
    ensure!(piped(&["cat"], &long)? == long, "an echo of 128 MiB changed on its way");
    let late = piped(&["sh", "-c", "head -c 134217728 /dev/zero; wc -c"], &long)?;
    ensure!(late.len() == (128 << 20) + 10 && late.ends_with(b"\x00134217728\n"), "{} bytes came", late.len());
    // Without -i a command sees the end at once and waits for nobody.
    ensure!(rack.roost(&["exec", "reads", "--", "wc", "-c"])? == "0\n", "input that nobody sent");
    Ok(())
}

pub fn it_stops_starts_and_goes(rack: &Rack) -> Result<()> {
    let web = launch_web(rack)?;
    rack.roost(&["exec", "web", "--", "sh", "-c", "echo kept > /etc/note"])?;
    rack.roost(&["stop", "web"])?;
    ensure!(rack.api.instance("web")?.state == InstanceState::Stopped, "not stopped when the verb returned");
    ensure!(machine::container(&web)?.is_empty(), "stopped, and processes of it still run");
    let refused = rack.run(&["exec", "web", "--", "true"])?;
    ensure!(refused.code != 0, "exec in a stopped instance succeeded");
    rack.roost(&["start", "web"])?;
    ensure!(rack.api.instance("web")?.state == InstanceState::Running, "not running when the verb returned");
    ensure!(page(rack, "/note")? == "kept\n", "its files did not outlive the stop");
    rack.roost(&["delete", "web"])?;
    ensure!(rack.api.list::<Instance>("/v1/instances")?.is_empty(), "deleted, and still listed");
    until("the published port is closed", || Ok(rack.api.fetch(&url()).is_err().then_some(())))?;
    ensure!(rack.run(&["info", "web"])?.code == 1, "info of a deleted instance succeeded");
    Ok(())
}

pub fn exit_codes_and_logs_are_kept(rack: &Rack) -> Result<()> {
    rack.roost(&["launch", "busybox", "keep", "--", "sleep", "1000"])?;
    let said = rack.run(&["exec", "keep", "--", "sh", "-c", "echo out; echo err >&2; exit 7"])?;
    ensure!((said.code, said.stdout.as_str(), said.stderr.as_str()) == (7, "out\n", "err\n"), "{said:?}");
    ensure!(rack.run(&["exec", "keep", "--", "no-such-command"])?.code == 127, "a missing command is not 127");

    let words = ["launch", "busybox", "once", "--no-wait", "--restart", "never", "--"];
    rack.roost(&[&words[..], &["sh", "-c", "echo line one; echo line two >&2; exit 3"]].concat())?;
    let once = rack.api.wait_for("once", InstanceState::Failed)?;
    ensure!(once.exit_status.is_some_and(|status| status.code == 3), "{:?}", once.exit_status);
    let logs = rack.roost(&["logs", "once"])?;
    ensure!(logs.contains("line one\n") && logs.contains("line two\n"), "logs: {logs:?}");
    ensure!(rack.roost(&["logs", "--tail", "1", "once"])?.lines().count() == 1, "--tail 1 is not one line");
    Ok(())
}

pub fn a_move_takes_its_files(rack: &Rack) -> Result<()> {
    let before = launch_web(rack)?;
    let old = machine::container(&before)?;
    rack.roost(&["exec", "web", "--", "sh", "-c", "mkdir /etc/deep && echo moved > /etc/deep/note && rm /bin/vi"])?;
    rack.roost(&["exec", "web", "--", "sh", "-c", "chown 7:8 /etc/deep/note && chmod 640 /etc/deep/note"])?;
    rack.roost(&["move", "web"])?;
    let after = rack.api.wait_for("web", InstanceState::Running)?;
    ensure!(after.id == before.id && after.node != before.node, "it did not move: {after:?}");
    ensure!(old.iter().all(|process| !process.is_alive()), "it runs on both boards");
    let seen = rack.roost(&["exec", "web", "--", "stat", "-c", "%u:%g %a", "/etc/deep/note"])?;
    ensure!(seen == "7:8 640\n", "owner and mode after the move: {seen}");
    ensure!(rack.run(&["exec", "web", "--", "test", "-e", "/bin/vi"])?.code == 1, "a deleted file came back");
    rack.roost(&["exec", "web", "--", "chmod", "644", "/etc/deep/note"])?;
    ensure!(page(rack, "/deep/note")? == "moved\n", "the published port did not follow it");
    Ok(())
}

pub fn a_drained_board_is_emptied(rack: &Rack) -> Result<()> {
    let node = launch_web(rack)?.node.context("no node")?.to_string();
    let words = ["launch", "busybox", "pinned", "--no-wait", "--node", &node, "--", "sleep", "1000"];
    rack.roost(&["launch", "busybox", "other", "--", "sleep", "1000"])?;
    rack.roost(&["node", "drain", &node])?;
    let drained = rack.api.node(&node)?;
    ensure!(drained.instances == 0, "drained, and it has {} instances", drained.instances);
    for name in ["web", "other"] {
        let instance = rack.api.wait_for(name, InstanceState::Running)?;
        ensure!(instance.node.is_some_and(|on| on.as_str() != node), "{name} is on a drained board");
    }
    rack.roost(&words)?;
    rack.api.wait_for("pinned", InstanceState::Pending)?;
    ensure!(rack.roost(&["why", "pinned"])?.contains("eligibility"), "no reason");
    rack.roost(&["node", "uncordon", &node])?;
    rack.api.wait_for("pinned", InstanceState::Running).map(drop)
}
