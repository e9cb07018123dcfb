//! The firmware and its simulator: sources inside this program, built once per version of them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::error::CliError;

/// The sketch and its headers.
#[derive(RustEmbed)]
#[folder = "../../sensor-firmware/hub"]
struct Sketch;

/// The simulator.
#[derive(RustEmbed)]
#[folder = "../../sensor-firmware/simulator"]
struct Simulator;

const MAKEFILE: &str = include_str!("../../../../sensor-firmware/Makefile");

/// What was built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Firmware {
    /// The firmware for the AVR.
    pub elf: PathBuf,
    /// The program that runs it.
    pub simulator: PathBuf,
}

/// Where the products of these sources are, below a rack's state.
pub fn locate(state: &Path) -> Firmware {
    let build = directory(state).join("build");
    Firmware { elf: build.join("hub.elf"), simulator: build.join("roost-hub-sim") }
}

fn directory(state: &Path) -> PathBuf {
    state.join("build").join(&version()[..16])
}

/// Whether [`build`] has nothing to do.
pub fn is_built(firmware: &Firmware) -> bool {
    firmware.elf.exists() && firmware.simulator.exists()
}

/// Unpacks the sources and builds them; earlier versions are removed.
///
/// # Errors
/// When files cannot be written or a compiler fails; its last lines are in the error.
pub async fn build(state: &Path) -> Result<Firmware, CliError> {
    make(state, &["firmware", "simulator"]).await?;
    Ok(locate(state))
}

/// The firmware of a board as a hex file, made below a directory unless it is there.
///
/// # Errors
/// As [`build`].
pub async fn build_hex(cache: &Path, board: &str) -> Result<PathBuf, CliError> {
    let build = directory(cache).join(board);
    let hex = build.join("hub.hex");
    if !hex.exists() {
        make(cache, &["firmware", &format!("BOARD={board}"), &format!("BUILD={}", build.display())]).await?;
    }
    Ok(hex)
}

/// Unpacks the sources, in place of those of other versions, and runs make.
async fn make(state: &Path, words: &[&str]) -> Result<(), CliError> {
    let home = directory(state);
    if !home.exists() {
        // Older versions are of no use, and what cannot be removed is only space.
        let _ = std::fs::remove_dir_all(state.join("build"));
    }
    for (path, data) in sources() {
        let path = home.join(path);
        let failed = |e| CliError::step(format!("writing {}", path.display()), e);
        std::fs::create_dir_all(path.parent().unwrap_or(&home)).map_err(failed)?;
        std::fs::write(&path, data).map_err(failed)?;
    }
    let step = "building the firmware";
    let mut make = Command::new("make");
    make.arg("-C").arg(&home).arg("-j2").args(words).kill_on_drop(true);
    let output = make.output().await.map_err(|e| CliError::step(step, e))?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = log.lines().collect();
        return Err(CliError::step(step, lines[lines.len().saturating_sub(8)..].join("\n       ")));
    }
    Ok(())
}

/// Every source with its path, sorted.
fn sources() -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("Makefile".to_owned(), MAKEFILE.as_bytes().to_vec())];
    let sketch = Sketch::iter().filter_map(|name| Some((format!("hub/{name}"), Sketch::get(&name)?)));
    let simulator = Simulator::iter().filter_map(|name| Some((format!("simulator/{name}"), Simulator::get(&name)?)));
    all.extend(sketch.chain(simulator).map(|(path, file)| (path, file.data.into_owned())));
    all.sort();
    all
}

/// A digest of all sources.
fn version() -> String {
    let mut hash = Sha256::new();
    for (path, data) in sources() {
        hash.update(path.as_bytes());
        hash.update(data.len().to_le_bytes());
        hash.update(&data);
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_carries_everything_make_needs() {
        let paths: Vec<String> = sources().into_iter().map(|(path, _)| path).collect();
        for needed in ["Makefile", "hub/hub.ino", "simulator/main.c"] {
            assert!(paths.iter().any(|p| p == needed), "{needed} in {paths:?}");
        }
        assert_eq!(version(), version());
        assert_eq!(version().len(), 64);
    }
}
