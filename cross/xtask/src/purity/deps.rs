//! What a pure crate links.

use anyhow::{Result, ensure};

use crate::repo;

/// Crates that do I/O, read a clock or make randomness. `rand_core` and `rand_xoshiro` are not among them: they only
/// stretch a seed they are given.
const FORBIDDEN: &[&str] = &[
    "async-io",
    "async-std",
    "axum",
    "chrono",
    "fastrand",
    "futures-util",
    "getrandom",
    "hyper",
    "hyper-util",
    "libsqlite3-sys",
    "mio",
    "nix",
    "polling",
    "rand",
    "reqwest",
    "rusqlite",
    "rustix",
    "serialport",
    "smol",
    "socket2",
    "sqlx",
    "sqlx-core",
    "tempfile",
    "time",
    "tokio",
    "tracing",
    "ureq",
];

/// The forbidden crates that `package` links with its own features, however indirectly, one line each.
///
/// # Errors
/// Cargo cannot tell.
pub fn forbidden_in(package: &str) -> Result<Vec<String>> {
    let tree = repo::cargo().args(["tree", "--edges=normal", "--prefix=none", "--package", package]).output()?;
    let errors = String::from_utf8_lossy(&tree.stderr);
    ensure!(tree.status.success(), "cargo tree --package {package}: {errors}");
    let found = forbidden_among(&String::from_utf8_lossy(&tree.stdout));
    Ok(found.iter().map(|dependency| format!("{package} links {dependency}: a pure crate must not")).collect())
}

/// The look itself is looked at: a dependency planted in a tree that it does not see, if any.
pub fn unseen_plants() -> Vec<String> {
    FORBIDDEN
        .iter()
        .filter(|name| forbidden_among(&format!("roost-model v0.1.0 (/x)\nserde v1.0.0\n{name} v1.2.3\n")) != [**name])
        .map(|name| format!("a planted dependency on {name} is not seen"))
        .collect()
}

fn forbidden_among(tree: &str) -> Vec<String> {
    let mut found: Vec<_> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| FORBIDDEN.contains(name))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::forbidden_among;

    #[test]
    fn a_planted_dependency_is_found_and_a_likeness_is_not() {
        let tree = "roost-model v0.1.0 (/x)\nserde v1.0.0\ntokio v1.2.3\ntokio v1.2.3 (*)\nrand_core v0.9.0\n";
        assert_eq!(forbidden_among(tree), ["tokio"]);
    }
}
