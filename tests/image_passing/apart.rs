//! Who reaches the port where boards give images, and who does not.

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;
use roost_types::image_transfer::PEER_PORT;

use super::{launch, running};

/// What `wget` says of the port: whether anybody answered.
fn answers(said: &str) -> bool {
    said.contains("403 Forbidden") || said.contains("404 Not Found")
}

pub fn an_instance_reaches_the_port_of_no_board(rack: &Rack) -> Result<()> {
    let name = launch(rack, "busybox", "n01")?;
    running(rack, &name)?;
    let url = |board: &str| -> Result<String> {
        let address = rack.api.node(board)?.address.context("a board without an address")?;
        Ok(format!("http://{address}:{PEER_PORT}/image/sha256:{}", "0".repeat(64)))
    };
    let (own, other) = (url("n01")?, url("n02")?);
    let wget = ["timeout", "3", "wget", "-q", "-O", "-"];
    let near = rack.on_board("n01", &[&["/bin/busybox"][..], &wget, &[&other]].concat())?;
    ensure!(answers(&near.stderr), "a board does not reach another: {near:?}");
    for url in [&own, &other] {
        let inside = rack.run(&[&["exec", &name, "--"][..], &wget, &[url]].concat())?;
        let said = format!("{}{}", inside.stdout, inside.stderr);
        ensure!(inside.code != 0 && !answers(&said), "an instance reaches {url}: {inside:?}");
    }
    // This machine is on the rack's LAN and is no board.
    let outside = std::process::Command::new("/bin/busybox").args(wget).arg(&other).output()?;
    let said = String::from_utf8_lossy(&outside.stderr);
    ensure!(!outside.status.success() && !answers(&said), "somebody who is no board reaches {other}: {said}");

    let refused =
        rack.run(&["launch", "busybox", "thief", "--publish", &format!("{PEER_PORT}:80"), "--", "sleep", "1"])?;
    ensure!(refused.code != 0 && refused.stderr.contains("fetch images"), "the port can be published: {refused:?}");
    Ok(())
}
