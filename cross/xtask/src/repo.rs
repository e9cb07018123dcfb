//! Where things are in the repository.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Cargo, as it was called, working in the root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The names of a package's integration tests, which no other package of the workspace has.
///
/// # Errors
/// Cargo cannot tell, there is none, or a name is taken by another package's tests.
pub fn test_targets(package: &str) -> Result<Vec<String>> {
    let output = cargo().args(["metadata", "--no-deps", "--format-version=1"]).output().context("start cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("parse what cargo metadata says")?;
    own_test_targets(package, &metadata.packages)
}

fn own_test_targets(package: &str, packages: &[Package]) -> Result<Vec<String>> {
    let tests = packages.iter().flat_map(|package| package.targets.iter().map(move |target| (&package.name, target)));
    let (own, others): (Vec<_>, Vec<_>) =
        tests.filter(|(_, target)| target.kind == ["test"]).partition(|(owner, _)| *owner == package);
    ensure!(!own.is_empty(), "{package} has no tests");
    for (_, target) in &own {
        if let Some((owner, _)) = others.iter().find(|(_, other)| other.name == target.name) {
            bail!("{package} and {owner} both have a test named {}", target.name);
        }
    }
    Ok(own.iter().map(|(_, target)| target.name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::{Package, Target, own_test_targets};

    fn package(name: &str, tests: &[&str]) -> Package {
        let target = |name: &str, kind: &str| Target { name: name.into(), kind: vec![kind.into()] };
        let tests = tests.iter().map(|test| target(test, "test"));
        Package { name: name.into(), targets: tests.chain([target(name, "lib")]).collect() }
    }

    #[test]
    fn only_a_packages_own_tests_are_chosen() {
        let packages = [package("a", &["one", "two"]), package("b", &["http"]), package("c", &[])];
        assert_eq!(own_test_targets("a", &packages).expect("has tests"), ["one", "two"]);
        assert!(own_test_targets("c", &packages).is_err(), "none");
        let packages = [package("a", &["http"]), package("b", &["http"])];
        let error = own_test_targets("a", &packages).expect_err("taken").to_string();
        assert_eq!(error, "a and b both have a test named http");
    }
}
