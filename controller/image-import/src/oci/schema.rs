//! What is read of an image's JSON documents: these fields and no others steer an import.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::error::ImportError;

/// `sha256:` and 64 hexadecimal digits: no other algorithm is taken, and nothing else is ever part of a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Digest(roost_types::ImageDigest);

impl Digest {
    /// Reads a digest.
    ///
    /// # Errors
    /// When it is not a lower-case SHA-256.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }

    /// Where an image layout keeps the blob.
    #[must_use]
    pub fn blob_path(&self) -> String {
        format!("blobs/sha256/{}", self.0.hex())
    }

    /// Compares with what was computed.
    ///
    /// # Errors
    /// When it is another.
    pub fn check(&self, computed: &[u8; 32]) -> Result<(), ImportError> {
        let found = roost_types::ImageDigest::from_sha256(computed);
        if found == self.0 {
            Ok(())
        } else {
            Err(ImportError::archive(format!("{self} is promised, {found} is there")))
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The platform of a manifest in an index.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Platform {
    /// Go's name of the instruction set.
    pub architecture: String,
    /// Go's name of the operating system.
    #[serde(default)]
    pub os: String,
    /// `v6`, `v7`, `v8`.
    #[serde(default)]
    pub variant: Option<String>,
}

/// A reference to a blob.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its exact size in bytes.
    pub size: u64,
    /// For manifests in an index.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Of which only the name of a tag is read.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// The tag that the layout gives it.
    pub fn tag(&self) -> Option<&str> {
        self.annotations.get("org.opencontainers.image.ref.name").map(String::as_str)
    }
}

/// `index.json`, or an index among the blobs.
#[derive(Debug, Deserialize)]
pub struct Index {
    /// What it holds.
    pub manifests: Vec<Descriptor>,
}

/// A manifest.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// The image's configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// An image's configuration.
#[derive(Debug, Deserialize)]
pub struct ImageConfig {
    /// Where it runs.
    #[serde(flatten)]
    pub platform: Platform,
    /// How it is started.
    #[serde(default)]
    pub config: Option<Runtime>,
    /// Digests of the plain layers.
    pub rootfs: RootFs,
}

/// How an image is started.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Runtime {
    /// Words before the command.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// The command's words.
    #[serde(default)]
    pub cmd: Option<Vec<String>>,
    /// `KEY=VALUE`.
    #[serde(default)]
    pub env: Option<Vec<String>>,
    /// Where it starts.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Whom it runs as.
    #[serde(default)]
    pub user: Option<String>,
    /// What asks it to end: a name or number.
    #[serde(default)]
    pub stop_signal: Option<String>,
}

/// The layers as they are unpacked.
#[derive(Debug, Deserialize)]
pub struct RootFs {
    /// Lowest first.
    pub diff_ids: Vec<Digest>,
}

/// An entry of `manifest.json` as `docker save` writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerManifest {
    /// The configuration's name in the archive.
    pub config: String,
    /// `name:tag`.
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    /// The layers' names in the archive, lowest first.
    pub layers: Vec<String>,
}
