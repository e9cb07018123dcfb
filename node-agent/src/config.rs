//! What the agent is told at its start, checked.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use clap::Args;
use roost_types::image_transfer::PEER_PORT;

use crate::controller::{BadUrl, Controller};
use crate::images::server::Place;
use crate::runtime::linux::Facility;

/// `roost-agent run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The controller's address, for example http://10.0.0.1:7700
    #[arg(long, env = "ROOST_AGENT_CONTROLLER", value_name = "URL")]
    pub controller: String,
    /// Where images, layers and the desired set are kept
    #[arg(long, env = "ROOST_AGENT_STATE", value_name = "DIR", default_value = "/var/lib/roost/agent")]
    pub state: PathBuf,
    /// File that holds this node's secret
    #[arg(long, env = "ROOST_AGENT_SECRET_FILE", value_name = "FILE")]
    pub secret_file: PathBuf,
    /// Where sockets and mounts live until the next boot
    #[arg(long, env = "ROOST_AGENT_RUN_DIR", value_name = "DIR", default_value = "/run/roost")]
    pub run_dir: PathBuf,
    /// Cgroup that everything is put in, a path below each hierarchy's root
    #[arg(long, env = "ROOST_AGENT_CGROUP_PARENT", value_name = "PATH")]
    pub cgroup_parent: Option<String>,
    /// Read temperatures here instead of /sys/class/thermal
    #[arg(long, env = "ROOST_AGENT_THERMAL_ROOT", value_name = "DIR", default_value = "/sys/class/thermal")]
    pub thermal_root: PathBuf,
    /// Use this instead of the kernel's boot id (a simulated board's power cycle)
    #[arg(long, env = "ROOST_AGENT_BOOT_ID", value_name = "TEXT")]
    pub boot_id: Option<String>,
    /// Say that the board has this many thousandths of a core
    #[arg(long, env = "ROOST_AGENT_CPU_MILLIS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_024_000))]
    pub cpu_millis: Option<u32>,
    /// The board's address on the rack's LAN
    #[arg(long, env = "ROOST_AGENT_ADDRESS", value_name = "IPV4")]
    pub address: Option<Ipv4Addr>,
    /// TCP port of that address where other nodes of the rack fetch images, the same on every node; 0 to give none
    #[arg(long, env = "ROOST_AGENT_PEER_PORT", value_name = "PORT", default_value_t = PEER_PORT)]
    pub peer_port: u16,
    /// Most MiB of images given to other nodes in a second
    #[arg(long, env = "ROOST_AGENT_PEER_RATE", value_name = "MIB", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub peer_rate: u32,
    /// Interface of the LAN that instances with `network: lan` are put on
    #[arg(long, env = "ROOST_AGENT_LAN_INTERFACE", value_name = "NAME")]
    pub lan_interface: Option<String>,
    /// Do without this, as on an older kernel: idmapped_mounts, idmapped_squashfs, user_overlay, mount_setattr
    #[arg(long, env = "ROOST_AGENT_WITHOUT", value_name = "FACILITY", value_delimiter = ',')]
    pub without: Vec<Facility>,
    /// Names the resolvers that the answerer of names asks
    #[arg(long, env = "ROOST_AGENT_RESOLV_CONF", value_name = "FILE", default_value = crate::resolv_conf::PATH)]
    pub resolv_conf: PathBuf,
    /// End when the process that started this one ends
    #[arg(long)]
    pub die_with_parent: bool,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom to dial.
    pub controller: Controller,
    /// Kept over reboots.
    pub state: PathBuf,
    /// Gone with a reboot.
    pub run_dir: PathBuf,
    /// Path below each cgroup hierarchy's root, without slashes at its ends.
    pub cgroup_parent: Option<String>,
    /// Where the thermal zones are.
    pub thermal_root: PathBuf,
    /// New with every start of the board.
    pub boot_id: String,
    /// Instead of the machine's own cores.
    pub cpu_millis: Option<u32>,
    /// Address on the rack's LAN.
    pub address: Option<Ipv4Addr>,
    /// Where other nodes of the rack fetch images.
    pub image_server: Option<Place>,
    /// Interface of the LAN for instances that want to be on it.
    pub lan_interface: Option<String>,
    /// What the kernel has and is not to be used.
    pub without: BTreeSet<Facility>,
    /// Names the resolvers for what is not ours to answer.
    pub resolv_conf: PathBuf,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is there and holds no secret.
    #[error("{} holds no secret: it must be one line of visible characters", .0.display())]
    NoSecret(PathBuf),
    /// The controller's address is of no use.
    #[error("--controller")]
    Controller(#[from] BadUrl),
    /// The cgroup is not a path below a hierarchy's root.
    #[error("--cgroup-parent '{0}' is not a relative path without '..'")]
    CgroupParent(String),
    /// No interface can be called that.
    #[error("--lan-interface '{0}' is not the name of an interface: 1 to 15 visible characters without '/'")]
    LanInterface(String),
}

impl Config {
    /// Checks `args` and reads what they point at.
    pub fn load(args: &RunArgs) -> Result<Self, ConfigError> {
        let secret = read(&args.secret_file)?;
        let secret = secret.trim();
        if secret.is_empty() || !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ConfigError::NoSecret(args.secret_file.clone()));
        }
        let boot_id = match &args.boot_id {
            Some(id) => id.clone(),
            None => read(Path::new("/proc/sys/kernel/random/boot_id"))?.trim().to_owned(),
        };
        Ok(Self {
            controller: Controller::new(&args.controller, secret)?,
            state: args.state.clone(),
            run_dir: args.run_dir.clone(),
            cgroup_parent: args.cgroup_parent.as_deref().map(cgroup_parent).transpose()?,
            thermal_root: args.thermal_root.clone(),
            boot_id,
            cpu_millis: args.cpu_millis,
            address: args.address,
            image_server: args.address.filter(|_| args.peer_port != 0).map(|address| Place {
                address,
                port: args.peer_port,
                bytes_per_second: u64::from(args.peer_rate) << 20,
            }),
            lan_interface: args.lan_interface.clone().map(lan_interface).transpose()?,
            without: args.without.iter().copied().collect(),
            resolv_conf: args.resolv_conf.clone(),
        })
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

fn cgroup_parent(text: &str) -> Result<String, ConfigError> {
    let path = text.trim_matches('/');
    let plain = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if plain { Ok(path.to_owned()) } else { Err(ConfigError::CgroupParent(text.to_owned())) }
}

/// The kernel's rule for names of interfaces.
fn lan_interface(name: String) -> Result<String, ConfigError> {
    let fits = (1..=15).contains(&name.len()) && !matches!(name.as_str(), "." | "..");
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':'));
    if fits && plain { Ok(name) } else { Err(ConfigError::LanInterface(name)) }
}

#[cfg(test)]
mod tests {
    use super::{cgroup_parent, lan_interface};

    #[test]
    fn an_interface_has_a_name_that_the_kernel_gives() {
        assert_eq!(lan_interface("enp1s0".to_owned()).unwrap(), "enp1s0");
        for bad in ["", "sixteen-letters-", "a/b", "a b", "..", "a\n"] {
            assert!(lan_interface(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_cgroup_parent_stays_below_the_root() {
        assert_eq!(cgroup_parent("/roost-dev/r1/n01/").unwrap(), "roost-dev/r1/n01");
        for bad in ["", "/", "../x", "a/../b", "a//b", "./a"] {
            assert!(cgroup_parent(bad).is_err(), "{bad}");
        }
    }
}
