//! Image recipes: `images/` of the source tree, part of this program, run where there is no checkout.

use std::path::{Path, PathBuf};

use roost_types::{Arch, ImageManifest};
use tokio::process::Command;

use crate::error::CliError;

/// A recipe as it is in the program.
struct Recipe {
    name: &'static str,
    manifest: &'static str,
    script: &'static str,
    /// What the script finds below the directory of all recipes: path and text.
    shared: &'static [(&'static str, &'static str)],
    /// Programs it needs and the Debian packages that have them.
    tools: &'static [Tool],
}

/// A program and the Debian package that has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tool {
    /// File name, or path where only that file will do.
    pub program: &'static str,
    /// Debian package.
    pub package: &'static str,
}

/// What makes a BusyBox system.
const BUSYBOX_TREE: (&str, &str) = ("busybox/tree.sh", include_str!("../../../images/busybox/tree.sh"));

const RECIPES: [Recipe; 3] = [
    Recipe {
        name: "busybox",
        manifest: include_str!("../../../images/busybox/manifest.yaml"),
        script: include_str!("../../../images/busybox/recipe.sh"),
        shared: &[BUSYBOX_TREE],
        tools: &[
            Tool { program: "/bin/busybox", package: "busybox-static" },
            Tool { program: "mkfs.erofs", package: "erofs-utils" },
        ],
    },
    Recipe {
        name: "debian",
        manifest: include_str!("../../../images/debian/manifest.yaml"),
        script: include_str!("../../../images/debian/recipe.sh"),
        shared: &[],
        tools: &[
            Tool { program: "mmdebstrap", package: "mmdebstrap" },
            Tool { program: "mkfs.erofs", package: "erofs-utils" },
        ],
    },
    Recipe {
        name: "openrc",
        manifest: include_str!("../../../images/openrc/manifest.yaml"),
        script: include_str!("../../../images/openrc/recipe.sh"),
        shared: &[BUSYBOX_TREE],
        tools: &[
            Tool { program: "mmdebstrap", package: "mmdebstrap" },
            Tool { program: "mkfs.erofs", package: "erofs-utils" },
        ],
    },
];

/// A built image in a directory that goes away with this value.
#[derive(Debug)]
pub struct Built {
    manifest: ImageManifest,
    directory: PathBuf,
}

impl Built {
    /// What the image says of itself.
    pub fn manifest(&self) -> &ImageManifest {
        &self.manifest
    }

    /// The root file.
    pub fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        // What is left is temporary anyway.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Runs a recipe.
///
/// # Errors
/// When there is no such recipe, a tool is missing, or the script fails; its last lines are in the error.
pub async fn build(name: &str) -> Result<Built, CliError> {
    let Some(recipe) = RECIPES.iter().find(|recipe| recipe.name == name) else {
        let known: Vec<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
        return Err(CliError::Usage(format!("no recipe '{name}': there are {}", known.join(", "))));
    };
    require(recipe.tools)?;
    if !rustix::process::geteuid().is_root() {
        return Err(CliError::Failed(format!("building {name} needs root: file owners are kept in the image")));
    }
    let manifest = manifest_of(recipe)?;
    let directory = std::env::temp_dir().join(format!("roost-image-{name}-{}", std::process::id()));
    let built = Built { manifest, directory };
    run_script(recipe, &built.directory).await?;
    Ok(built)
}

/// The manifest of a recipe; `arch: native` is this machine's.
fn manifest_of(recipe: &Recipe) -> Result<ImageManifest, CliError> {
    let text = recipe.manifest.replace("arch: native", &format!("arch: {}", Arch::native()));
    serde_yaml::from_str(&text).map_err(|e| CliError::step(format!("reading the manifest of {}", recipe.name), e))
}

async fn run_script(recipe: &Recipe, directory: &Path) -> Result<(), CliError> {
    let failed = |e: std::io::Error| CliError::step(format!("building {} in {}", recipe.name, directory.display()), e);
    let recipes = directory.join("recipes");
    let own = format!("{}/recipe.sh", recipe.name);
    let script = recipes.join(&own);
    for (path, text) in recipe.shared.iter().chain([&(own.as_str(), recipe.script)]) {
        let path = recipes.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&recipes)).map_err(failed)?;
        std::fs::write(&path, text).map_err(failed)?;
    }
    let output = Command::new("sh").arg(&script).arg(directory).kill_on_drop(true).output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(8)..].join("\n       ");
    Err(CliError::step(format!("building {}: {}", recipe.name, output.status), last))
}

/// Fails with one error that names every missing tool.
///
/// # Errors
/// When a tool is missing.
pub fn require(tools: &[Tool]) -> Result<(), CliError> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    Err(CliError::Failed(format!(
        "missing {}: install with `apt-get install {}`",
        names.join(", "),
        packages.join(" ")
    )))
}

/// The tools that are not on this machine.
#[must_use]
pub fn missing(tools: &[Tool]) -> Vec<Tool> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.extend(["/usr/sbin".into(), "/sbin".into()]);
    let there = |tool: &Tool| places.iter().any(|dir| dir.join(tool.program).exists());
    tools.iter().filter(|tool| !there(tool)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_reads_and_names_its_recipe() {
        for recipe in &RECIPES {
            let manifest = manifest_of(recipe).unwrap();
            assert_eq!(manifest.alias, recipe.name);
            assert_eq!(manifest.arch, Arch::native());
            for script in recipe.shared.iter().map(|(_, text)| *text).chain([recipe.script]) {
                assert!(script.starts_with("#!/bin/sh\n") && script.contains("set -eu"));
            }
        }
    }

    #[test]
    fn missing_tools_are_named_all_at_once_with_their_packages() {
        let tools = [
            Tool { program: "sh", package: "dash" },
            Tool { program: "no-such-program-a", package: "pkg-a" },
            Tool { program: "/no/such/file", package: "pkg-b" },
        ];
        let text = require(&tools).unwrap_err().to_string();
        assert_eq!(text, "missing no-such-program-a, /no/such/file: install with `apt-get install pkg-a pkg-b`");
    }
}
