//! The firmware on every board it is for. The Uno's is what the other tests run.

use crate::rig;

#[test]
fn the_firmware_is_built_for_every_board_and_fits() {
    let builds = [rig::build().map(Into::into), rig::make("nano", &["firmware"]), rig::make("mega", &["firmware"])];
    for build in builds.into_iter().flatten() {
        let hex = std::fs::metadata(build.join("hub.hex")).expect("make ends well only with a file that fits");
        assert!(hex.len() > 10_000, "{}: {} bytes", build.display(), hex.len());
    }
}
