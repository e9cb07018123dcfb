//! What a container may do, asked from inside by a program of C and compared with a file that is committed: every change
//! of the rules shows in a diff.
//!
//! With `ROOST_BLESS` set the files are written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::Rig;

/// Where the rig without a compiler has it ready.
const READY: &str = "/roost-probe";

/// The probe, built without shared libraries.
pub fn program() -> PathBuf {
    if Path::new(READY).exists() {
        return READY.into();
    }
    let program = std::env::temp_dir().join(format!("roost-probe-{}", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runtime/probe.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-O1", "-Wall", "-static", "-o"]).arg(&program).arg(source);
    assert!(compiler.status().expect("a C compiler").success(), "the probe compiles");
    program
}

/// An app is what it was when its golden file was written.
pub async fn an_app_may_do_what_its_golden_file_says(rig: &Rig) {
    compare(rig, false, include_str!("golden/app.txt"), "app").await;
}

/// So is a container with an init of its own.
pub async fn a_system_may_do_what_its_golden_file_says(rig: &Rig) {
    compare(rig, true, include_str!("golden/system.txt"), "system").await;
}

async fn compare(rig: &Rig, system: bool, golden: &str, name: &str) {
    let program = program();
    let image = rig.image_with(name, |root| {
        std::fs::copy(&program, root.join("bin/probe")).expect("the probe");
    });
    let mut spec = rig.spec(&["/bin/init"]);
    spec.system = system;
    if !system {
        spec.command = vec!["sleep".into(), "1000".into()];
    }
    rig.start_image(&spec, &image).await;
    let (text, code) = rig.exec(spec.id, &["probe"]).await;
    assert_eq!(code, 0, "{text}");
    let seen = normalise(&text);
    if std::env::var_os("ROOST_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/runtime/golden/{name}.txt"));
        std::fs::write(path, seen).expect("the golden file");
        return;
    }
    assert_same(golden, &seen);
}

/// Belong to the container's own network namespace and to the subtree that was delegated to it; which files are there is
/// the kernel's affair.
const OWN_TREES: [&str; 2] = ["/proc/sys/net", "/sys/fs/cgroup"];

/// What differs from machine to machine and says nothing of the rules is made the same; numbers get their names.
fn normalise(text: &str) -> String {
    let names = call_names();
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(tree) = OWN_TREES.iter().find(|tree| line.starts_with(&format!("writable {tree}/"))) {
            let whole = format!("writable {tree}, all of it");
            if !lines.contains(&whole) {
                lines.push(whole);
            }
            continue;
        }
        match line.strip_prefix("refused ").and_then(|number| number.parse::<u32>().ok()) {
            Some(number) => lines.extend(names.get(&number).map(|name| format!("refused {name}"))),
            None => lines.push(line.split_whitespace().collect::<Vec<_>>().join(" ")),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The names of this machine's system calls; those that every supported kernel has.
fn call_names() -> BTreeMap<u32, &'static str> {
    include_str!("golden/calls.txt")
        .lines()
        .filter_map(|line| {
            let (number, name) = line.split_once(' ')?;
            Some((number.parse().ok()?, name))
        })
        .collect()
}

fn assert_same(golden: &str, seen: &str) {
    let facts = |text: &str| -> BTreeSet<String> {
        text.lines().filter(|line| !depends_on_kernel(line)).map(str::to_owned).collect()
    };
    let (golden, seen) = (facts(golden), facts(seen));
    let (missing, new): (Vec<_>, Vec<_>) = (golden.difference(&seen).collect(), seen.difference(&golden).collect());
    assert!(missing.is_empty() && new.is_empty(), "missing: {missing:#?}\nnew: {new:#?}");
}

/// Which files of the kernel's there are to be hidden.
fn depends_on_kernel(line: &str) -> bool {
    line.starts_with("mount /proc/") || line.starts_with("mount /sys/")
}
