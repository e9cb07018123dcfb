//! What a node can and cannot, by the names its agent reports, and what to do about it.

use roost_types::limits::Limits;

use crate::row::NodeRow;

/// Runs commands as other users than root, in other directories than the root.
pub const RUN_AS: &str = "run_as";
/// Can put instances on its LAN.
pub const LAN: &str = "lan";
/// Limits that every instance has.
pub const NEEDED_LIMITS: [&str; 2] = ["memory_limit", "pids_limit"];
/// Limits what an instance writes.
pub const DISK_LIMIT: &str = "disk_limit";

/// The features that limits beside a size need, with the field of each.
pub fn needed_by(limits: &Limits) -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        (limits.memory_high_bytes.is_some(), "memory_high", "limits.memory_high_bytes"),
        (limits.swap_bytes.is_some(), "swap_limit", "limits.swap_bytes"),
        (limits.cpu_weight.is_some(), "cpu_weight", "limits.cpu_weight"),
        (limits.io_weight.is_some(), "io_weight", "limits.io_weight"),
        (limits.io_read_bytes_per_second.is_some(), "io_limit", "limits.io_read_bytes_per_second"),
        (limits.io_write_bytes_per_second.is_some(), "io_limit", "limits.io_write_bytes_per_second"),
        (limits.io_reads_per_second.is_some(), "io_limit", "limits.io_reads_per_second"),
        (limits.io_writes_per_second.is_some(), "io_limit", "limits.io_writes_per_second"),
    ]
    .into_iter()
    .filter_map(|(asked, feature, field)| asked.then_some((feature, field)))
}

/// What is to be done about an agent that does not speak of a feature at all.
const UPGRADE: &str = "its agent is of an earlier release: upgrade it";

impl NodeRow {
    /// What to do about a feature that every agent reports and this one says is missing.
    pub(crate) fn denies(&self, feature: &str) -> Option<&str> {
        let features = &self.facts.as_ref()?.features;
        features.iter().find(|own| !own.supported && own.name == feature).map(|own| own.advice.as_str())
    }

    /// What to do about a feature that this node does not say it has: those of an early release do not know all.
    #[must_use]
    pub fn lacks(&self, feature: &str) -> Option<&str> {
        let features = &self.facts.as_ref()?.features;
        match features.iter().find(|own| own.name == feature) {
            Some(own) if own.supported => None,
            Some(own) => Some(&own.advice),
            None => Some(UPGRADE),
        }
    }

    /// Whether it says that it has a feature.
    pub(crate) fn has(&self, feature: &str) -> bool {
        self.facts.is_some() && self.lacks(feature).is_none()
    }
}
