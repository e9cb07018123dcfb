//! The cases, by name.

use std::time::Duration;

use roost_agent::runtime::Runtime;

use crate::rig::{Case, Rig};

/// Every case.
pub const ALL: &[(&str, Case)] =
    &[("a_container_starts_runs_execs_logs_stops_and_is_deleted", |rig| Box::pin(whole_life(rig)))];

async fn whole_life(rig: &Rig) {
    let spec = rig.spec(&["sh", "-c", "echo out; echo err >&2; exec sleep 1000"]);
    let pid = rig.start(&spec).await;
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    rig.wait_for_log(spec.id, "err").await;
    assert_eq!(rig.exec(spec.id, &["hostname"]).await, (format!("{}\n", spec.name), 0));
    rig.runtime.stop(spec.id, Duration::from_secs(5)).await.expect("stop");
    rig.runtime.delete(spec.id).await.expect("delete");
}
