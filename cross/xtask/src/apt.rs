//! Installing Debian packages that the machine lacks, after saying so.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A Debian package and how to see without dpkg that what it is wanted for is there.
pub struct Need {
    /// The package.
    pub package: &'static str,
    /// A program on the PATH, or an absolute path.
    pub probe: &'static str,
}

/// Names a need.
pub const fn need(package: &'static str, probe: &'static str) -> Need {
    Need { package, probe }
}

/// What the tests run with.
pub const FOR_TESTS: &[Need] = &[
    need("gcc", "gcc"),
    need("make", "make"),
    need("g++", "g++"),
    need("gcc-avr", "avr-gcc"),
    need("avr-libc", "/usr/lib/avr/include/avr/io.h"),
    need("arduino-core-avr", "/usr/share/arduino/hardware/arduino/avr/boards.txt"),
    need("libsimavr-dev", "/usr/include/simavr/sim_avr.h"),
    need("libelf-dev", "/usr/include/libelf.h"),
    need("qemu-system-x86", "qemu-system-x86_64"),
    need("kmod", "modprobe"),
    need("cpio", "cpio"),
    need("busybox-static", "/bin/busybox"),
    need("seccomp", "scmp_sys_resolver"),
    need("erofs-utils", "mkfs.erofs"),
    need("mmdebstrap", "mmdebstrap"),
    need("attr", "getfattr"),
    need("btrfs-progs", "mkfs.btrfs"),
    need("e2fsprogs", "filefrag"),
    need("skopeo", "skopeo"),
    need("umoci", "umoci"),
    need("docker-registry", "docker-registry"),
    need("nftables", "nft"),
    need("iproute2", "ip"),
    need("dnsmasq-base", "dnsmasq"),
    need("strace", "strace"),
    need("python3-aiosmtpd", "/usr/lib/python3/dist-packages/aiosmtpd/smtp.py"),
    need("openssl", "openssl"),
    need("libc6-dev", "/usr/include/arpa/inet.h"),
    need("chromium", "chromium"),
    need("nodejs", "node"),
    need("npm", "npm"),
];

/// Installs the packages whose probe finds nothing.
///
/// # Errors
/// Names what is missing when it cannot be installed here.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let missing: BTreeSet<_> = needs.iter().filter(|need| !is_there(need.probe)).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.iter().copied().collect::<Vec<_>>().join(" ");
    if !nix::unistd::geteuid().is_root() || !is_there("apt-get") {
        bail!("missing: {list}; install them, or run as root on Debian or Ubuntu");
    }
    println!("installing with apt-get: {list}");
    // Without it a fresh machine knows no package. If the lists are good enough already, its failure does not matter.
    let updated = apt().args(["update", "-q"]).status().context("start apt-get")?.success();
    let mut install = apt();
    install.args(["install", "-y", "-q", "--no-install-recommends"]).args(&missing);
    if install.status().context("start apt-get")?.success() {
        return Ok(());
    }
    bail!("apt-get could not install: {list}{}", if updated { "" } else { " (nor update its lists)" })
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Whether a program is on the PATH or in the places for administrators, or an absolute path exists.
pub fn is_there(probe: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let admin = ["/usr/sbin", "/sbin"].map(Into::into);
    Path::new(probe).is_absolute() && Path::new(probe).exists()
        || std::env::split_paths(&path).chain(admin).any(|dir| dir.join(probe).is_file())
}
