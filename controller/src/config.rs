//! What the controller is told at its start, read from files into checked types. Every error names the file and field.

use std::path::{Path, PathBuf};

use roost_types::{Name, RackConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::alerts::Receivers;
use crate::credentials::{Credentials, Sha, parse_sha};

/// Where `alerts.yaml` is looked for when nobody says where it is.
const ALERTS: &str = "/etc/roost/alerts.yaml";

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path}: cannot be read")]
    Read { path: PathBuf, source: std::io::Error },
    /// It is not YAML of the expected shape.
    #[error("{path}: {message}")]
    Shape { path: PathBuf, message: String },
    /// Its parts do not fit together.
    #[error("{path}: {message}")]
    Content { path: PathBuf, message: String },
}

/// What a credential may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Admin,
}

/// An entry of the tokens file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: Name,
    role: Role,
    token_sha256: String,
}

/// An entry of the nodes file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeEntry {
    name: Name,
    secret_sha256: String,
}

/// Reads `rack.yaml`.
///
/// # Errors
/// When it cannot be read, has unknown fields, or its parts do not fit together.
pub fn rack(path: &Path) -> Result<RackConfig, ConfigError> {
    let rack: RackConfig = read(path)?;
    rack.check().map_err(|message| ConfigError::Content { path: path.to_owned(), message })?;
    Ok(rack)
}

/// Reads who is told of alerts: from this file, or from `/etc/roost/alerts.yaml` if there is one.
///
/// # Errors
/// When the file, or one that it names, cannot be read, or a field cannot be used.
pub fn alerts(path: Option<&Path>) -> Result<Receivers, ConfigError> {
    match path {
        Some(path) => crate::alerts::config::read_file(path),
        None if Path::new(ALERTS).exists() => crate::alerts::config::read_file(Path::new(ALERTS)),
        None => Ok(Receivers::default()),
    }
}

/// Reads the tokens of people and the secrets of nodes.
///
/// # Errors
/// When a file cannot be read, a digest is not 64 hexadecimal digits, or a name is there twice.
pub fn credentials(tokens: &Path, nodes: &Path) -> Result<Credentials, ConfigError> {
    let mut admins = Vec::new();
    for (index, entry) in read::<Vec<TokenEntry>>(tokens)?.into_iter().enumerate() {
        match entry.role {
            Role::Admin => admins.push(sha(tokens, index, &entry.name, "token_sha256", &entry.token_sha256)?),
        }
    }
    let mut known: Vec<(Sha, Name)> = Vec::new();
    for (index, entry) in read::<Vec<NodeEntry>>(nodes)?.into_iter().enumerate() {
        let digest = sha(nodes, index, &entry.name, "secret_sha256", &entry.secret_sha256)?;
        if known.iter().any(|(other, name)| *other == digest || *name == entry.name) {
            let message = format!("[{index}]: the name or secret of '{}' is there twice", entry.name);
            return Err(ConfigError::Content { path: nodes.to_owned(), message });
        }
        known.push((digest, entry.name));
    }
    Ok(Credentials::new(admins, known))
}

fn sha(path: &Path, index: usize, name: &Name, field: &str, text: &str) -> Result<Sha, ConfigError> {
    parse_sha(text).ok_or_else(|| ConfigError::Content {
        path: path.to_owned(),
        message: format!("[{index}].{field} of '{name}': not 64 hexadecimal digits"),
    })
}

/// Reads a YAML file; an empty one is the default.
///
/// # Errors
/// When it cannot be read or has another shape.
pub fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(&text)).map_err(|error| {
        let (place, cause) = (error.path().to_string(), error.inner().to_string());
        let message = if cause.starts_with(&place) || place == "." { cause } else { format!("{place}: {cause}") };
        ConfigError::Shape { path: path.to_owned(), message }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn what_is_wrong_is_named_by_file_and_field() {
        let dir = TempDir::new();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let sha = "a".repeat(64);
        let good = write("tokens", &format!("- {{name: root, role: admin, token_sha256: {sha}}}"));
        for (nodes, word) in [
            ("- {name: n01, secret_sha256: xyz}".to_owned(), "[0].secret_sha256"),
            (format!("- {{name: n01, secret_sha256: {sha}, color: red}}"), "color"),
            (format!("- {{name: N01, secret_sha256: {sha}}}"), "[0].name"),
            (format!("- {{name: a, secret_sha256: {sha}}}\n- {{name: b, secret_sha256: {sha}}}"), "twice"),
        ] {
            let path = write("nodes", &nodes);
            let error = credentials(&good, &path).err().unwrap().to_string();
            assert!(error.contains(word) && error.contains("nodes"), "{error}");
        }
        let error = rack(&write("rack.yaml", "hubs: [{name: hub0}]")).unwrap_err().to_string();
        assert!(error.contains("rack.yaml") && error.contains("path"), "{error}");
        assert_eq!(rack(&write("rack.yaml", "")).unwrap(), RackConfig::default());
    }
}
