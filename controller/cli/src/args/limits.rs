//! Limits beside a size: the same flags for `launch` and `resize`.

use clap::Args;
use roost_types::MemoryBytes;
use roost_types::limits::PatchLimits;

use super::values::{Asked, parse_bytes_or_none, parse_number_or_none};

/// Limits beside a size; `none` takes one back.
#[derive(Args, Debug, Default)]
pub struct LimitArgs {
    /// Memory above which it is slowed down and has to give back, for example 80M, or none.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes_or_none)]
    pub memory_high: Option<Asked<u64>>,
    /// Swap it may use beside its memory, for example 64M, or none.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes_or_none)]
    pub swap: Option<Asked<u64>>,
    /// Its share of a busy processor, 1 to 10000 (100 = that of a core), or none.
    #[arg(long, value_name = "WEIGHT", value_parser = parse_number_or_none)]
    pub cpu_weight: Option<Asked<u32>>,
    /// Its share of a busy disk, 1 to 10000 (100 = that of others), or none.
    #[arg(long, value_name = "WEIGHT", value_parser = parse_number_or_none)]
    pub io_weight: Option<Asked<u32>>,
    /// Bytes a second it may read from the board's disk, for example 10M, or none.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes_or_none)]
    pub io_read: Option<Asked<u64>>,
    /// Bytes a second it may write there, or none.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes_or_none)]
    pub io_write: Option<Asked<u64>>,
    /// Read operations a second there, or none.
    #[arg(long, value_name = "NUMBER", value_parser = parse_number_or_none)]
    pub io_reads: Option<Asked<u32>>,
    /// Write operations a second there, or none.
    #[arg(long, value_name = "NUMBER", value_parser = parse_number_or_none)]
    pub io_writes: Option<Asked<u32>>,
}

impl LimitArgs {
    /// What of the limits changes.
    pub fn patch(&self) -> PatchLimits {
        let bytes = |asked: Option<Asked<u64>>| asked.map(|asked| asked.0.map(MemoryBytes));
        let number = |asked: Option<Asked<u32>>| asked.map(|asked| asked.0);
        PatchLimits {
            memory_high_bytes: bytes(self.memory_high),
            swap_bytes: bytes(self.swap),
            cpu_weight: number(self.cpu_weight),
            io_weight: number(self.io_weight),
            io_read_bytes_per_second: bytes(self.io_read),
            io_write_bytes_per_second: bytes(self.io_write),
            io_reads_per_second: number(self.io_reads),
            io_writes_per_second: number(self.io_writes),
        }
    }
}
