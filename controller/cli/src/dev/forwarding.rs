//! Forwarding of packets by this machine: switched on while any rack needs it, and put back by the last one.
//!
//! What was before is written below `/run/roost-dev` first, so that it survives a supervisor that is killed. Where the
//! machine forwarded already, nothing is written, and nothing is ever changed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::layout::run_root;
use crate::error::CliError;

/// The kernel's settings of IPv4.
const SETTINGS: &str = "/proc/sys/net/ipv4";
/// The one that matters. Writing it changes those of every interface too, and [`REDIRECTS`].
const FORWARDING: &str = "ip_forward";
/// Whether routers may tell this machine of better routes: the kernel switches it with [`FORWARDING`].
const REDIRECTS: &str = "conf/all/accept_redirects";

/// Held while the settings are looked at and changed: racks start and stop at the same time.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits for one.
    ///
    /// # Errors
    /// When the directory of all racks cannot be locked.
    pub fn take() -> Result<Self, CliError> {
        let failed = |e: io::Error| CliError::step(format!("locking {}", run_root().display()), e);
        fs::create_dir_all(run_root()).map_err(failed)?;
        let lock = File::open(run_root()).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(Self { _lock: lock })
    }

    /// Writes down what is, unless this machine forwards by itself. Whether it is to forward for racks only: then nothing
    /// else may be forwarded.
    ///
    /// # Errors
    /// When a setting cannot be read or written down.
    pub fn remember(&self) -> Result<bool, CliError> {
        let (settings, record) = (Path::new(SETTINGS), record());
        if record.exists() {
            return Ok(true);
        }
        if read(&settings.join(FORWARDING))? == "1" {
            return Ok(false);
        }
        let now = remember(settings)?;
        fs::write(&record, now).map_err(|e| CliError::step(format!("writing {}", record.display()), e))?;
        Ok(true)
    }

    /// Lets this machine forward; to be called after [`Turn::remember`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn forward(&self) -> Result<(), CliError> {
        write(&Path::new(SETTINGS).join(FORWARDING), "1")
    }

    /// Puts back what was before any rack.
    ///
    /// # Errors
    /// When it cannot be read or put back.
    pub fn put_back(&self) -> Result<(), CliError> {
        let record = record();
        let before = match fs::read_to_string(&record) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(CliError::step(format!("reading {}", record.display()), e)),
        };
        restore(Path::new(SETTINGS), &before)?;
        fs::remove_file(&record).map_err(|e| CliError::step(format!("removing {}", record.display()), e))
    }
}

/// Where it is written what was before.
fn record() -> PathBuf {
    run_root().join("forwarding")
}

/// What will have to be put back, `NAME VALUE` a line; the first one changes others, so it is put back first.
fn remember(settings: &Path) -> Result<String, CliError> {
    let mut text = format!("{FORWARDING} 0\n{REDIRECTS} {}\n", read(&settings.join(REDIRECTS))?);
    for interface in fs::read_dir(settings.join("conf")).into_iter().flatten().flatten() {
        let name = format!("conf/{}/forwarding", interface.file_name().to_string_lossy());
        // An interface that goes meanwhile has nothing to be put back.
        if read(&settings.join(&name)).is_ok_and(|value| value == "1") {
            text.push_str(&format!("{name} 1\n"));
        }
    }
    Ok(text)
}

fn restore(settings: &Path, before: &str) -> Result<(), CliError> {
    for (name, value) in before.lines().filter_map(|line| line.split_once(' ')) {
        let path = settings.join(name);
        // Interfaces come and go.
        if path.exists() {
            write(&path, value)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, CliError> {
    let text = fs::read_to_string(path).map_err(|e| CliError::step(format!("reading {}", path.display()), e))?;
    Ok(text.trim().to_owned())
}

fn write(path: &Path, value: &str) -> Result<(), CliError> {
    fs::write(path, value).map_err(|e| CliError::step(format!("writing {value} to {}", path.display()), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_is_put_back_and_what_went_is_left() {
        let settings = std::env::temp_dir().join(format!("roost-forwarding-{}", std::process::id()));
        for (name, value) in [("all", "0"), ("tun0", "1"), ("gone0", "1"), ("eth0", "0")] {
            fs::create_dir_all(settings.join("conf").join(name)).unwrap();
            fs::write(settings.join("conf").join(name).join("forwarding"), value).unwrap();
        }
        fs::write(settings.join(REDIRECTS), "0\n").unwrap();
        fs::write(settings.join(FORWARDING), "0\n").unwrap();
        let before = remember(&settings).unwrap();
        let mut lines: Vec<&str> = before.lines().collect();
        lines[2..].sort_unstable();
        let expected =
            ["ip_forward 0", "conf/all/accept_redirects 0", "conf/gone0/forwarding 1", "conf/tun0/forwarding 1"];
        assert_eq!(lines, expected);
        // What the kernel does when forwarding is switched off.
        for name in ["conf/all/accept_redirects", "conf/tun0/forwarding", "ip_forward"] {
            fs::write(settings.join(name), "9").unwrap();
        }
        fs::remove_dir_all(settings.join("conf/gone0")).unwrap();
        restore(&settings, &before).unwrap();
        assert_eq!(read(&settings.join("ip_forward")).unwrap(), "0");
        assert_eq!(read(&settings.join("conf/all/accept_redirects")).unwrap(), "0");
        assert_eq!(read(&settings.join("conf/tun0/forwarding")).unwrap(), "1");
        assert!(!settings.join("conf/gone0").exists());
        fs::remove_dir_all(settings).unwrap();
    }
}
