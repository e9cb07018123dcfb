//! Scenarios in order on one world, counted and printed the way libtest does it, so that one reader of results is enough.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};

/// What scenarios share.
pub trait World: Sized {
    /// Makes it.
    ///
    /// # Errors
    /// It cannot be made: no scenario can run.
    fn start() -> Result<Self>;

    /// Puts it back in order for the next scenario, whatever the last one left.
    ///
    /// # Errors
    /// It cannot be put in order.
    fn tidy(&mut self) -> Result<()>;

    /// Takes it away. Counted as a scenario of its own.
    ///
    /// # Errors
    /// Something of it is left.
    fn stop(self) -> Result<()>;

    /// What helps to understand a failure.
    fn tell(&self) -> String;
}

/// A named scenario.
pub type Scenario<W> = (&'static str, fn(&mut W) -> Result<()>);

/// Runs the scenarios whose name contains one of the arguments, or all.
pub fn run<W: World>(scenarios: &[Scenario<W>]) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let (wanted, rest): (Vec<_>, Vec<_>) = scenarios
        .iter()
        .partition(|(name, _)| words.is_empty() || words.iter().any(|word| name.contains(word.as_str())));
    if wanted.is_empty() {
        return report(0, 0, rest.len(), Instant::now());
    }
    let began = Instant::now();
    let (mut passed, mut failed) = (0, 0);
    let mut count = |name: &str, began: Instant, result: &Result<()>| match result {
        Ok(()) => {
            println!("test {name} ... ok ({:.1} s)", began.elapsed().as_secs_f64());
            passed += 1;
        }
        Err(error) => {
            println!("test {name} ... FAILED\n    {error:#}");
            failed += 1;
        }
    };
    let mut world = match needs_root().and_then(|()| W::start()) {
        Ok(world) => world,
        Err(error) => {
            count("the_world_starts", began, &Err(error));
            return report(0, 1, rest.len(), began);
        }
    };
    for (name, scenario) in wanted {
        let began = Instant::now();
        let result = guarded(|| scenario(&mut world));
        count(name, began, &result);
        if result.is_err() {
            println!("{}", world.tell());
        }
        if let Err(error) = world.tidy() {
            count(&format!("{name}::tidied_up"), began, &Err(error));
        }
    }
    let stopping = Instant::now();
    count("nothing_is_left_behind", stopping, &world.stop());
    report(passed, failed, rest.len(), began)
}

/// A panic of a scenario is its failure, not the end of the others.
fn guarded(scenario: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(scenario)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(anyhow!("panicked: {}", text.unwrap_or_default()))
    })
}

fn needs_root() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "system tests need root: they make containers and network namespaces");
    Ok(())
}

fn report(passed: u32, failed: u32, filtered: usize, began: Instant) -> ExitCode {
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {filtered} filtered out; \
         finished in {:.2}s\n",
        began.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
