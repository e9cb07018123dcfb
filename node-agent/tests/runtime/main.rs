//! The container runtime with real containers: needs root, busybox-static and mkfs.erofs.
//!
//! A main of its own, because the test needs a network namespace before it has threads, and because the keeper is this
//! very program, run again with `keeper` as its first argument. Arguments select cases by a part of their names.

/// Makes `ALL` of cases: each with its name.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Every case.
        pub const ALL: &[(&str, crate::rig::Case)] = &[$((stringify!($name), |rig| Box::pin($name(rig)))),*];
    };
}

mod cases;
mod console;
mod deaths;
mod escapes;
mod files;
mod network;
mod pauses;
mod probe;
mod rig;
mod users;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "keeper") {
        return roost_agent::runtime::linux::keeper_main(arguments.into_iter().skip(1));
    }
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in all() {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("the runtime's tests make real containers and need root");
        return ExitCode::FAILURE;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace for the test");
    let wanted: Vec<String> =
        arguments.iter().filter_map(|a| a.to_str()).filter(|a| !a.starts_with('-')).map(str::to_owned).collect();
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in all() {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let started = std::time::Instant::now();
        let outcome = std::panic::catch_unwind(|| rig::run(*case));
        let ok = outcome.is_ok();
        println!("test {name} ... {} ({} ms)", if ok { "ok" } else { "FAILED" }, started.elapsed().as_millis());
        passed += u32::from(ok);
        failed += u32::from(!ok);
    }
    rig::remove_image();
    println!("test result: {}. {passed} passed; {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all() -> impl Iterator<Item = &'static (&'static str, rig::Case)> {
    let more = deaths::ALL.iter().chain(users::ALL);
    cases::ALL.iter().chain(files::ALL).chain(console::ALL).chain(pauses::ALL).chain(more)
}
