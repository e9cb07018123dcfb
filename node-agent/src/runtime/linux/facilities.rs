//! What newer kernels have and the runtime can do without, at a price: looked for once, by agent and keeper alike.
//!
//! An operator can mask any of them (`roost-agent run --without NAME`), because a kernel has it and has it broken, or to
//! see how a board with an older kernel will fare.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::str::FromStr;

use roost_types::image::RootfsFormat;

use super::sys::{self, MountChange};

/// What can be done without.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Facility {
    /// Overlays over id-mapped mounts. Without: shells of images, layers in the form of their range.
    IdmappedMounts,
    /// Id-mapped mounts of squashfs images. Without: the same, for those images.
    IdmappedSquashfs,
    /// Overlays mounted by a container's own root. Without: the keeper mounts them.
    UserOverlay,
    /// Attributes of a mount changed by its descriptor. Without: by its path, and no ids are mapped.
    MountSetattr,
}

impl Facility {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::IdmappedMounts, Self::IdmappedSquashfs, Self::UserOverlay, Self::MountSetattr];

    /// Its name, in the node's features and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::IdmappedMounts => "idmapped_mounts",
            Self::IdmappedSquashfs => "idmapped_squashfs",
            Self::UserOverlay => "user_overlay",
            Self::MountSetattr => "mount_setattr",
        }
    }

    /// Whether the kernel, of this release, has it. What cannot be tried without a container is told by the release.
    fn is_there(self, release: &str) -> bool {
        match self {
            Self::IdmappedMounts => at_least(release, (5, 19)),
            Self::IdmappedSquashfs => at_least(release, (6, 2)),
            Self::UserOverlay => at_least(release, (5, 11)),
            // A change of nothing succeeds wherever there is the call.
            Self::MountSetattr => {
                File::open("/").is_ok_and(|root| sys::mount_setattr(root.as_fd(), MountChange::default()).is_ok())
            }
        }
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// There is no such facility.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{0}' is nothing that the runtime can do without: name one of {names}", names = Facility::ALL.map(Facility::name).join(", "))]
pub struct UnknownFacility(String);

impl FromStr for Facility {
    type Err = UnknownFacility;

    fn from_str(name: &str) -> Result<Self, UnknownFacility> {
        let known = Self::ALL.into_iter().find(|facility| facility.name() == name);
        known.ok_or_else(|| UnknownFacility(name.to_owned()))
    }
}

/// What there is on this board.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facilities(BTreeSet<Facility>);

impl Facilities {
    /// Looks, and leaves out what is masked.
    #[must_use]
    pub fn detect(masked: &BTreeSet<Facility>) -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let there = |facility: &Facility| !masked.contains(facility) && facility.is_there(release.trim());
        Self(Facility::ALL.into_iter().filter(there).collect())
    }

    /// Whether there is one.
    #[must_use]
    pub fn has(&self, facility: Facility) -> bool {
        self.0.contains(&facility)
    }

    /// Whether a container's ids can be mapped where its image and its layer are mounted.
    #[must_use]
    pub fn maps_ids(&self, image: RootfsFormat) -> bool {
        let of_image = match image {
            RootfsFormat::Erofs => true,
            RootfsFormat::Squashfs => self.has(Facility::IdmappedSquashfs),
        };
        of_image && self.has(Facility::IdmappedMounts) && self.has(Facility::MountSetattr)
    }
}

/// Whether a kernel's release is that version or newer.
#[must_use]
pub fn at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_compare_as_numbers() {
        assert!(at_least("6.1.0-18-armmp", (5, 19)));
        assert!(!at_least("5.10.103-v7+", (5, 19)));
        assert!(at_least("5.19", (5, 19)));
    }

    #[test]
    fn what_is_masked_is_not_there() {
        let all = Facilities(Facility::ALL.into());
        assert!(all.maps_ids(RootfsFormat::Erofs) && all.maps_ids(RootfsFormat::Squashfs));
        for (missing, erofs, squashfs) in [
            (Facility::IdmappedMounts, false, false),
            (Facility::IdmappedSquashfs, true, false),
            (Facility::UserOverlay, true, true),
            (Facility::MountSetattr, false, false),
        ] {
            let some = Facilities(Facility::ALL.into_iter().filter(|facility| *facility != missing).collect());
            assert_eq!((some.maps_ids(RootfsFormat::Erofs), some.maps_ids(RootfsFormat::Squashfs)), (erofs, squashfs));
        }
        assert!(!Facilities::detect(&Facility::ALL.into()).has(Facility::MountSetattr));
    }

    #[test]
    fn a_facility_is_named_as_it_is_shown() {
        for facility in Facility::ALL {
            assert_eq!(facility.to_string().parse(), Ok(facility));
        }
        let error = "idmap".parse::<Facility>().expect_err("no such thing").to_string();
        assert!(error.contains("'idmap'") && error.contains("idmapped_mounts, idmapped_squashfs"), "{error}");
    }
}
