//! Builds the tiny init of `app` containers, a freestanding program that the agent carries in itself.

use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "init/init.c";

/// No library, no data segment, and one page of code that fits kernels with pages of 64 KiB too.
const FLAGS: [&str; 16] = [
    "-std=c11",
    "-Os",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-pie",
    "-fcf-protection=none",
    "-static",
    "-nostdlib",
    "-no-pie",
    "-Wl,--build-id=none",
    "-Wl,-z,noseparate-code",
    "-Wl,-z,max-page-size=65536",
];

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    let target = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo names the target");
    let program = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names a directory")).join("roost-init");
    let compiler = cc::Build::new().get_compiler();
    let mut command = Command::new(compiler.path());
    // Only x86 has the flag that leaves out its landing pads.
    command.args(FLAGS.iter().filter(|flag| target == "x86_64" || !flag.starts_with("-fcf-protection")));
    if target == "arm" {
        command.arg("-marm");
    }
    command.arg("-s").arg("-o").arg(&program).arg(SOURCE);
    let built = command.status();
    assert!(
        built.as_ref().is_ok_and(std::process::ExitStatus::success),
        "the C compiler {} cannot build {SOURCE}: {built:?}",
        compiler.path().display()
    );
}
