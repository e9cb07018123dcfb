//! From board to board.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use roost_tests::machine::{self, Process};
use roost_tests::rack::Rack;
use roost_tests::{figure, until};
use roost_types::{InstanceState, NodeStatus};

use super::{BOARDS, board, distribution, file_on, image, launch, running};

/// Bytes that the controller sent of all images, as a monitoring system sees it.
fn sent_by_controller(rack: &Rack) -> Result<u64> {
    let text = rack.api.send(Method::GET, "/metrics", None)?.body;
    let line = text.lines().find_map(|line| line.strip_prefix("roost_image_sent_bytes_total{by=\"controller\"} "));
    line.context("no such metric")?.parse().context("the metric is no number")
}

pub fn eight_boards_need_one_download(rack: &Rack) -> Result<()> {
    let image = image(rack, "one")?;
    let before = sent_by_controller(rack)?;
    let began = Instant::now();
    let names = (1..=BOARDS).map(|number| launch(rack, "one", &board(number))).collect::<Result<Vec<_>>>()?;
    for name in &names {
        running(rack, name)?;
    }
    figure("a new image of 16 MiB on eight boards, 8 MiB/s each", began.elapsed());
    let told = until("every board has said that it has it", || {
        let told = distribution(rack, &image)?;
        let is_all = told.nodes.len() == BOARDS as usize && told.sent_by_nodes >= 6 * image.size_bytes;
        Ok(is_all.then_some(told))
    })?;
    ensure!(told.fetching.is_empty(), "still being fetched: {told:?}");
    let by_metric = sent_by_controller(rack)? - before;
    println!(
        "    the controller sent {:.2} images, the boards {:.2}",
        share(by_metric, &image),
        share(told.sent_by_nodes, &image)
    );
    ensure!(by_metric == told.sent_by_controller, "{by_metric} bytes by the metric, and {told:?}");
    ensure!(by_metric <= 2 * image.size_bytes, "the controller sent it {:.2} times", share(by_metric, &image));
    let info = rack.roost(&["image", "info", "one"])?;
    ensure!(info.contains("n01, n02, n03, n04, n05, n06, n07, n08"), "roost image info:\n{info}");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
fn share(bytes: u64, image: &roost_types::Image) -> f64 {
    bytes as f64 / image.size_bytes as f64
}

fn agent_of(rack: &Rack, board: &str) -> Result<Process> {
    let disk = rack.disk_of(board).display().to_string();
    let is_it = |process: &Process| {
        let words = process.command_line();
        words.contains("agent run") && words.contains(&format!("{disk}/"))
    };
    machine::processes().into_iter().find(is_it).with_context(|| format!("no agent of {board}"))
}

/// The power of a board that gives the image is cut while two get it, then the agent of one that gets it is killed, then
/// that of one that gives it.
pub fn boards_that_die_meanwhile_are_replaced(rack: &Rack) -> Result<()> {
    let image = image(rack, "two")?;
    let names = (1..=BOARDS).map(|number| launch(rack, "two", &board(number))).collect::<Result<Vec<_>>>()?;
    let from_a_board = |but: &str| {
        until("a board gets a part from another", || {
            let fetching = distribution(rack, &image)?.fetching;
            let part = 1..image.size_bytes;
            let found = fetching.into_iter().find_map(|fetch| {
                let source = fetch.source.filter(|source| source.as_str() != but)?;
                part.contains(&fetch.bytes).then_some((fetch.node.to_string(), source.to_string()))
            });
            Ok(found)
        })
    };
    let (_, off) = from_a_board("")?;
    rack.roost(&["node", "power", &off, "off"])?;
    let (getting, _) = from_a_board(&off)?;
    kill(Pid::from_raw(agent_of(rack, &getting)?.pid), Signal::SIGKILL)?;
    let (_, giving) = from_a_board(&off)?;
    kill(Pid::from_raw(agent_of(rack, &giving)?.pid), Signal::SIGKILL)?;
    let stranded = format!("two-{off}");
    for name in names.iter().filter(|name| **name != stranded) {
        running(rack, name)?;
    }
    let told = distribution(rack, &image)?;
    println!("    the controller sent {:.2} images", share(told.sent_by_controller, &image));
    ensure!(told.sent_by_controller <= 3 * image.size_bytes, "too often by the controller: {told:?}");

    rack.roost(&["node", "power", &off, "on"])?;
    until("the board is back", || Ok((rack.api.node(&off)?.status == NodeStatus::Ready).then_some(())))?;
    rack.api.wait_for(&stranded, InstanceState::Running)?;
    Ok(())
}

/// One bit of the file is another on the only board that has the image.
pub fn a_board_that_lies_is_not_believed(rack: &Rack) -> Result<()> {
    let image = image(rack, "three")?;
    running(rack, &launch(rack, "three", "n01")?)?;
    rack.empty()?;
    until("the board says that it has it", || Ok((distribution(rack, &image)?.nodes.len() == 1).then_some(())))?;
    let file = file_on(rack, "n01", &image);
    let file =
        fs::File::options().read(true).write(true).open(&file).with_context(|| format!("open {}", file.display()))?;
    let (at, mut byte) = (image.size_bytes / 2, [0]);
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 0x10], at)?;
    drop(file);

    running(rack, &launch(rack, "three", "n02")?)?;
    ensure!(
        rack.has_logged("what came has another digest") || rack.has_logged("an image is fetched anew"),
        "nobody noticed"
    );
    let told = distribution(rack, &image)?;
    ensure!(told.sent_by_controller == 2 * image.size_bytes, "n02 did not get it from the controller: {told:?}");
    let good = fs::read(file_on(rack, "n02", &image))?;
    ensure!(good[usize::try_from(at)?] == byte[0], "n02 has the wrong byte");
    // The file of n01 is wrong: nothing may use it later.
    fs::remove_file(file_on(rack, "n01", &image))?;
    Ok(())
}
