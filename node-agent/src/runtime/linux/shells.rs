//! Shells of images, for kernels that do not map ids: `STATE/shells/DIGEST-BASE`, one for an image and a range of ids.
//!
//! A shell has the image's directories, links and files with the owners of the range, but no contents: an overlay of it
//! over the mounted image shows the image with those owners, and what is read still comes from the one image that all
//! containers of the board share, through one page cache. Instances that share a range share the shell.
//!
//! A shell is made as `.new-…`, flushed and renamed: it is whole or not there. Each instance's directory names the shell it
//! needs; one that no instance names is removed with the last that did.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use roost_types::{AllocationSpec, ImageDigest};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::connection::step;
use super::state::{self, Paths};
use crate::layers;
use crate::runtime::RuntimeError;

/// In an instance's directory: the name of the shell it needs.
const NEEDED: &str = "shell";
/// Beginning of the name of a shell that is being made or removed.
const UNFINISHED: &str = ".";

/// The shells of a node.
pub struct Shells {
    paths: Paths,
    /// One is made or removed at a time: each is as much as a flash can do.
    turn: Mutex<()>,
}

impl Shells {
    /// Those below the state directory.
    #[must_use]
    pub fn new(paths: Paths) -> Self {
        Self { paths, turn: Mutex::new(()) }
    }

    /// The shell that an instance needs, made if there is none. `image` opens the image's root.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn ensure(
        &self,
        spec: &AllocationSpec,
        image: impl Future<Output = Result<OwnedFd, RuntimeError>>,
    ) -> Result<PathBuf, RuntimeError> {
        let name = name(&spec.image, spec.uid_base);
        let shell = self.paths.shells().join(&name);
        let _turn = self.turn.lock().await;
        self.need(spec, &name).map_err(|error| step(format!("write down that {} needs a shell", spec.name), error))?;
        if shell.exists() {
            return Ok(shell);
        }
        let (image, base, place) = (image.await?, spec.uid_base, shell.clone());
        let made = spawn_blocking(move || make(image, &place, base)).await;
        made.map_err(io::Error::other)
            .and_then(|made| made.map_err(io::Error::other))
            .map_err(|error| step(format!("make the shell of {} for the ids from {base}", spec.image), error))?;
        Ok(shell)
    }

    fn need(&self, spec: &AllocationSpec, name: &str) -> io::Result<()> {
        let instance = self.paths.instance(spec.id);
        state::private_directory(&instance)?;
        let (file, new) = (instance.join(NEEDED), instance.join(".shell.new"));
        if fs::read_to_string(&file).is_ok_and(|known| known == name) {
            return Ok(());
        }
        fs::write(&new, name)?;
        fs::rename(&new, &file)
    }

    /// Removes the shells that no instance needs, and what was left half done.
    pub async fn sweep(&self) {
        let _turn = self.turn.lock().await;
        let paths = self.paths.clone();
        let swept = spawn_blocking(move || remove_unneeded(&paths)).await;
        if let Err(error) = swept.map_err(io::Error::other).and_then(|swept| swept) {
            tracing::warn!(%error, "a shell that no instance needs cannot be removed");
        }
    }
}

fn name(image: &ImageDigest, base: u32) -> String {
    format!("{}-{base}", image.hex())
}

fn make(image: OwnedFd, shell: &Path, base: u32) -> Result<(), layers::LayerError> {
    let begun = Instant::now();
    let staging = beside(shell, "new");
    let failed = |step: &'static str, path: &Path| {
        let path = path.display().to_string();
        move |source| layers::LayerError::File { step, path, source }
    };
    remove(&staging).map_err(failed("remove", &staging))?;
    state::private_directory(&staging).map_err(failed("create", &staging))?;
    let made = layers::shell(image, &staging, base).and_then(|made| {
        layers::flush(&staging)?;
        fs::rename(&staging, shell).map_err(failed("rename to", shell))?;
        layers::flush(shell)?;
        Ok(made)
    });
    match made {
        Ok(made) => {
            let took = begun.elapsed().as_millis();
            tracing::info!(shell = %shell.display(), entries = made.entries, below = made.below, took, "made a shell");
            Ok(())
        }
        Err(error) => {
            // The failure is told; what is left is swept.
            let _ = remove(&staging);
            Err(error)
        }
    }
}

fn beside(shell: &Path, what: &str) -> PathBuf {
    let name = shell.file_name().unwrap_or_default().to_string_lossy();
    shell.with_file_name(format!("{UNFINISHED}{what}-{name}"))
}

fn remove_unneeded(paths: &Paths) -> io::Result<()> {
    let shells = match fs::read_dir(paths.shells()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        shells => shells?,
    };
    let instances = fs::read_dir(paths.instances()).into_iter().flatten().flatten();
    let needed: BTreeSet<String> =
        instances.filter_map(|entry| fs::read_to_string(entry.path().join(NEEDED)).ok()).collect();
    for entry in shells {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(UNFINISHED) {
            remove(&path)?;
        } else if !needed.contains(name.as_ref()) {
            let leaving = beside(&path, "old");
            remove(&leaving)?;
            // From here on nobody takes it for a whole one, however far its removal comes.
            fs::rename(&path, &leaving)?;
            remove(&leaving)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
