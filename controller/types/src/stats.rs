//! What an instance uses.
//!
//! Counters count from the start of the instance's present run; a rate is the difference of two answers. What this board's
//! kernel does not tell is absent, never zero.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What an instance uses, as its node's kernel counts it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InstanceStats {
    /// When it was read.
    pub at: Timestamp,
    /// Processor.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes and threads.
    pub pids: u32,
    /// The most it may have.
    pub pids_limit: Option<u32>,
    /// Disks.
    pub io: Option<IoStats>,
    /// Its network, as the instance sees it.
    pub network: Option<NetworkStats>,
    /// How long it waited.
    pub pressure: Option<PressureStats>,
}

/// Processor time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CpuStats {
    /// Used, in microseconds; a second of one core is a million.
    pub usage_usec: u64,
    /// Held back by its cap, in microseconds.
    pub throttled_usec: Option<u64>,
    /// Periods in which it was held back.
    pub throttled_periods: Option<u64>,
    /// Periods in which it ran and had a cap.
    pub periods: Option<u64>,
}

/// Memory, in bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemoryStats {
    /// Charged to it, page cache included.
    pub usage_bytes: u64,
    /// The most that was.
    pub max_usage_bytes: Option<u64>,
    /// Without cache that can be dropped at once: what it would be killed for.
    pub working_set_bytes: u64,
    /// Its limit.
    pub limit_bytes: Option<u64>,
    /// Its processes' share of their pages: a page that n processes of the board have counts 1/n. Reading it costs, so it
    /// is absent for instances with very many processes.
    pub pss_bytes: Option<u64>,
    /// What of it is in swap.
    #[serde(default)]
    pub swap_bytes: Option<u64>,
    /// Processes the kernel killed for want of memory.
    pub oom_kills: u64,
}

/// Disk traffic, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IoStats {
    /// Read from disks.
    pub read_bytes: u64,
    /// Written to disks.
    pub write_bytes: u64,
}

/// Network traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NetworkStats {
    /// Bytes it received.
    pub rx_bytes: u64,
    /// Packets it received.
    pub rx_packets: u64,
    /// Bytes it sent.
    pub tx_bytes: u64,
    /// Packets it sent.
    pub tx_packets: u64,
}

/// Pressure stall information of its processes.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PressureStats {
    /// Waiting for a processor.
    pub cpu: Stall,
    /// Waiting for memory.
    pub memory: Stall,
    /// Waiting for disks.
    pub io: Stall,
}

/// How long processes waited for something.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stall {
    /// Share of the last 10 seconds in which at least one waited, in percent.
    pub some_percent_10s: f64,
    /// Share of the last 10 seconds in which all waited, in percent.
    pub full_percent_10s: f64,
    /// Time in which at least one waited, in microseconds.
    pub some_usec: u64,
}
