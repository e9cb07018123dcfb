//! Tells cargo to look again when a migration or a file of the dashboard comes or goes: both are embedded.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=dashboard");
}
