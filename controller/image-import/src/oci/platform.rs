//! Which of an image's platforms serves an architecture, and how well.

use roost_types::Arch;

use super::schema::Platform;

/// How well a platform serves an architecture: less is better; none when not at all.
///
/// `armhf` is hard-float ARMv7. An image that does not say its variant is v7 by Docker's custom; v6 with hard floats (as
/// on a Raspberry Pi Zero) runs too; v5 has soft floats and does not.
#[must_use]
pub fn rank(platform: &Platform, arch: Arch) -> Option<u32> {
    if !matches!(platform.os.as_str(), "" | "linux") {
        return None;
    }
    let variant = platform.variant.as_deref().unwrap_or_default();
    match (arch, platform.architecture.as_str(), variant) {
        (Arch::Armhf, "arm", "v7") => Some(0),
        (Arch::Armhf, "arm", "") => Some(1),
        (Arch::Armhf, "arm", "v6") => Some(2),
        (Arch::Arm64, "arm64", "v8") | (Arch::Amd64, "amd64", "" | "v1") => Some(0),
        (Arch::Arm64, "arm64", "") => Some(1),
        _ => None,
    }
}

/// The architecture that a platform is meant for.
#[must_use]
pub fn arch(platform: &Platform) -> Option<Arch> {
    [Arch::Armhf, Arch::Arm64, Arch::Amd64].into_iter().find(|arch| rank(platform, *arch).is_some())
}

/// A platform as Docker writes it.
#[must_use]
pub fn label(platform: &Platform) -> String {
    let variant = platform.variant.as_deref().filter(|variant| !variant.is_empty());
    let text = match variant {
        Some(variant) => format!("{}/{}/{variant}", platform.os, platform.architecture),
        None => format!("{}/{}", platform.os, platform.architecture),
    };
    crate::error::printable(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn armhf_prefers_v7_and_never_takes_v5() {
        let platform = |architecture: &str, variant: &str| Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: Some(variant.to_owned()),
        };
        let order: Vec<_> = ["v7", "", "v6", "v5"].map(|v| rank(&platform("arm", v), Arch::Armhf)).into();
        assert_eq!(order, [Some(0), Some(1), Some(2), None]);
        assert_eq!(arch(&platform("arm64", "v8")), Some(Arch::Arm64));
        assert_eq!(arch(&platform("amd64", "")), Some(Arch::Amd64));
        // An image that needs a newer processor than every amd64 has.
        assert_eq!(arch(&platform("amd64", "v3")), None);
        assert_eq!(rank(&platform("arm64", "v8"), Arch::Armhf), None);
        let windows = Platform { os: "windows".to_owned(), ..platform("amd64", "") };
        assert_eq!(arch(&windows), None);
    }
}
