//! What the shim reads of `config.json`. What only has to be absent is kept as plain JSON; what is unknown is passed
//! over, as the specification wants it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// The whole file.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    pub oci_version: String,
    pub process: Process,
    pub root: Root,
    pub hostname: Option<String>,
    #[serde(default)]
    pub domainname: Value,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    #[serde(default)]
    pub hooks: BTreeMap<String, Value>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub linux: Linux,
}

/// `process`; also the file that `exec --process` reads.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    #[serde(default)]
    pub terminal: bool,
    #[serde(default)]
    pub user: User,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: Vec<String>,
    #[serde(default)]
    pub cwd: String,
    #[serde(default)]
    pub capabilities: Option<BTreeMap<String, Option<Vec<String>>>>,
    #[serde(default)]
    pub rlimits: Option<Vec<Rlimit>>,
    /// Everything else; looked at for what has to be absent.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// `process.user`.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct User {
    #[serde(default)]
    pub uid: u32,
    #[serde(default)]
    pub gid: u32,
    #[serde(default)]
    pub umask: Option<u32>,
    #[serde(default)]
    pub additional_gids: Option<Vec<u32>>,
}

/// One of `process.rlimits`.
#[derive(Deserialize, Debug)]
pub struct Rlimit {
    #[serde(rename = "type")]
    pub kind: String,
    pub soft: u64,
    pub hard: u64,
}

/// `root`.
#[derive(Deserialize, Debug)]
pub struct Root {
    pub path: PathBuf,
}

/// One of `mounts`.
#[derive(Deserialize, Debug)]
pub struct Mount {
    pub destination: String,
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
}

/// `linux`.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    #[serde(default)]
    pub namespaces: Option<Vec<Namespace>>,
    #[serde(default)]
    pub resources: Option<Resources>,
    #[serde(default)]
    pub cgroups_path: Option<PathBuf>,
    #[serde(default)]
    pub masked_paths: Option<Vec<String>>,
    #[serde(default)]
    pub readonly_paths: Option<Vec<String>>,
    /// Everything else; looked at for what has to be absent.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// One of `linux.namespaces`.
#[derive(Deserialize, Debug)]
pub struct Namespace {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub path: Option<String>,
}

/// `linux.resources`; also what `update` reads.
#[derive(Deserialize, Debug, Default)]
pub struct Resources {
    #[serde(default)]
    pub devices: Option<Vec<DeviceRule>>,
    #[serde(default)]
    pub memory: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    pub cpu: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    pub pids: Option<BTreeMap<String, Value>>,
    /// Everything else; looked at for what has to be absent.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// One of `linux.resources.devices`.
#[derive(Deserialize, Debug)]
pub struct DeviceRule {
    pub allow: bool,
}

/// Reads a JSON file.
///
/// # Errors
/// It cannot be read or is not what it should be.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))
}
