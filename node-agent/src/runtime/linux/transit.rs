//! Output on its way from a container to its log: no byte leaves a container's pipe for good before a file has it, so the
//! keeper may be killed at any moment and its successor writes what was on the way, once.
//!
//! One small file in the run directory for all containers, since the keeper moves one piece at a time. The kernel moves
//! the bytes from the pipe to the file ([`splice`]: a process dies before or after it, not within), then they are
//! appended to the log, then the file is emptied:
//!
//! ```text
//!            mark, splice               append                empty
//!   FIFO ─────────────────▶ in-transit ────────▶ log, current ──────▶ in-transit
//! ```
//! The mark says whose bytes they are and how long the log was before. A successor that finds bytes compares them with
//! what the log has from there on: all, a part, or nothing of them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use roost_types::AllocationId;
use rustix::pipe::{SpliceFlags, splice};
use serde::{Deserialize, Serialize};

use super::logs::{Place, Writer, records};

/// Name of the file in the run directory.
const FILE: &str = "in-transit";
/// Bytes of the mark before the payload: JSON, filled up with spaces. The longest mark has 131.
const MARK: usize = 160;

/// Whose bytes they are and where they belong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Mark {
    id: AllocationId,
    /// Standard error rather than standard output.
    stderr: bool,
    /// The end of the log before.
    place: Place,
}

/// The file.
pub struct Transit {
    file: File,
    /// What the file begins with, as far as this keeper wrote it.
    marked: Option<Mark>,
}

impl Transit {
    /// Opens the file, as an earlier keeper left it.
    ///
    /// # Errors
    /// What opening says.
    pub fn open(run: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        Ok(Self { file: options.open(run.join(FILE))?, marked: None })
    }

    /// Brings at most `buffer.len()` bytes from a container's pipe to its log; how many they were.
    ///
    /// # Errors
    /// What reading the pipe or writing the log says.
    pub fn carry(
        &mut self,
        log: &mut Writer,
        (id, stderr): (AllocationId, bool),
        pipe: BorrowedFd<'_>,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let place = match log.place() {
            Ok(place) => place,
            Err(error) => {
                // Without a log it is lost: the container is not kept waiting for the disk.
                let _ = rustix::io::read(pipe, &mut *buffer)?;
                return Err(error);
            }
        };
        let mark = Mark { id, stderr, place };
        let carried = match self.take(mark, pipe, buffer) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            // No room in the run directory is no reason to keep the container waiting for ever.
            Err(_) => rustix::io::read(pipe, &mut *buffer)?,
        };
        self.deliver(log, mark, &buffer[..carried])?;
        Ok(carried)
    }

    /// Brings bytes that were read from something else than a pipe to a container's log.
    ///
    /// # Errors
    /// What writing the log says.
    pub fn carry_read(&mut self, log: &mut Writer, id: AllocationId, bytes: &[u8]) -> io::Result<()> {
        let mark = Mark { id, stderr: false, place: log.place()? };
        // Without room in the run directory it is done without a net.
        let _ = self.mark(mark).and_then(|()| self.file.write_all_at(bytes, MARK as u64));
        self.deliver(log, mark, bytes)
    }

    /// Brings what an earlier keeper left on the way to its log, as far as that does not have it yet.
    ///
    /// # Errors
    /// What reading the file or writing the log says.
    pub fn complete(&mut self, log_of: impl FnOnce(AllocationId) -> Option<Writer>) -> io::Result<()> {
        let Some((mark, bytes)) = self.left()? else { return Ok(()) };
        // What was deleted meanwhile has no log.
        let Some(mut log) = log_of(mark.id) else { return self.empty() };
        let records = records(mark.stderr, &bytes);
        match log.since(mark.place)? {
            Some(arrived) if arrived.starts_with(&records) => self.empty(),
            Some(arrived) if records.starts_with(&arrived) => {
                log.append(&records[arrived.len()..])?;
                self.empty()
            }
            // The log was turned before anything was written, or somebody who keeps no such file wrote meanwhile.
            Some(_) | None => self.deliver(&mut log, mark, &bytes),
        }
    }

    fn left(&self) -> io::Result<Option<(Mark, Vec<u8>)>> {
        let length = usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, 0)?;
        match bytes.split_at_checked(MARK) {
            Some((mark, payload)) if !payload.is_empty() => Ok(Some((serde_json::from_slice(mark)?, payload.to_vec()))),
            Some(_) | None => Ok(None),
        }
    }

    /// Nothing is on the way.
    fn empty(&mut self) -> io::Result<()> {
        self.file.set_len(MARK as u64)
    }

    fn take(&mut self, mark: Mark, pipe: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        self.mark(mark)?;
        let mut end = MARK as u64;
        let taken = splice(pipe, None, &self.file, Some(&mut end), buffer.len(), SpliceFlags::NONBLOCK)?;
        self.file.read_exact_at(&mut buffer[..taken], MARK as u64)?;
        Ok(taken)
    }

    fn mark(&mut self, mark: Mark) -> io::Result<()> {
        if self.marked != Some(mark) {
            let mut bytes = serde_json::to_vec(&mark)?;
            bytes.resize(MARK, b' ');
            self.file.write_all_at(&bytes, 0)?;
            self.marked = Some(mark);
        }
        Ok(())
    }

    fn deliver(&mut self, log: &mut Writer, mark: Mark, bytes: &[u8]) -> io::Result<()> {
        let records = records(mark.stderr, bytes);
        let written = log.make_room(records.len()).and_then(|place| {
            // As above: without room in the run directory it is done without a net.
            let _ = self.mark(Mark { place, ..mark });
            log.append(&records)
        });
        // What the disk did not take is lost: see above.
        written.and(self.empty())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::super::logs::{MAX_FILE, Reader};
    use super::*;
    use crate::testing::{Scratch, allocation};

    /// A container's pipe, its log, and the keepers that come and go.
    struct Bench {
        scratch: Scratch,
        pipe: (OwnedFd, OwnedFd),
    }

    impl Bench {
        fn new(name: &str) -> Self {
            Self { scratch: Scratch::new(name), pipe: pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap() }
        }

        fn say(&self, text: &str) {
            assert_eq!(rustix::io::write(&self.pipe.1, text.as_bytes()), Ok(text.len()));
        }

        fn keeper(&self) -> (Transit, Writer) {
            (Transit::open(self.scratch.path()).unwrap(), Writer::new(self.scratch.path().join("log")))
        }

        fn carry(&self, (transit, log): &mut (Transit, Writer)) -> usize {
            transit.carry(log, (allocation(1), false), self.pipe.0.as_fd(), &mut [0; 4096]).unwrap()
        }

        /// As far as the bytes being out of the pipe.
        fn take(&self, (transit, log): &mut (Transit, Writer)) -> Vec<u8> {
            let mark = Mark { id: allocation(1), stderr: false, place: log.place().unwrap() };
            let mut buffer = [0; 4096];
            let taken = transit.take(mark, self.pipe.0.as_fd(), &mut buffer).unwrap();
            buffer[..taken].to_vec()
        }

        /// A new keeper takes over; what the log has then.
        fn log_after_adoption(&self) -> String {
            let (mut transit, log) = self.keeper();
            transit.complete(|id| (id == allocation(1)).then_some(log)).unwrap();
            self.log()
        }

        fn log(&self) -> String {
            let (chunks, _) = Reader::open(&self.scratch.path().join("log"), None).unwrap();
            chunks.iter().map(|chunk| String::from_utf8_lossy(&chunk.bytes).into_owned()).collect()
        }
    }

    #[test]
    fn what_is_said_arrives_once() {
        let bench = Bench::new("transit-plain");
        let mut keeper = bench.keeper();
        assert_eq!(bench.carry(&mut keeper), 0);
        for text in ["a\n", "b\nc", "d\n"] {
            bench.say(text);
            assert_eq!(bench.carry(&mut keeper), text.len());
        }
        assert_eq!(bench.log(), "a\nb\ncd\n");
        assert_eq!(bench.log_after_adoption(), "a\nb\ncd\n");
    }

    /// The same line over and over: position tells, not content.
    #[test]
    fn a_keeper_may_die_between_any_two_steps() {
        // How much of the records "otick\n" the dead keeper had written.
        for written in 0..=6 {
            let bench = Bench::new("transit-steps");
            let mut keeper = bench.keeper();
            bench.say("tick\n");
            bench.carry(&mut keeper);
            bench.say("tick\n");
            let bytes = bench.take(&mut keeper);
            keeper.1.append(&records(false, &bytes)[..written]).unwrap();
            drop(keeper);
            bench.say("tock\n");
            assert_eq!(bench.log_after_adoption(), "tick\ntick\n", "{written}");
            assert_eq!(bench.log_after_adoption(), "tick\ntick\n", "{written}, and another death");
            bench.carry(&mut bench.keeper());
            assert_eq!(bench.log(), "tick\ntick\ntock\n", "{written}");
        }
    }

    #[test]
    fn a_keeper_may_die_while_it_turns_the_ring() {
        for turned in [false, true] {
            let bench = Bench::new("transit-turn");
            let mut keeper = bench.keeper();
            let long = records(false, &vec![b'x'; usize::try_from(MAX_FILE).unwrap() - 8]);
            keeper.1.append(&long).unwrap();
            bench.say("over the edge\n");
            let bytes = bench.take(&mut keeper);
            keeper.1.make_room(records(false, &bytes).len()).unwrap();
            if !turned {
                // Between the two steps of a turn there is no current file.
                fs::remove_file(bench.scratch.path().join("log/current")).unwrap();
            }
            drop(keeper);
            assert!(bench.log_after_adoption().ends_with("over the edge\n"));
            assert_eq!(bench.log_after_adoption().matches("edge").count(), 1);
        }
    }

    #[test]
    fn a_keeper_that_knows_nothing_of_this_may_have_been_there_meanwhile() {
        let bench = Bench::new("transit-older");
        let mut keeper = bench.keeper();
        bench.say("mine\n");
        bench.take(&mut keeper);
        let mut older = bench.keeper().1;
        older.append(&records(false, b"later\n")).unwrap();
        assert_eq!(bench.log_after_adoption(), "later\nmine\n");
    }

    #[test]
    fn what_was_deleted_meanwhile_stays_deleted() {
        let bench = Bench::new("transit-deleted");
        let mut keeper = bench.keeper();
        bench.say("last\n");
        bench.take(&mut keeper);
        fs::remove_dir_all(bench.scratch.path().join("log")).unwrap();
        let (mut transit, _) = bench.keeper();
        transit.complete(|_| None).unwrap();
        assert!(!bench.scratch.path().join("log").exists());
        assert!(transit.left().unwrap().is_none());
    }

    #[test]
    fn a_disk_that_takes_nothing_keeps_nobody_waiting() {
        let bench = Bench::new("transit-disk");
        fs::write(bench.scratch.path().join("log"), "where the directory should be").unwrap();
        let (mut transit, mut log) = bench.keeper();
        bench.say("lost\n");
        let carried = transit.carry(&mut log, (allocation(1), false), bench.pipe.0.as_fd(), &mut [0; 64]);
        assert!(carried.is_err());
        assert_eq!(rustix::io::read(&bench.pipe.0, &mut [0; 64]), Err(rustix::io::Errno::AGAIN), "it was taken");
        assert!(transit.left().unwrap().is_none());
    }

    #[test]
    fn the_longest_mark_has_room() {
        let place = serde_json::from_str(&format!("{{\"inode\":{0},\"offset\":{0}}}", u64::MAX)).unwrap();
        let mark = Mark { id: allocation(1), stderr: false, place };
        assert!(serde_json::to_vec(&mark).unwrap().len() <= MARK);
    }
}
