//! Builds this crate again when the files it embeds change; a directory stands for everything in it.

fn main() {
    for path in ["../../images", "../../sensor-firmware/hub", "../../sensor-firmware/simulator"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
