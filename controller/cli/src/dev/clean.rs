//! Taking a rack away: the end of a run, and `roost dev --clean`.

use std::path::Path;

use super::cgroup::Hierarchies;
use super::layout::{CGROUP_ROOT, Layout, run_root};
use super::{nat, network, supervisor};
use crate::args::DevStart;
use crate::context::{Context, save_in_config};
use crate::error::CliError;

/// Removes everything a rack left outside its state: processes, networks, cgroups, run directory.
///
/// # Errors
/// When something does not go.
pub async fn traces(layout: &Layout, cgroups: &Hierarchies) -> Result<(), CliError> {
    cgroups.kill(&layout.cgroup()).await?;
    network::down(layout).await?;
    nat::down(layout).await?;
    cgroups.remove(&layout.cgroup());
    cgroups.remove_if_empty(CGROUP_ROOT);
    remove_dir(&layout.run())?;
    // Another rack may have its own directory there.
    let _ = std::fs::remove_dir(run_root());
    Ok(())
}

/// `roost dev --clean`: the traces and the state.
///
/// # Errors
/// When the rack runs, the directory is not a rack's state, or something does not go.
pub async fn everything(start: DevStart) -> Result<(), CliError> {
    let state = supervisor::state_directory(start.state.as_deref())?;
    if !state.exists() {
        eprintln!("nothing to clean: {} is not there", state.display());
        return Ok(());
    }
    if !state.join(supervisor::MARK).exists() {
        return Err(CliError::Usage(format!(
            "{} is not the state of a `roost dev` rack: nothing removed",
            state.display()
        )));
    }
    let _lock = supervisor::lock(&state)?;
    let layout = supervisor::find_layout(&state, start.rack)?;
    traces(&layout, &Hierarchies::find()?).await?;
    let context = std::fs::read_to_string(layout.context()).ok();
    if let Some(context) = context.and_then(|text| serde_yaml::from_str::<Context>(&text).ok()) {
        forget(&context)?;
    }
    remove_dir(&state)?;
    eprintln!("removed the rack of {}", state.display());
    Ok(())
}

/// Takes the context `dev` out of the user's configuration, when it is this rack's.
fn forget(context: &Context) -> Result<(), CliError> {
    let text = std::fs::read_to_string(crate::context::config_path()).unwrap_or_default();
    let config: crate::context::Config = serde_yaml::from_str(&text).unwrap_or_default();
    if config.contexts.get("dev") == Some(context) { save_in_config("dev", None) } else { Ok(()) }
}

fn remove_dir(path: &Path) -> Result<(), CliError> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(CliError::step(format!("removing {}", path.display()), e))
        }
        _ => Ok(()),
    }
}
