//! What the machine must have: found, installed after saying so, or named in one error.

use tokio::process::Command;

use crate::error::CliError;
use crate::recipes::{Tool, missing, require};

const TOOLS: [Tool; 11] = [
    Tool { program: "ip", package: "iproute2" },
    Tool { program: "nft", package: "nftables" },
    Tool { program: "make", package: "make" },
    Tool { program: "cc", package: "gcc" },
    Tool { program: "avr-gcc", package: "gcc-avr" },
    Tool { program: "/usr/lib/avr/include/avr/io.h", package: "avr-libc" },
    Tool { program: "/usr/share/arduino/hardware/arduino/avr/cores/arduino/Arduino.h", package: "arduino-core-avr" },
    Tool { program: "/usr/include/simavr/sim_avr.h", package: "libsimavr-dev" },
    Tool { program: "/usr/include/libelf.h", package: "libelf-dev" },
    Tool { program: "/bin/busybox", package: "busybox-static" },
    Tool { program: "mkfs.erofs", package: "erofs-utils" },
];

/// Makes sure that every tool is there.
///
/// # Errors
/// When something is missing and may not or cannot be installed.
pub async fn prepare(no_install: bool) -> Result<(), CliError> {
    let lacking = missing(&TOOLS);
    if lacking.is_empty() {
        return Ok(());
    }
    if no_install || !missing(&[Tool { program: "apt-get", package: "apt" }]).is_empty() {
        return require(&TOOLS);
    }
    let packages: Vec<&str> = lacking.iter().map(|tool| tool.package).collect();
    eprintln!("installing what this machine lacks: apt-get install {}", packages.join(" "));
    apt(&["update", "-qq"], &[]).await?;
    apt(&["install", "-y", "-qq", "--no-install-recommends"], &packages).await?;
    require(&TOOLS)
}

async fn apt(words: &[&str], packages: &[&str]) -> Result<(), CliError> {
    let mut command = Command::new("apt-get");
    command.args(words).args(packages).env("DEBIAN_FRONTEND", "noninteractive").kill_on_drop(true);
    let output = command.output().await.map_err(|e| CliError::step("running apt-get", e))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(CliError::step(format!("apt-get {} {}", words.join(" "), packages.join(" ")), why))
}
