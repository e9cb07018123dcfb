//! What the keeper writes down of each container, so that its successor (or the board's next start) knows it.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use roost_types::AllocationId;
use serde::{Deserialize, Serialize};

use crate::runtime::ContainerState;

/// Name of the file in the instance's directory.
const FILE: &str = "container.json";
/// What a disk writes as a whole, in bytes.
const SECTOR: usize = 512;

/// The paths of a node's containers.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Survives the board's power: instances, images.
    pub state: PathBuf,
    /// Does not: sockets, FIFOs, mount points.
    pub run: PathBuf,
}

impl Paths {
    /// What is kept of instances, each in a directory of its own.
    #[must_use]
    pub fn instances(&self) -> PathBuf {
        self.state.join("instances")
    }

    /// Everything that is kept of an instance.
    #[must_use]
    pub fn instance(&self, id: AllocationId) -> PathBuf {
        self.instances().join(id.to_string())
    }

    /// Shells of images.
    #[must_use]
    pub fn shells(&self) -> PathBuf {
        self.state.join("shells")
    }

    /// Its log.
    #[must_use]
    pub fn log(&self, id: AllocationId) -> PathBuf {
        self.instance(id).join("log")
    }

    /// What is needed while it runs.
    #[must_use]
    pub fn scratch(&self, id: AllocationId) -> PathBuf {
        self.run.join("containers").join(id.to_string())
    }

    /// Where the keeper listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("keeper.sock")
    }

    /// Held by the one keeper.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.run.join("keeper.lock")
    }
}

/// One container's state file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// Whose.
    pub id: AllocationId,
    /// Where it is.
    pub phase: ContainerState,
    /// Clock tick of the board at which the first process was made: with the pid it names a process for good.
    pub start_ticks: u64,
    /// Its own init runs, under the `system` profile.
    pub system: bool,
    /// How its first process is asked to end.
    pub stop_signal: i32,
    /// First of its host ids; 0 when an older keeper wrote this.
    #[serde(default)]
    pub uid_base: u32,
    /// How often it was started; 0 when an older keeper wrote this.
    #[serde(default)]
    pub starts: u32,
    /// The number that its disk is counted under; 0 when an older keeper wrote this: then that is `uid_base`.
    #[serde(default)]
    pub quota_id: u32,
    /// Environment, for exec.
    pub environment: Vec<String>,
    /// As whom its command runs, for exec; empty for root.
    #[serde(default)]
    pub user: String,
    /// Where its command began, for exec; empty for the root.
    #[serde(default)]
    pub workdir: String,
}

impl Saved {
    /// Writes it so that a reader sees the old or the new one, whole. The very first is written in place: a piece of it
    /// is as good as none. So is one of a single sector, which the kernel and the disk write as a whole; to put another
    /// file in its place would have the file system write it to the disk at once.
    ///
    /// # Errors
    /// What writing says.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.resize(bytes.len().max(SECTOR), b' ');
        let file = directory.join(FILE);
        let mut options = fs::OpenOptions::new();
        options.write(true).mode(0o600);
        match options.clone().create_new(true).open(&file) {
            Ok(mut first) => return first.write_all(&bytes),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if bytes.len() == SECTOR {
            let mut same = options.open(&file)?;
            if same.metadata()?.len() == SECTOR as u64 {
                return same.write_all(&bytes);
            }
        }
        let new = directory.join(".container.json.new");
        options.create(true).truncate(true).open(&new)?.write_all(&bytes)?;
        fs::rename(&new, &file)
    }

    /// Forgets it.
    ///
    /// # Errors
    /// What removing says, but that it is gone.
    pub fn remove(directory: &Path) -> io::Result<()> {
        match fs::remove_file(directory.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Every container written down.
    ///
    /// # Errors
    /// What reading the directory says. A file that cannot be understood is skipped: its container was never running.
    pub fn read_all(paths: &Paths) -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(paths.instances())? {
            let Ok(bytes) = fs::read(entry?.path().join(FILE)) else { continue };
            all.extend(serde_json::from_slice::<Self>(&bytes));
        }
        Ok(all)
    }
}

/// Makes a directory (and its parents) that only the board's root may enter.
///
/// # Errors
/// What making it says.
pub fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Field 22 of `/proc/<pid>/stat`; none when there is no such process or it is a zombie.
#[must_use]
pub fn start_ticks(pid: u32) -> Option<u64> {
    ticks_of(&stat(pid)?)
}

/// The wait status of a process that has ended and was not reaped: field 52 of `/proc/<pid>/stat`.
#[must_use]
pub fn zombie_status(pid: u32) -> Option<i32> {
    status_of(&stat(pid)?)
}

/// `/proc/<pid>/stat`, by one read: it is a line of some 300 bytes.
fn stat(pid: u32) -> Option<String> {
    let mut buffer = [0; 1024];
    let got = fs::File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..got]).into_owned())
}

fn ticks_of(stat: &str) -> Option<u64> {
    let (state, mut rest) = state_and_rest(stat)?;
    if is_ended(state) { None } else { rest.nth(18)?.parse().ok() }
}

fn status_of(stat: &str) -> Option<i32> {
    let (state, mut rest) = state_and_rest(stat)?;
    if is_ended(state) { rest.next_back()?.trim().parse().ok() } else { None }
}

/// The third field and what follows. The second is the program's name in parentheses and may hold anything.
fn state_and_rest(stat: &str) -> Option<(&str, std::str::Split<'_, char>)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?, fields))
}

fn is_ended(state: &str) -> bool {
    matches!(state, "Z" | "X")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scratch, allocation};

    #[test]
    fn a_short_state_is_written_in_place_and_a_longer_one_beside_it() {
        let scratch = Scratch::new("state");
        let file = scratch.path().join(FILE);
        let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&file).unwrap());
        let read = || serde_json::from_slice::<Saved>(&fs::read(&file).unwrap()).unwrap();
        let text = serde_json::json!({
            "id": allocation(1), "phase": ContainerState::Exited { exit: None }, "start_ticks": 7, "system": false,
            "stop_signal": 15, "environment": [],
        });
        let mut saved: Saved = serde_json::from_value(text).unwrap();
        saved.write(scratch.path()).unwrap();
        let first = inode();
        saved.start_ticks = 8;
        saved.write(scratch.path()).unwrap();
        assert_eq!((read().start_ticks, inode()), (8, first));
        saved.environment = vec!["x".repeat(SECTOR)];
        saved.write(scratch.path()).unwrap();
        assert_eq!(read().environment, saved.environment);
        assert_ne!(inode(), first);
        saved.environment.clear();
        saved.write(scratch.path()).unwrap();
        assert_eq!(read().environment, [""; 0], "a shorter one in the place of a longer one");
    }

    #[test]
    fn a_programs_name_cannot_forge_the_start_time() {
        let stat = "7 (a) R 1 2) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0";
        assert_eq!(ticks_of(stat), Some(4711));
        assert_eq!(status_of("7 (x) Z 1 7 7 0 4711 0 1024\n"), Some(1024));
        assert_eq!(status_of(stat), None);
        assert_eq!(ticks_of("7 (x) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0"), None);
    }
}
