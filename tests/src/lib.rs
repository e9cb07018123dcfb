//! What the system tests stand on: a rack in a box, its API, its command line, and a look at the machine underneath.
//!
//! System tests use the public surfaces only, the `roost` program and the REST API, and what the kernel itself shows of
//! processes, cgroups and networks. They know nothing of Roost's insides. They never judge speed: figures are printed,
//! and every wait is long enough for a slow machine.
//!
//! | file | what it is for |
//! |---|---|
//! | [`suite`] | runs scenarios in order on one shared world and counts them as libtest does |
//! | [`board`] | the standalone controller and agent, closely looked at |
//! | [`rack`] | a `roost dev`: start, stop, kill, and the verbs of the command line |
//! | [`api`] | the REST API, blocking |
//! | [`machine`] | processes, namespaces and limits as the kernel shows them |
//! | [`outside`] | a machine beyond the rack, with names and a web server |
//! | [`traces`] | what a rack has on the machine, to show that nothing is left |

pub mod api;
pub mod board;
pub mod machine;
pub mod outside;
pub mod rack;
pub mod suite;
pub mod traces;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take that a healthy rack does in a moment.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `look` finds something.
///
/// # Errors
/// Nothing was found within [`PATIENCE`], or looking failed.
pub fn until<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    within(PATIENCE, what, look)
}

/// Like [`until`], with another patience.
///
/// # Errors
/// Nothing was found in time, or looking failed.
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("waited {} s in vain until {what}", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The larger count in a soak (`cargo xtask test --soak`), the smaller one otherwise.
#[must_use]
pub fn repeated(normally: u32, in_a_soak: u32) -> u32 {
    if std::env::var_os("ROOST_SOAK").is_some() { in_a_soak } else { normally }
}

/// A port of the host for an instance to publish; below the range that the kernel gives to clients, and another one in
/// every test program that runs.
#[must_use]
pub fn port_to_publish() -> u16 {
    20_000 + u16::try_from(std::process::id() % 10_000).unwrap_or_default()
}

/// Prints a figure that was seen. Figures are for people: no test depends on one.
pub fn figure(what: &str, took: Duration) {
    println!("    figure: {what}: {:.1} ms", took.as_secs_f64() * 1000.0);
}

/// Prints what a soak found; `cargo xtask test --soak` publishes it.
pub fn result(what: &str, value: &str) {
    println!("    soak: {what}: {value}");
}
