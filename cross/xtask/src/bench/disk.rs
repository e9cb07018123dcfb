//! A new file system for one measurement: ext4 looks for inodes that were not freed a moment ago, by whomever, and that
//! would be measured instead.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

/// Its size; a sparse file.
const BYTES: u64 = 2 << 30;

/// A mounted ext4, gone when dropped.
pub struct Disk(PathBuf);

impl Disk {
    /// Makes and mounts it below `work`.
    pub fn new(work: &Path, name: &str) -> Result<Self> {
        let (image, point) = (work.join(format!("{name}.img")), work.join(name));
        std::fs::File::create(&image)?.set_len(BYTES)?;
        std::fs::create_dir(&point)?;
        run(Command::new("mkfs.ext4").args(["-q", "-E", "lazy_itable_init=0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&point))?;
        Ok(Self(point))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still uses it goes on alone.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
