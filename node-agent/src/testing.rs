//! What several tests of this crate need.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use roost_types::allocation::{AllocationDesired, Strain};
use roost_types::image::RootfsFormat;
use roost_types::instance::RestartPolicy;
use roost_types::sync::{DesiredSet, NodeNetwork};
use roost_types::{AllocationId, AllocationReport, AllocationSpec, AllocationState, ImageDigest, InstanceId, Size};

/// A directory that goes away with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let unique = crate::random::token().unwrap();
        let path = std::env::temp_dir().join(format!("roost-agent-{name}-{unique}"));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn allocation(n: u8) -> AllocationId {
    AllocationId::mint(1_000, [n; 10])
}

pub fn report(n: u8, state: AllocationState) -> AllocationReport {
    AllocationReport {
        id: allocation(n),
        generation: 1,
        state,
        reason: String::new(),
        restarts: 0,
        started_at: None,
        exit: None,
        strain: Strain::default(),
        snapshots: vec![],
        restore: None,
    }
}

pub fn network() -> NodeNetwork {
    NodeNetwork { gateway: Ipv4Addr::new(10, 77, 1, 1), prefix_len: 24, routes: Vec::new() }
}

pub fn desired(allocations: Vec<AllocationSpec>) -> DesiredSet {
    DesiredSet { network: network(), allocations }
}

pub fn spec(n: u8, image: ImageDigest, image_bytes: u64) -> AllocationSpec {
    AllocationSpec {
        id: allocation(n),
        instance: InstanceId::mint(1_000, [n; 10]),
        name: "web".parse().unwrap(),
        project: "default".parse().unwrap(),
        generation: 1,
        desired: AllocationDesired::Running,
        epoch: 1,
        image,
        format: RootfsFormat::Erofs,
        image_bytes,
        command: vec!["httpd".to_owned()],
        system: false,
        env: BTreeMap::new(),
        user: String::new(),
        workdir: String::new(),
        stop_signal: None,
        resources: Size::Nano.resources(),
        network: roost_types::instance::Network::Bridge,
        address: Ipv4Addr::new(10, 77, 1, 10 + n),
        uid_base: 0x1_0000 * u32::from(n),
        quota_id: None,
        publish: vec![],
        restart: RestartPolicy::OnFailure,
        seed_from: None,
        seed_snapshot: None,
        snapshots: vec![],
        restore: None,
        stop_seconds: None,
        first_boot: false,
    }
}
