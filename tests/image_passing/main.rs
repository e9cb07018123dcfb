//! Images on their way through a rack of eight boards: the controller sends each about once, boards pass it on.

mod apart;
mod passing;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;
use roost_tests::suite::{self, World};
use roost_types::image_transfer::ImageDistribution;
use roost_types::{Image, Instance, InstanceState};
use serde_json::json;

const BOARDS: u32 = 8;
const TIME_SCALE: u32 = 20;
/// MiB per second that a board gives to others: an image of 16 takes two of them four seconds.
const RATE: (&str, &str) = ("ROOST_AGENT_PEER_RATE", "8");
/// Size of what makes an image of these tests large.
const NOISE: usize = 16 << 20;

struct Images(Rack);

impl World for Images {
    fn start() -> Result<Self> {
        Ok(Self(Rack::start_with("images", BOARDS, TIME_SCALE, &[RATE])?))
    }

    fn tidy(&mut self) -> Result<()> {
        self.0.empty()
    }

    fn stop(self) -> Result<()> {
        self.0.stop()
    }

    fn tell(&self) -> String {
        self.0.said()
    }
}

/// A new image of this name: busybox, and noise that no other image has.
fn image(rack: &Rack, name: &str) -> Result<Image> {
    let dir = rack.scratch(name)?;
    let root = dir.join("root");
    fs::create_dir_all(root.join("bin"))?;
    fs::copy("/bin/busybox", root.join("bin/busybox")).context("copy busybox")?;
    for applet in ["sh", "sleep", "wget", "timeout", "cat"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(root.join("noise"), noise(name))?;
    let archive = dir.join("image.tar");
    let tar =
        Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status().context("start tar")?;
    ensure!(tar.success(), "tar: {tar}");
    let path = archive.to_str().context("the path is no text")?;
    rack.roost(&["image", "import", path, name, "--arch", native()?])?;
    fs::remove_dir_all(&dir)?;
    rack.api.get(&format!("/v1/images/{name}"))
}

fn native() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        "arm" => Ok("armhf"),
        other => anyhow::bail!("no images are made for {other}"),
    }
}

/// Bytes that follow from a name and do not get smaller when they are compressed (xorshift64).
fn noise(name: &str) -> Vec<u8> {
    let seed =
        name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(NOISE);
    while bytes.len() < NOISE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn board(number: u32) -> String {
    format!("n{number:02}")
}

/// Launches an instance of the image on a board and does not wait for it; its name is the image's and the board's.
fn launch(rack: &Rack, image: &str, board: &str) -> Result<String> {
    let name = format!("{image}-{board}");
    let body = json!({"name": name, "image": image, "size": "nano", "command": ["sleep", "31536000"],
        "constraints": {"node": board}});
    rack.api.post("/v1/instances", &body)?;
    Ok(name)
}

fn running(rack: &Rack, name: &str) -> Result<Instance> {
    rack.api.wait_for(name, InstanceState::Running)
}

fn distribution(rack: &Rack, image: &Image) -> Result<ImageDistribution> {
    rack.api.get(&format!("/v1/images/{}/distribution", image.digest))
}

/// The file of an image on a board's disk.
fn file_on(rack: &Rack, board: &str, image: &Image) -> std::path::PathBuf {
    rack.disk_of(board).join(Path::new("agent/images").join(format!("{}.erofs", image.digest.hex())))
}

fn main() -> ExitCode {
    suite::run::<Images>(&[
        ("passing::eight_boards_need_one_download", |w| passing::eight_boards_need_one_download(&w.0)),
        ("passing::boards_that_die_meanwhile_are_replaced", |w| passing::boards_that_die_meanwhile_are_replaced(&w.0)),
        ("passing::a_board_that_lies_is_not_believed", |w| passing::a_board_that_lies_is_not_believed(&w.0)),
        ("apart::an_instance_reaches_the_port_of_no_board", |w| apart::an_instance_reaches_the_port_of_no_board(&w.0)),
    ])
}
