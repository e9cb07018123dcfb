//! Limits of an instance beside its size: each is in force only where it is asked for, and only on nodes that can.

use serde::{Deserialize, Deserializer, Serialize};

use crate::MemoryBytes;

/// Relative weights: 100 is what everybody has who asks for nothing.
pub const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;

/// What limits an instance beside its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Limits {
    /// Memory above which it is slowed down and has to give back, at least 8 MiB and at most its memory limit. On cgroup
    /// v1 it is what is left to it when the node runs short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_high_bytes: Option<MemoryBytes>,
    /// Swap that it may use beside its memory, at most 1 TiB; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<MemoryBytes>,
    /// Its share of a busy processor, 1 to 10,000; a tenth of `cpu_millis` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u32>,
    /// Its share of a busy disk, 1 to 10,000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u32>,
    /// Bytes a second it may read from the disk that holds its files, at least 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_read_bytes_per_second: Option<MemoryBytes>,
    /// Bytes a second it may write there, at least 64 KiB. On cgroup v1 what the kernel writes later on its own is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_write_bytes_per_second: Option<MemoryBytes>,
    /// Read operations a second there, at least 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_reads_per_second: Option<u32>,
    /// Write operations a second there, at least 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_writes_per_second: Option<u32>,
}

impl Limits {
    /// No limit beside those of the size.
    pub const NONE: Self = Self {
        memory_high_bytes: None,
        swap_bytes: None,
        cpu_weight: None,
        io_weight: None,
        io_read_bytes_per_second: None,
        io_write_bytes_per_second: None,
        io_reads_per_second: None,
        io_writes_per_second: None,
    };

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Whether traffic with the disk has a cap.
    #[must_use]
    pub const fn caps_io(&self) -> bool {
        self.io_read_bytes_per_second.is_some()
            || self.io_write_bytes_per_second.is_some()
            || self.io_reads_per_second.is_some()
            || self.io_writes_per_second.is_some()
    }
}

/// A change of [`Limits`]: what is absent stays, what is null is taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PatchLimits {
    /// As in the limits; null takes it back.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub memory_high_bytes: Option<Option<MemoryBytes>>,
    /// As in the limits; null takes it back.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<Option<MemoryBytes>>,
    /// As in the limits; null takes it back.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<Option<u32>>,
    /// As in the limits; null takes it back.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<Option<u32>>,
    /// As in the limits; null takes it back.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub io_read_bytes_per_second: Option<Option<MemoryBytes>>,
    /// As in the limits; null takes it back.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub io_write_bytes_per_second: Option<Option<MemoryBytes>>,
    /// As in the limits; null takes it back.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub io_reads_per_second: Option<Option<u32>>,
    /// As in the limits; null takes it back.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub io_writes_per_second: Option<Option<u32>>,
}

impl PatchLimits {
    /// The limits of an instance that has `now`.
    #[must_use]
    pub fn applied_to(&self, now: Limits) -> Limits {
        Limits {
            memory_high_bytes: self.memory_high_bytes.unwrap_or(now.memory_high_bytes),
            swap_bytes: self.swap_bytes.unwrap_or(now.swap_bytes),
            cpu_weight: self.cpu_weight.unwrap_or(now.cpu_weight),
            io_weight: self.io_weight.unwrap_or(now.io_weight),
            io_read_bytes_per_second: self.io_read_bytes_per_second.unwrap_or(now.io_read_bytes_per_second),
            io_write_bytes_per_second: self.io_write_bytes_per_second.unwrap_or(now.io_write_bytes_per_second),
            io_reads_per_second: self.io_reads_per_second.unwrap_or(now.io_reads_per_second),
            io_writes_per_second: self.io_writes_per_second.unwrap_or(now.io_writes_per_second),
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is there is said, null too.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_stays_and_null_takes_it_back() {
        let now = Limits { swap_bytes: Some(MemoryBytes::mib(1)), cpu_weight: Some(7), ..Limits::NONE };
        let patch: PatchLimits = serde_json::from_str(r#"{"cpu_weight": null, "io_weight": 9}"#).unwrap();
        assert_eq!(patch.applied_to(now), Limits { cpu_weight: None, io_weight: Some(9), ..now });
        assert_eq!(serde_json::to_string(&patch).unwrap(), r#"{"cpu_weight":null,"io_weight":9}"#);
        assert!(PatchLimits::default().is_empty() && !patch.is_empty());
        assert!(serde_json::from_str::<PatchLimits>(r#"{"cpu_wait": 1}"#).is_err());
    }

    #[test]
    fn limits_that_nobody_asked_for_take_no_room() {
        assert_eq!(serde_json::to_string(&Limits::NONE).unwrap(), "{}");
        assert!(Limits::NONE.is_none() && !Limits { io_weight: Some(1), ..Limits::NONE }.caps_io());
    }
}
