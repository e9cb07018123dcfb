//! Images: one read-only root file system file, named by its digest, found by alias.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Timestamp;
use crate::size::Arch;

/// The largest image file accepted: 4 GiB.
pub const MAX_IMAGE_BYTES: u64 = 4 << 30;

/// SHA-256 of the root file system file, written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^sha256:[0-9a-f]{64}$"))]
pub struct ImageDigest(String);

impl ImageDigest {
    /// From the 32 bytes of a SHA-256.
    #[must_use]
    pub fn from_sha256(hash: &[u8; 32]) -> Self {
        use fmt::Write;
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in hash {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The whole text, `sha256:…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hexadecimal digits: safe as a file name.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

impl FromStr for ImageDigest {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("'{text}' is not sha256: and 64 hexadecimal digits"))
        }
    }
}

impl fmt::Display for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ImageDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The file system of the root file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RootfsFormat {
    /// EROFS: preferred, since its mounts can be id-mapped on kernels before 6.2.
    Erofs,
    /// SquashFS.
    Squashfs,
}

impl RootfsFormat {
    /// The kernel's name of the file system.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
        }
    }
}

/// What an archive is that an image is made of.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ArchiveKind {
    /// Found out by looking: layers if it says so, else a root file system.
    #[default]
    Auto,
    /// A root file system as a tar archive, with or without LXC's `rootfs/` around it.
    Tar,
    /// An OCI image layout as a tar archive.
    Oci,
    /// What `docker save` writes.
    Docker,
}

/// How an image wants to be started when nobody says otherwise. It is data: nothing of it is looked up or run on the way.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Startup {
    /// Entry point and arguments in one; empty when it says none.
    pub command: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Working directory; empty for the root.
    pub workdir: String,
    /// Name or number, with or without a group; empty for root.
    pub user: String,
    /// The signal that asks it to end, 1 to 64; SIGTERM when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<u8>,
}

impl Startup {
    /// Something is said of how a command runs, whichever it is, that an agent of an early release does not know of.
    #[must_use]
    pub fn says_how(&self) -> bool {
        !self.user.is_empty() || !self.workdir.is_empty() || self.stop_signal.is_some()
    }

    /// Nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The body of `POST /v1/images` in JSON: an image to be fetched from elsewhere. Exactly one of `url` and `registry`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportImage {
    /// The alias that will stand for it.
    pub alias: String,
    /// An archive on a web server, `https://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// SHA-256 of that archive, 64 hexadecimal digits; needed with `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// An image in a registry, `host[:port]/name[:tag]` or `host[:port]/name@sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// For nodes of this instruction set; may be left out where the source has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// Which image of an archive with several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// One line for people.
    #[serde(default)]
    pub description: String,
}

/// Whether a text may be an alias: 1 to 63 of `a-z 0-9 . _ -`, the first a letter or digit.
///
/// # Errors
/// What is wrong with it.
pub fn check_alias(alias: &str) -> Result<(), String> {
    let starts_well = alias.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if starts_well && alias.len() <= 63 && alias.bytes().all(allowed) {
        Ok(())
    } else {
        Err("an alias has 1 to 63 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit".to_owned())
    }
}

/// What an image says of itself: the query parameters of `POST /v1/images`, the `manifest.yaml` of a recipe.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageManifest {
    /// The alias that will stand for it; an older image loses the alias.
    pub alias: String,
    /// Instruction set.
    pub arch: Arch,
    /// File system of the root file.
    pub format: RootfsFormat,
    /// Path of the image's own init, where it has one: without a command, an instance boots it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// One line for people.
    #[serde(default)]
    pub description: String,
}

/// An image as the API shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Image {
    /// Digest of the root file: the image's name.
    pub digest: ImageDigest,
    /// Aliases that stand for it now.
    pub aliases: Vec<String>,
    /// Instruction set.
    pub arch: Arch,
    /// File system of the root file.
    pub format: RootfsFormat,
    /// Size of the root file in bytes.
    pub size_bytes: u64,
    /// Path of its own init, where it has one.
    pub init: Option<String>,
    /// How it wants to be started, where it says so.
    #[serde(default, skip_serializing_if = "Startup::is_empty")]
    pub startup: Startup,
    /// One line for people.
    pub description: String,
    /// When it was stored.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::check_alias;

    #[test]
    fn an_alias_is_a_plain_word() {
        for good in ["debian", "0", "alpine-3.20", "a_b"] {
            assert!(check_alias(good).is_ok(), "{good}");
        }
        for bad in ["", ".hidden", "-x", "Debian", "a/b", "a b", "a:b", "ä", &"a".repeat(64)] {
            assert!(check_alias(bad).is_err(), "{bad}");
        }
    }
}
