//! Beyond the rack: what instances reach there, and what is there does not reach.

use anyhow::{Context, Result, ensure};
use roost_tests::outside::Outside;
use roost_tests::rack::Rack;
use roost_tests::{port_to_publish, until};
use roost_types::{Instance, InstanceState};

const SERVE: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];

fn launch(rack: &Rack, name: &str, flags: &[&str]) -> Result<Instance> {
    rack.roost(&[&["launch", "busybox", name], flags, &["--"], &SERVE].concat())?;
    rack.api.wait_for(name, InstanceState::Running)
}

/// What an instance gets from a URL; none when it gets nothing.
fn fetched(rack: &Rack, name: &str, url: &str) -> Result<Option<String>> {
    let said = rack.run(&["exec", name, "--", "timeout", "5", "wget", "-q", "-O", "-", url])?;
    Ok((said.code == 0).then_some(said.stdout))
}

/// By name, so this also shows that the board's resolver is asked; the other machine knows no way to the rack, so an
/// answer shows that this machine lent its address.
pub fn an_instance_reaches_what_this_machine_reaches(rack: &Rack, outside: &Outside) -> Result<()> {
    launch(rack, "web", &[])?;
    let url = format!("http://{}/here", Outside::NAME);
    until("the machine outside answers an instance", || {
        Ok(fetched(rack, "web", &url)?.is_some_and(|text| text == "far away\n").then_some(()))
    })?;
    let controller = rack.api.url();
    let port = controller.rsplit(':').next().context("no port")?;
    let gateway = outside.gateway();
    ensure!(fetched(rack, "web", &format!("http://{gateway}:{port}/healthz"))?.is_none(), "it reaches the controller");
    Ok(())
}

pub fn nobody_outside_begins_to_speak(rack: &Rack, outside: &Outside) -> Result<()> {
    let port = port_to_publish();
    let instance = launch(rack, "web", &["--publish", &format!("{port}:80")])?;
    let board = rack.api.node(instance.node.context("no node")?.as_str())?.address.context("no address")?;
    let url = format!("http://{board}:{port}/hostname");
    until("the board's port answers this machine", || {
        Ok(rack.api.fetch(&url).is_ok_and(|answer| answer.body == "web\n").then_some(()))
    })?;
    outside.learn_the_way_to(board)?;
    let asked = outside.succeeds(&["timeout", "3", "busybox", "wget", "-q", "-O", "-", &url])?;
    ensure!(!asked, "a machine that sends packets for the rack to this one reaches the rack");
    Ok(())
}
