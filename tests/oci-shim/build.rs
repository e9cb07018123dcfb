//! Builds the gate, a small static program that the shim puts into each container.

use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "gate/gate.c";

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    let program = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names a directory")).join("gate");
    let compiler = cc::Build::new().get_compiler();
    let mut command = Command::new(compiler.path());
    command.args(["-std=gnu11", "-Os", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-o"]).arg(&program).arg(SOURCE);
    let built = command.status();
    assert!(
        built.as_ref().is_ok_and(std::process::ExitStatus::success),
        "the C compiler {} cannot build {SOURCE}: {built:?}",
        compiler.path().display()
    );
}
