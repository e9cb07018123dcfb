//! Names over the whole rack.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roost_tests::rack::Rack;
use roost_tests::{figure, until};
use roost_types::Instance;

use super::{fetched, serve};

/// What an instance's resolver finds for a name: its address; none when there is no such name.
fn looked_up(rack: &Rack, from: &str, name: &str) -> Result<Option<String>> {
    let said = rack.run(&["exec", from, "--", "nslookup", name])?;
    let text = format!("{}{}", said.stdout, said.stderr);
    // The first two lines tell of the server.
    let found = text.lines().skip(2).find_map(|line| line.strip_prefix("Address: "));
    ensure!(found.is_some() || text.contains("NXDOMAIN"), "{from} asks for {name}: {text}");
    Ok(found.map(|text| text.trim().to_owned()))
}

fn address(instance: &Instance) -> Result<String> {
    Ok(instance.address.with_context(|| format!("{} has no address", instance.name))?.to_string())
}

pub fn a_name_is_known_over_the_whole_rack(rack: &Rack) -> Result<()> {
    let a = serve(rack, "default", "a", "n01", &[])?;
    let b = serve(rack, "default", "b", "n01", &[])?;
    let c = serve(rack, "default", "c", "n02", &[])?;
    let other = serve(rack, "shop", "other", "n01", &[])?;
    for (name, instance) in [
        ("b", &b),
        ("b.default", &b),
        ("b.default.roost.internal", &b),
        ("c", &c),
        ("c.default.roost.internal", &c),
        ("a", &a),
    ] {
        let found = until(&format!("{name} is known"), || looked_up(rack, "a", name))?;
        ensure!(found == address(instance)?, "{name} is {found}");
    }
    let name = rack.run(&["exec", "a", "--", "nslookup", &address(&c)?])?;
    ensure!(name.stdout.contains("name = c.default.roost.internal"), "{name:?}");
    for name in ["other", "other.shop.roost.internal", "nobody"] {
        ensure!(looked_up(rack, "a", name)?.is_none(), "{name} is known in another project");
    }
    ensure!(looked_up(rack, "other.shop", "other")? == Some(address(&other)?));
    ensure!(fetched(rack, &a, "c")?.as_deref() == Some("c\n"), "a name leads nowhere");

    rack.roost(&["delete", "c"])?;
    until("the name of what was deleted is forgotten", || Ok(looked_up(rack, "a", "c")?.is_none().then_some(())))
}

pub fn they_come_back_with_a_new_agent(rack: &Rack) -> Result<()> {
    serve(rack, "default", "a", "n01", &[])?;
    let c = serve(rack, "default", "c", "n02", &[])?;
    until("the far name is known", || looked_up(rack, "a", "c"))?;
    let agents = rack.parts()?;
    let agent = agents.iter().find(|part| {
        let line = part.command_line();
        line.contains("agent run") && line.contains("/boards/n01/")
    });
    let agent = agent.context("no agent of n01")?;
    let began = std::time::Instant::now();
    kill(Pid::from_raw(agent.pid), Signal::SIGKILL)?;
    until("that agent is gone", || Ok((!agent.is_alive()).then_some(())))?;
    let found = until("names are answered again", || looked_up(rack, "a", "c").or(Ok(None)))?;
    figure("an agent killed to names answered again", began.elapsed());
    ensure!(found == address(&c)?);
    Ok(())
}
