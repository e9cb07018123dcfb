//! A bundle's root file system as an image of Roost, with the gate in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sys::stat::Mode;

/// The program of `gate/gate.c`.
const GATE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gate"));
/// Where it is in a container.
const DIRECTORY: &str = ".roost-oci";

/// The command of a container whose command waits for `start`.
pub fn behind_gate(command: &[String]) -> Vec<String> {
    [format!("/{DIRECTORY}/gate"), "wait".to_owned()].into_iter().chain(command.iter().cloned()).collect()
}

/// The command that lets it begin.
pub fn open_gate() -> Vec<String> {
    [format!("/{DIRECTORY}/gate"), "open".to_owned()].to_vec()
}

/// Makes the image of a root file system in a container's directory.
///
/// # Errors
/// The root cannot be copied or `mkfs.erofs` fails.
pub fn make(rootfs: &Path, directory: &Path) -> Result<PathBuf> {
    let (stage, image) = (directory.join("stage"), directory.join("image.erofs"));
    run(Command::new("cp").args(["-a", "--reflink=auto", "-T"]).arg(rootfs).arg(&stage))?;
    let gate = stage.join(DIRECTORY);
    fs::create_dir(&gate).with_context(|| format!("make {}", gate.display()))?;
    fs::write(gate.join("gate"), GATE).context("write the gate")?;
    fs::set_permissions(gate.join("gate"), fs::Permissions::from_mode(0o755)).context("write the gate")?;
    let fifo = gate.join("gate.fifo");
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o600)).context("make the gate's FIFO")?;
    // Whoever the command runs as waits at it.
    fs::set_permissions(&fifo, fs::Permissions::from_mode(0o644)).context("open the gate's FIFO to all")?;
    run(Command::new("mkfs.erofs").arg(&image).arg(&stage))?;
    fs::remove_dir_all(&stage).with_context(|| format!("remove {}", stage.display()))?;
    Ok(image)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().with_context(|| format!("start {program}"))?;
    ensure!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}
