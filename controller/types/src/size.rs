//! Sizes (named amounts of cpu and memory) and processor architectures.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::MemoryBytes;
use crate::limits::Limits;

/// A named amount of cpu, memory, disk and processes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Size {
    /// A quarter of a core, 64 MiB.
    Nano,
    /// Half a core, 128 MiB.
    Micro,
    /// One core, 256 MiB.
    Small,
    /// Two cores, 512 MiB.
    Medium,
}

/// What an instance is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Memory limit.
    pub memory_bytes: MemoryBytes,
    /// Disk limit of the writable layer.
    pub disk_bytes: MemoryBytes,
    /// Most processes and threads at once.
    pub pids: u32,
    /// Limits beside these.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

impl Size {
    /// Every size, smallest first.
    pub const ALL: [Self; 4] = [Self::Nano, Self::Micro, Self::Small, Self::Medium];

    /// What the size stands for.
    #[must_use]
    pub const fn resources(self) -> Resources {
        let factor = match self {
            Self::Nano => 1,
            Self::Micro => 2,
            Self::Small => 4,
            Self::Medium => 8,
        };
        Resources {
            cpu_millis: 250 * factor,
            memory_bytes: MemoryBytes::mib(64 * factor as u64),
            disk_bytes: MemoryBytes::mib(1024 * factor as u64),
            pids: 256 * factor,
            limits: Limits::NONE,
        }
    }

    /// The size's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nano => "nano",
            Self::Micro => "micro",
            Self::Small => "small",
            Self::Medium => "medium",
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|size| size.as_str() == text)
            .ok_or_else(|| format!("no size '{text}': use nano, micro, small or medium"))
    }
}

/// A size as the API lists it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SizeView {
    /// The size.
    pub name: Size,
    /// What it stands for.
    #[serde(flatten)]
    pub resources: Resources,
}

/// The instruction set of a node or image, by Debian's names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Arch {
    /// 32-bit ARMv7 with hardware floating point.
    Armhf,
    /// 64-bit ARM.
    Arm64,
    /// 64-bit x86.
    Amd64,
}

impl Arch {
    /// The architecture this program was built for.
    #[must_use]
    pub const fn native() -> Self {
        if cfg!(target_arch = "arm") {
            Self::Armhf
        } else if cfg!(target_arch = "aarch64") {
            Self::Arm64
        } else {
            Self::Amd64
        }
    }

    /// Debian's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Armhf => "armhf",
            Self::Arm64 => "arm64",
            Self::Amd64 => "amd64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
