//! From a `config.json` to what an agent would be told: a pure function that refuses what Roost does not have.
//!
//! Three kinds of wishes. *Mapped*: command, user, directory, environment, host name, limits, terminal, `cgroupsPath`. *Decided by Roost
//! for every instance*, and so passed over when they ask for no more: namespaces, capabilities, masked paths, `/proc`,
//! `/sys` and `/dev`, a root that can be written. *Absent*: everything else, which is refused by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use roost_types::name::Name;
use roost_types::size::{Resources, Size};
use roost_types::units::MemoryBytes;
use rustix::thread::CapabilitySet;
use serde_json::Value;

use crate::config::{self, Config, Linux, Mount, Namespace, Process};

/// What Roost makes of a config.
#[derive(Debug)]
pub struct Wanted {
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub host_name: Name,
    pub resources: Resources,
    /// `UID:GID`; empty for root.
    pub user: String,
    /// Empty for `/`.
    pub workdir: String,
    /// An instance with a console is one that has its own init.
    pub terminal: bool,
    pub cgroups_path: Option<PathBuf>,
}

/// An instance has limits, always: these where a config has none.
pub const DEFAULT: Resources = Size::Medium.resources();

/// File systems that every instance has at these places.
const OWN_MOUNTS: [(&str, &str); 7] = [
    ("/proc", "proc"),
    ("/dev", "tmpfs"),
    ("/dev/pts", "devpts"),
    ("/dev/shm", "tmpfs"),
    ("/dev/mqueue", "mqueue"),
    ("/sys", "sysfs"),
    ("/sys/fs/cgroup", "cgroup"),
];

/// Namespaces that every instance has of its own.
const OWN_NAMESPACES: [&str; 5] = ["pid", "network", "ipc", "uts", "mount"];

/// Turns a config into what Roost is told.
///
/// # Errors
/// What Roost does not have, by the name it has in the config.
pub fn wanted(config: &Config) -> Result<Wanted> {
    ensure!(config.oci_version.starts_with("1."), "ociVersion {:?} is not 1.x", config.oci_version);
    absent("domainname", &config.domainname)?;
    for (name, hooks) in &config.hooks {
        absent(&format!("hooks.{name}"), hooks)?;
    }
    config.mounts.iter().try_for_each(check_mount)?;
    check_linux(&config.linux)?;
    check_process(&config.process)?;
    ensure!(!config.process.args.is_empty(), "process.args is empty");
    let (user, workdir) = (user(&config.process), workdir(&config.process));
    let own_init = config.process.terminal;
    ensure!(!own_init || user.is_empty() && workdir.is_empty(), "process: an init with a console is root, in /");
    let host_name = config.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or("container");
    Ok(Wanted {
        command: config.process.args.clone(),
        env: environment(&config.process.env)?,
        host_name: host_name.parse().with_context(|| format!("hostname {host_name:?}"))?,
        resources: match &config.linux.resources {
            Some(resources) => limits(resources, DEFAULT)?,
            None => DEFAULT,
        },
        user,
        workdir,
        terminal: own_init,
        cgroups_path: config.linux.cgroups_path.as_deref().map(cgroups_path).transpose()?,
    })
}

/// Refuses what no process of Roost can have.
///
/// # Errors
/// It, by the name it has in the config.
pub fn check_process(process: &Process) -> Result<()> {
    let user = &process.user;
    ensure!(user.additional_gids.as_ref().is_none_or(Vec::is_empty), "process.user.additionalGids: none are had");
    ensure!(user.umask.is_none_or(|umask| umask == 0o022), "process.user.umask: it is 022");
    ensure!(process.cwd.is_empty() || process.cwd.starts_with('/'), "process.cwd: {} is not absolute", process.cwd);
    for name in process.capabilities.iter().flat_map(BTreeMap::values).flatten().flatten() {
        let known = name.strip_prefix("CAP_").and_then(CapabilitySet::from_name);
        ensure!(known.is_some(), "process.capabilities: there is no {name:?}");
    }
    for limit in process.rlimits.iter().flatten() {
        let own = limit.kind == "RLIMIT_NOFILE" && limit.soft == 1024 && limit.hard >= limit.soft;
        ensure!(own, "process.rlimits: {} {}:{} is not had", limit.kind, limit.soft, limit.hard);
    }
    for name in ["apparmorProfile", "selinuxLabel", "scheduler", "ioPriority", "execCPUAffinity", "oomScoreAdj"] {
        absent(&format!("process.{name}"), process.other.get(name).unwrap_or(&Value::Null))?;
    }
    Ok(())
}

/// Whom a process runs as, as Roost reads it; empty for root.
pub fn user(process: &Process) -> String {
    match (process.user.uid, process.user.gid) {
        (0, 0) => String::new(),
        (uid, gid) => format!("{uid}:{gid}"),
    }
}

/// Where a process begins; empty for `/`.
pub fn workdir(process: &Process) -> String {
    if process.cwd == "/" { String::new() } else { process.cwd.clone() }
}

fn check_mount(mount: &Mount) -> Result<()> {
    let destination = if mount.destination.len() > 1 { mount.destination.trim_end_matches('/') } else { "/" };
    let kind = mount.kind.as_deref().unwrap_or_default();
    let kind = if kind == "cgroup2" { "cgroup" } else { kind };
    ensure!(OWN_MOUNTS.contains(&(destination, kind)), "mounts: {kind:?} at {destination} is not had");
    Ok(())
}

fn check_linux(linux: &Linux) -> Result<()> {
    if let Some(namespaces) = &linux.namespaces {
        check_namespaces(namespaces)?;
    }
    for path in linux.masked_paths.iter().chain(&linux.readonly_paths).flatten() {
        let own = path.starts_with("/proc/") || path.starts_with("/sys/");
        ensure!(own, "maskedPaths, readonlyPaths: {path} is neither in /proc nor in /sys");
    }
    for name in [
        "uidMappings",
        "gidMappings",
        "devices",
        "netDevices",
        "rootfsPropagation",
        "seccomp",
        "sysctl",
        "mountLabel",
        "intelRdt",
        "memoryPolicy",
        "personality",
        "timeOffsets",
    ] {
        absent(&format!("linux.{name}"), linux.other.get(name).unwrap_or(&Value::Null))?;
    }
    Ok(())
}

fn check_namespaces(namespaces: &[Namespace]) -> Result<()> {
    for Namespace { kind, path } in namespaces {
        ensure!(path.as_ref().is_none_or(String::is_empty), "linux.namespaces: {kind} of somebody else");
        let own = OWN_NAMESPACES.contains(&kind.as_str()) || ["user", "cgroup"].contains(&kind.as_str());
        ensure!(own, "linux.namespaces: {kind} is not had");
    }
    for own in OWN_NAMESPACES {
        let asked = namespaces.iter().any(|namespace| namespace.kind == own);
        ensure!(asked, "linux.namespaces: the {own} namespace of the host is not shared");
    }
    Ok(())
}

/// The limits in force once those that `asked` names are.
///
/// # Errors
/// A limit that Roost does not have, or that it does not lift.
pub fn limits(asked: &config::Resources, mut now: Resources) -> Result<Resources> {
    for (name, value) in &asked.other {
        absent(&format!("linux.resources.{name}"), value)?;
    }
    ensure!(asked.devices.iter().flatten().all(|rule| !rule.allow), "linux.resources.devices: a device is allowed");
    for (name, value) in asked.memory.iter().flatten() {
        match name.as_str() {
            "limit" => now.memory_bytes = MemoryBytes(positive("memory.limit", value)?),
            _ => absent(&format!("linux.resources.memory.{name}"), value)?,
        }
    }
    for (name, value) in asked.pids.iter().flatten() {
        match name.as_str() {
            "limit" => now.pids = u32::try_from(positive("pids.limit", value)?).context("pids.limit")?,
            _ => absent(&format!("linux.resources.pids.{name}"), value)?,
        }
    }
    let cpu = asked.cpu.iter().flatten();
    let (mut quota, mut period) = (None, 100_000);
    for (name, value) in cpu {
        match name.as_str() {
            "quota" if !value.is_null() => quota = Some(positive("cpu.quota", value)?),
            "period" if !value.is_null() => period = positive("cpu.period", value)?,
            _ => absent(&format!("linux.resources.cpu.{name}"), value)?,
        }
    }
    if let Some(quota) = quota {
        now.cpu_millis = u32::try_from(quota.saturating_mul(1000) / period).context("cpu.quota")?;
    }
    Ok(now)
}

fn positive(name: &str, value: &Value) -> Result<u64> {
    let number = value.as_u64().filter(|number| *number > 0);
    number.with_context(|| format!("linux.resources.{name}: {value} is not had, every instance has a limit"))
}

/// Refuses whatever asks for something.
fn absent(name: &str, value: &Value) -> Result<()> {
    let asks = match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    };
    if asks {
        bail!("{name}: Roost has no such thing");
    }
    Ok(())
}

/// The last entry of a name is the one that counts.
fn environment(entries: &[String]) -> Result<BTreeMap<String, String>> {
    let pair = |entry: &String| {
        let (name, value) = entry.split_once('=').with_context(|| format!("process.env: no '=' in {entry:?}"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    entries.iter().map(pair).collect()
}

/// Relative to the root of each hierarchy, and never above it.
fn cgroups_path(path: &Path) -> Result<PathBuf> {
    let relative: PathBuf = path.components().filter(|part| !matches!(part, std::path::Component::RootDir)).collect();
    let plain = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    ensure!(plain && relative.components().next().is_some(), "linux.cgroupsPath: {} is no path", path.display());
    Ok(relative)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(change: impl FnOnce(&mut Value)) -> Result<Wanted> {
        let mut config = crate::spec::default();
        change(&mut config);
        wanted(&serde_json::from_value(config).expect("a config"))
    }

    #[test]
    fn the_default_config_is_mapped() {
        let wanted = config(|_| {}).expect("nothing in it is refused");
        assert_eq!(wanted.command, ["sh"]);
        assert_eq!(wanted.env["TERM"], "xterm");
        assert_eq!(wanted.resources, DEFAULT);
        assert!(wanted.terminal);
    }

    #[test]
    fn limits_are_taken_over() {
        let wanted = config(|config| {
            config["linux"]["resources"] = json!({
                "memory": {"limit": 1 << 20}, "pids": {"limit": 50}, "cpu": {"quota": 20_000, "period": 40_000}
            });
            config["linux"]["cgroupsPath"] = json!("/a/b");
        });
        let wanted = wanted.expect("all of them are had");
        assert_eq!(wanted.resources.memory_bytes.0, 1 << 20);
        assert_eq!((wanted.resources.pids, wanted.resources.cpu_millis), (50, 500));
        assert_eq!(wanted.cgroups_path.expect("a path"), Path::new("a/b"));
    }

    #[test]
    fn a_user_and_a_directory_are_taken_over() {
        let wanted = config(|config| {
            config["process"]["terminal"] = json!(false);
            config["process"]["user"] = json!({"uid": 10, "gid": 11});
            config["process"]["cwd"] = json!("/tmp");
        });
        let wanted = wanted.expect("both are had");
        assert_eq!((wanted.user.as_str(), wanted.workdir.as_str()), ("10:11", "/tmp"));
    }

    #[test]
    fn what_roost_does_not_have_is_refused_by_name() {
        type Change = fn(&mut Value);
        let table: [(&str, Change); 12] = [
            ("hooks.prestart", |c| c["hooks"] = json!({"prestart": [{"path": "/x"}]})),
            ("mounts", |c| c["mounts"] = json!([{"destination": "/x", "type": "bind", "source": "/"}])),
            ("pid namespace", |c| c["linux"]["namespaces"] = json!([{"type": "network"}])),
            ("of somebody else", |c| c["linux"]["namespaces"] = json!([{"type": "pid", "path": "/proc/1/ns/pid"}])),
            ("additionalGids", |c| c["process"]["user"] = json!({"uid": 1, "gid": 0, "additionalGids": [7]})),
            ("init with a console", |c| c["process"]["cwd"] = json!("/tmp")),
            ("RLIMIT_CORE", |c| {
                c["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}]);
            }),
            ("CAP_NOTHING", |c| c["process"]["capabilities"] = json!({"bounding": ["CAP_NOTHING"]})),
            ("pids.limit", |c| c["linux"]["resources"] = json!({"pids": {"limit": -1}})),
            ("memory.swap", |c| c["linux"]["resources"] = json!({"memory": {"swap": 1}})),
            ("linux.sysctl", |c| c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"})),
            ("cgroupsPath", |c| c["linux"]["cgroupsPath"] = json!("../a")),
        ];
        for (part, change) in table {
            let error = config(change).expect_err(part).to_string();
            assert!(error.contains(part), "{error} names {part}");
        }
    }
}
