//! The verbs that only tell.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cli::{List, OCI_VERSION, Ps};
use crate::groups;
use crate::node::Node;
use crate::record::{Record, Status};

/// Prints a container's state.
///
/// # Errors
/// There is no such container.
pub async fn state(node: &Node, id: &str) -> Result<()> {
    let record = Record::read(node, id)?;
    let (status, pid) = record.status(&node.runtime().await?).await?;
    println!("{}", serde_json::to_string_pretty(&describe(&record, status, pid))?);
    Ok(())
}

fn describe(record: &Record, status: Status, pid: u32) -> Value {
    json!({
        "ociVersion": record.oci_version,
        "id": record.id,
        "pid": pid,
        "status": status.as_str(),
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "annotations": record.annotations,
        "owner": "root",
    })
}

/// Prints a line for each container.
///
/// # Errors
/// One cannot be read.
pub async fn list(node: &Node, options: &List) -> Result<()> {
    let names = node.containers();
    if options.quiet {
        names.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    let mut all = Vec::new();
    if !names.is_empty() {
        let runtime = node.runtime().await?;
        for name in names {
            let record = Record::read(node, &name)?;
            let (status, pid) = record.status(&runtime).await?;
            all.push((record, status, pid));
        }
    }
    match options.format.as_str() {
        "json" => {
            let all: Vec<_> = all.iter().map(|(record, status, pid)| describe(record, *status, *pid)).collect();
            println!("{}", serde_json::to_string(&all)?);
        }
        "table" => {
            println!("{:20} {:8} {:8} {:30} {:30} OWNER", "ID", "PID", "STATUS", "BUNDLE", "CREATED");
            for (record, status, pid) in all {
                let bundle = record.bundle.display().to_string();
                println!("{:20} {pid:<8} {:8} {bundle:30} {:30} root", record.id, status.as_str(), record.created);
            }
        }
        other => bail!("invalid format option {other:?}"),
    }
    Ok(())
}

/// Prints a container's processes.
///
/// # Errors
/// There is no such container.
pub fn processes(node: &Node, options: &Ps) -> Result<()> {
    let record = Record::read(node, &options.id)?;
    let pids = groups::processes(&node.cgroup_parent(), &record.allocation.to_string());
    if options.format == "json" {
        println!("{}", serde_json::to_string(&pids)?);
        return Ok(());
    }
    let arguments = if options.arguments.is_empty() { vec!["-ef".to_owned()] } else { options.arguments.clone() };
    let output = Command::new("ps").args(arguments).output().context("start ps")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|name| name == "PID").context("ps has no column PID")?;
    println!("{header}");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|text| text.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            println!("{line}");
        }
    }
    Ok(())
}

/// Prints what this runtime can do.
///
/// # Errors
/// It cannot be printed.
pub fn features() -> Result<()> {
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": [],
        "mountOptions": [],
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
            "capabilities": [],
            "cgroup": {"v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false},
            "seccomp": {"enabled": false},
            "apparmor": {"enabled": false},
            "selinux": {"enabled": false},
            "intelRdt": {"enabled": false}
        },
    });
    println!("{}", serde_json::to_string_pretty(&features)?);
    Ok(())
}
