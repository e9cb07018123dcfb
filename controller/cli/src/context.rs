//! Which controller the verbs talk to: the context file, and the list of contexts in the user's configuration.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// A controller and the right to use it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Context {
    /// Base address, for example `http://127.0.0.1:7700`.
    pub url: String,
    /// Bearer token.
    pub token: String,
    /// Certificate authority in PEM, where the controller has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// `$XDG_CONFIG_HOME/roost/config.yaml`: contexts by name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    /// The context used when no context file is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Contexts by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// The state directory of `roost dev` when none is named.
#[must_use]
pub fn default_dev_state() -> PathBuf {
    user_dir("XDG_STATE_HOME", ".local/state").join("roost/dev")
}

/// Where what can be made again is kept.
#[must_use]
pub fn cache() -> PathBuf {
    user_dir("XDG_CACHE_HOME", ".cache").join("roost")
}

/// The user's list of contexts.
#[must_use]
pub fn config_path() -> PathBuf {
    user_dir("XDG_CONFIG_HOME", ".config").join("roost/config.yaml")
}

fn user_dir(variable: &str, below_home: &str) -> PathBuf {
    match std::env::var_os(variable).filter(|value| !value.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(below_home),
    }
}

/// The context in force: the named file, else that of `roost dev`, else the current one of the configuration.
///
/// # Errors
/// When the file cannot be read, or there is none.
pub fn load(named: Option<&Path>) -> Result<Context, CliError> {
    if let Some(path) = named {
        return read(path);
    }
    let dev = default_dev_state().join("context.yaml");
    if dev.exists() {
        return read(&dev);
    }
    let config = read_config(&config_path())?;
    let current = config.current.as_deref().and_then(|name| config.contexts.get(name)).cloned();
    current.ok_or_else(|| {
        CliError::NoContext(format!(
            "{} is not there; start a rack with `roost dev` or set ROOST_CONTEXT",
            dev.display()
        ))
    })
}

fn read(path: &Path) -> Result<Context, CliError> {
    let text = std::fs::read_to_string(path).map_err(|e| CliError::NoContext(format!("{}: {e}", path.display())))?;
    serde_yaml::from_str(&text).map_err(|e| CliError::NoContext(format!("{}: {e}", path.display())))
}

fn read_config(path: &Path) -> Result<Config, CliError> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_yaml::from_str(&text).map_err(|e| CliError::NoContext(format!("{}: {e}", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
        Err(e) => Err(CliError::NoContext(format!("{}: {e}", path.display()))),
    }
}

/// Writes a context file that only its owner can read.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, context: &Context) -> Result<(), CliError> {
    let text = serde_yaml::to_string(context).map_err(|e| CliError::step("writing the context", e))?;
    write_private(path, &text)
}

/// Puts a context under a name into the user's configuration, or takes it out.
///
/// # Errors
/// When the configuration cannot be read or written.
pub fn save_in_config(name: &str, context: Option<&Context>) -> Result<(), CliError> {
    let path = config_path();
    let mut config = read_config(&path)?;
    match context {
        Some(context) => {
            config.contexts.insert(name.to_owned(), context.clone());
            config.current.get_or_insert_with(|| name.to_owned());
        }
        None => {
            if config.contexts.remove(name).is_none() {
                return Ok(());
            }
            config.current = config.current.filter(|current| current != name);
        }
    }
    let text = serde_yaml::to_string(&config).map_err(|e| CliError::step("writing the configuration", e))?;
    write_private(&path, &text)
}

/// Replaces a file in one step; mode 0600.
///
/// # Errors
/// When the file or its directory cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |e: std::io::Error| CliError::step(format!("writing {}", path.display()), e);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_saved_context_reads_back_and_is_private() {
        let dir = std::env::temp_dir().join(format!("roost-context-{}", std::process::id()));
        let path = dir.join("context.yaml");
        let context = Context { url: "http://127.0.0.1:7700".into(), token: "t".into(), ca: None };
        save(&path, &context).unwrap();
        assert_eq!(load(Some(&path)).unwrap(), context);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(matches!(load(Some(&path)), Err(CliError::NoContext(_))));
    }
}
