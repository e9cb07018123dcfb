//! The container runtime with real containers: needs root, busybox-static and mkfs.erofs.
//!
//! A main of its own, because the test needs a network namespace before it has threads, and because the keeper is this
//! very program, run again with `keeper` as its first argument. Arguments select cases by a part of their names, `--skip PART` leaves some out.

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
mod inits;
mod limits;
mod network;
mod owners;
mod pauses;
mod probe;
mod rig;
mod snapshots;
mod users;

use std::process::ExitCode;

use roost_agent::runtime::linux::Facility;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "keeper") {
        return roost_agent::runtime::linux::keeper_main(arguments.into_iter().skip(1));
    }
    if arguments.iter().any(|argument| argument == "--list") {
        for test in all() {
            println!("{}: test", test.name);
        }
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("the runtime's tests make real containers and need root");
        return ExitCode::FAILURE;
    }
    let (wanted, unwanted) = selection(arguments.iter().filter_map(|argument| argument.to_str()));
    let has = |parts: &[&str], name: &str| parts.iter().any(|part| name.contains(part));
    let is_selected = |name: &str| !has(&unwanted, name) && (wanted.is_empty() || has(&wanted, name));
    if inits::ALL.iter().any(|(name, _)| is_selected(name)) {
        inits::images();
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace for the test");
    let (mut passed, mut failed) = (0, 0);
    for Test { name, case, without } in all().filter(|test| is_selected(&test.name)) {
        let started = std::time::Instant::now();
        let outcome = std::panic::catch_unwind(|| rig::run(case, without));
        let ok = outcome.is_ok();
        println!("test {name} ... {} ({} ms)", if ok { "ok" } else { "FAILED" }, started.elapsed().as_millis());
        passed += u32::from(ok);
        failed += u32::from(!ok);
    }
    rig::remove_image();
    println!("test result: {}. {passed} passed; {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Parts of the names of cases: those that are wanted, and those that are not.
fn selection<'a>(mut arguments: impl Iterator<Item = &'a str>) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    while let Some(argument) = arguments.next() {
        if argument == "--skip" {
            unwanted.extend(arguments.next());
        } else if !argument.starts_with('-') {
            wanted.push(argument);
        }
    }
    (wanted, unwanted)
}

/// A case on a kernel.
struct Test {
    name: String,
    case: rig::Case,
    /// What the kernel is made to lack.
    without: &'static [Facility],
}

/// Older kernels, by what they lack, and how many of the cases are run as on them.
const OLDER: [(&str, &[Facility], usize); 2] = [
    ("before_5_19", &[Facility::IdmappedMounts], 12),
    ("before_5_11", &[Facility::IdmappedMounts, Facility::UserOverlay, Facility::MountSetattr], usize::MAX),
];
/// How many on an emulated machine, whose own kernel is another already.
const OLDER_IN_EMULATION: usize = 2;

/// Every case on this kernel, and those that roots and owners matter to as on older ones.
fn all() -> impl Iterator<Item = Test> {
    let here = [
        cases::ALL,
        files::ALL,
        console::ALL,
        pauses::ALL,
        deaths::ALL,
        users::ALL,
        owners::ALL,
        inits::ALL,
        limits::ALL,
    ]
    .concat();
    let here = here.into_iter().map(|(name, case)| Test { name: name.to_owned(), case, without: &[] });
    let is_emulated = std::env::var_os("ROOST_SLOW").is_some();
    let most = if is_emulated { OLDER_IN_EMULATION } else { usize::MAX };
    // The emulated machine has no tools to make file systems with.
    let disks = if is_emulated { &[] } else { snapshots::ALL };
    let disks = disks.iter().map(|(name, case)| Test { name: (*name).to_owned(), case: *case, without: &[] });
    let older = OLDER.into_iter().flat_map(move |(kernel, without, count)| {
        let named = |name: &str| Test { name: format!("{kernel}::{name}"), case: case_of(name), without };
        owners::ON_OLDER_KERNELS.iter().take(count.min(most)).map(|name| named(name)).collect::<Vec<_>>()
    });
    here.chain(disks).chain(older)
}

fn case_of(wanted: &str) -> rig::Case {
    let known = [cases::ALL, files::ALL, owners::ALL].concat();
    known.into_iter().find(|(name, _)| *name == wanted).unwrap_or_else(|| panic!("no case {wanted}")).1
}
