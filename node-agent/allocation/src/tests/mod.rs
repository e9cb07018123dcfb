//! The machine against a small model of the world.

mod any_order;
mod lifecycle;
mod snapshots;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use roost_types::allocation::AllocationDesired;
use roost_types::image::RootfsFormat;
use roost_types::instance::RestartPolicy;
use roost_types::sync::{DesiredSet, NodeNetwork};
use roost_types::{AllocationId, AllocationSpec, ExitStatus, ImageDigest, InstanceId, Size, SnapshotId, Timestamp};

pub(crate) fn id(n: u8) -> AllocationId {
    AllocationId::mint(1_000, [n; 10])
}

pub(crate) fn snapshot(n: u8) -> SnapshotId {
    SnapshotId::mint(1_000, [n; 10])
}

pub(crate) fn digest() -> ImageDigest {
    ImageDigest::from_sha256(&[7; 32])
}

pub(crate) fn spec(n: u8, restart: RestartPolicy) -> AllocationSpec {
    AllocationSpec {
        id: id(n),
        instance: InstanceId::mint(1_000, [n; 10]),
        name: "web".parse().unwrap(),
        project: "default".parse().unwrap(),
        generation: 1,
        desired: AllocationDesired::Running,
        epoch: 1,
        image: digest(),
        format: RootfsFormat::Erofs,
        image_bytes: 4096,
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
        publish: vec![format!("{}:80", 18_000 + u16::from(n)).parse().unwrap()],
        restart,
        seed_from: None,
        seed_snapshot: None,
        snapshots: vec![],
        restore: None,
        stop_seconds: None,
        first_boot: false,
    }
}

pub(crate) fn set(allocations: Vec<AllocationSpec>) -> DesiredSet {
    let network = NodeNetwork { gateway: Ipv4Addr::new(10, 77, 1, 1), prefix_len: 24, routes: Vec::new() };
    DesiredSet { network, allocations }
}

pub(crate) fn ended(code: i32, at: i64) -> ExitStatus {
    ExitStatus { code, oom_killed: false, at: Timestamp(at) }
}
