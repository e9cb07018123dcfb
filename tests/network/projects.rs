//! Who reaches whom.

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;
use roost_tests::{port_to_publish, until};
use roost_types::Instance;

use super::{fetched, serve};

fn address(instance: &Instance) -> Result<String> {
    Ok(instance.address.with_context(|| format!("{} has no address", instance.name))?.to_string())
}

pub fn only_ones_own_is_reached(rack: &Rack) -> Result<()> {
    let near = serve(rack, "blog", "near", "n01", &[])?;
    let far = serve(rack, "blog", "far", "n02", &[])?;
    let mine = [serve(rack, "shop", "web", "n01", &[])?, serve(rack, "shop", "db", "n02", &[])?];
    let friends = [
        (&mine[0], address(&mine[1])?),
        (&mine[1], address(&mine[0])?),
        (&near, address(&far)?),
        (&far, address(&near)?),
    ];
    for (from, to) in &friends {
        until(&format!("{} reaches its own at {to}", from.name), || fetched(rack, from, to))?;
    }
    for (from, to) in [(&mine[0], &near), (&mine[0], &far), (&mine[1], &near), (&near, &mine[0]), (&far, &mine[0])] {
        ensure!(fetched(rack, from, &address(to)?)?.is_none(), "{} reaches {} of another project", from.name, to.name);
    }
    // Not by way of the gateway either.
    let routed = ["ip", "route", "add", &address(&near)?, "via", "10.77.1.1"];
    let said = rack.in_netns_of(&mine[0], &routed)?;
    ensure!(said.code == 0, "{said:?}");
    ensure!(fetched(rack, &mine[0], &address(&near)?)?.is_none(), "the gateway leads to another project");
    Ok(())
}

pub fn anothers_published_port_is_reached(rack: &Rack) -> Result<()> {
    let port = port_to_publish();
    let open = serve(rack, "blog", "open", "n01", &["--publish", &format!("{port}:80")])?;
    let board = rack.api.node("n01")?.address.context("n01 has no address")?;
    for on in ["n01", "n02"] {
        let from = serve(rack, "shop", &format!("from-{on}"), on, &[])?;
        let page = until(&format!("an instance on {on} gets the published page"), || {
            fetched(rack, &from, &format!("{board}:{port}"))
        })?;
        ensure!(page == "open\n", "{page}");
        ensure!(fetched(rack, &from, &address(&open)?)?.is_none(), "its own address is reached from {on}");
    }
    Ok(())
}
