//! A container's log: a ring of two files on disk, at most 1 MiB each, that survives the agent, the keeper and the
//! container.
//!
//! A record is one line: `o` or `e` (standard output or error) and the text; in capitals when the text is only a piece
//! of a line that the stream's next record continues. The keeper writes, the agent reads the files themselves.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::runtime::LogChunk;

/// The largest a file of the ring gets: 1 MiB.
pub const MAX_FILE: u64 = 1 << 20;
/// What a container may log in the long run: 256 KiB a second. Faster ones wait for their own output.
pub const BYTES_PER_SECOND: u64 = 256 * 1024;
/// What it may log at once after having been quiet.
pub const BURST: u64 = 1 << 20;

/// What a follower is told who was too slow.
const OVERWRITTEN: &[u8] = b"[lines were overwritten before they could be read]\n";

const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";

/// A place in a log: the end of what was written then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    inode: u64,
    offset: u64,
}

/// The keeper's side. A container that says nothing has no log.
pub struct Writer {
    directory: PathBuf,
    /// The file that is written, and its end.
    current: Option<(File, Place)>,
}

impl Writer {
    /// A writer that goes on where the last one stopped.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory, current: None }
    }

    /// The end of the log, which is made if need be.
    ///
    /// # Errors
    /// What opening says.
    pub fn place(&mut self) -> io::Result<Place> {
        if let Some((_, place)) = &self.current {
            return Ok(*place);
        }
        fs::create_dir_all(&self.directory)?;
        self.open_current()
    }

    /// Turns the ring if the current file has no room for so many bytes; the end of the log.
    ///
    /// # Errors
    /// What renaming or opening says.
    pub fn make_room(&mut self, bytes: usize) -> io::Result<Place> {
        let place = self.place()?;
        if place.offset + bytes as u64 <= MAX_FILE {
            return Ok(place);
        }
        fs::rename(self.directory.join(CURRENT), self.directory.join(PREVIOUS))?;
        self.open_current()
    }

    /// Appends records, wholly or not at all.
    ///
    /// # Errors
    /// What opening or writing says.
    pub fn append(&mut self, records: &[u8]) -> io::Result<()> {
        self.place()?;
        let Some((file, place)) = &mut self.current else { return Ok(()) };
        if let Err(error) = file.write_all(records) {
            // A piece of a record would spoil the next one.
            let _ = file.set_len(place.offset);
            return Err(error);
        }
        place.offset += records.len() as u64;
        Ok(())
    }

    /// What was written since the log's end was at `place`; none when the ring was turned since.
    ///
    /// # Errors
    /// What opening or reading says.
    pub fn since(&mut self, place: Place) -> io::Result<Option<Vec<u8>>> {
        if self.place()?.inode != place.inode {
            return Ok(None);
        }
        let mut file = File::open(self.directory.join(CURRENT))?;
        file.seek(SeekFrom::Start(place.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn open_current(&mut self) -> io::Result<Place> {
        let file = append(&self.directory.join(CURRENT))?;
        let meta = file.metadata()?;
        let place = Place { inode: meta.ino(), offset: meta.len() };
        self.current = Some((file, place));
        Ok(place)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// The records that say `bytes`.
#[must_use]
pub fn records(stderr: bool, bytes: &[u8]) -> Vec<u8> {
    let (whole, piece) = if stderr { (b'e', b'E') } else { (b'o', b'O') };
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32 + 2);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => {
                out.push(whole);
                out.extend_from_slice(text);
            }
            None => {
                out.push(piece);
                out.extend_from_slice(line);
            }
        }
        out.push(b'\n');
    }
    out
}

/// What records say; the last one may be cut off and is then left out.
fn parse(bytes: &[u8]) -> Vec<LogChunk> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|record| record.strip_suffix(b"\n"))
        .filter_map(|record| {
            let (tag, text) = record.split_first()?;
            let mut bytes = text.to_vec();
            if tag.is_ascii_lowercase() {
                bytes.push(b'\n');
            }
            Some(LogChunk { stderr: tag.eq_ignore_ascii_case(&b'e'), bytes })
        })
        .collect()
}

/// The last `lines` lines of the log, as far as they are in its last `most` bytes.
///
/// # Errors
/// What reading says; a log that is not there yet is empty.
pub fn recent(directory: &Path, most: u64, lines: u32) -> io::Result<Vec<LogChunk>> {
    let mut bytes = Vec::new();
    let mut left = most;
    for name in [CURRENT, PREVIOUS] {
        let mut file = match File::open(directory.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let skipped = length.saturating_sub(left);
        file.seek(SeekFrom::Start(skipped))?;
        let mut older = Vec::new();
        file.take(left).read_to_end(&mut older)?;
        if skipped > 0 {
            // It begins in the middle of a record.
            let whole = older.iter().position(|byte| *byte == b'\n').map_or(older.len(), |at| at + 1);
            older.drain(..whole);
        }
        left -= left.min(length);
        older.extend(bytes);
        bytes = older;
    }
    Ok(tail(parse(&bytes), lines as usize))
}

/// The last `lines` lines; a line in pieces counts once.
fn tail(mut chunks: Vec<LogChunk>, lines: usize) -> Vec<LogChunk> {
    let mut ends = 0;
    let mut from = chunks.len();
    while from > 0 {
        let chunk = &chunks[from - 1];
        let is_last_piece = ends == 0 && !chunk.bytes.ends_with(b"\n");
        if chunk.bytes.ends_with(b"\n") || is_last_piece {
            if ends == lines {
                break;
            }
            ends += usize::from(!is_last_piece || from == chunks.len());
        }
        from -= 1;
    }
    chunks.drain(..from);
    chunks
}

/// Lines of one stream that follow each other, as few chunks of at most `most` bytes (or one line) each.
#[must_use]
pub fn merge(chunks: Vec<LogChunk>, most: usize) -> Vec<LogChunk> {
    let mut merged: Vec<LogChunk> = Vec::new();
    for chunk in chunks {
        match merged.last_mut() {
            Some(last) if last.stderr == chunk.stderr && last.bytes.len() + chunk.bytes.len() <= most => {
                last.bytes.extend_from_slice(&chunk.bytes);
            }
            Some(_) | None => merged.push(chunk),
        }
    }
    merged
}

/// Bytes of a limited rate: a bucket that fills with time.
#[derive(Debug)]
pub struct Bucket {
    left: u64,
    filled_at_ms: i64,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub const fn new(now_ms: i64) -> Self {
        Self { left: BURST, filled_at_ms: now_ms }
    }

    /// An empty one: what a container may log does not grow by its keeper's deaths.
    #[must_use]
    pub const fn empty(now_ms: i64) -> Self {
        Self { left: 0, filled_at_ms: now_ms }
    }

    /// What may be taken now.
    pub fn available(&mut self, now_ms: i64) -> u64 {
        let passed = now_ms.saturating_sub(self.filled_at_ms).max(0).cast_unsigned();
        self.left = (self.left + passed.saturating_mul(BYTES_PER_SECOND) / 1000).min(BURST);
        self.filled_at_ms = now_ms;
        self.left
    }

    /// Takes some.
    pub fn take(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }
}

/// The agent's side: a place in the ring.
pub struct Reader {
    directory: PathBuf,
    file: Option<File>,
    inode: u64,
    /// It found a previous file and no current one, as between the two steps of a turn.
    has_previous: bool,
    offset: u64,
}

impl Reader {
    /// Everything kept (or its last lines), and a reader that stands behind it.
    ///
    /// # Errors
    /// What reading says; a log that is not there yet is empty.
    pub fn open(directory: &Path, lines: Option<u32>) -> io::Result<(Vec<LogChunk>, Self)> {
        let mut reader = Self { directory: directory.to_owned(), file: None, inode: 0, has_previous: false, offset: 0 };
        let mut bytes = fs::read(directory.join(PREVIOUS)).unwrap_or_default();
        reader.reopen()?;
        reader.has_previous = reader.file.is_none() && !bytes.is_empty();
        bytes.extend(reader.read_new()?);
        let chunks = parse(&bytes);
        let wanted = lines.map_or(usize::MAX, |lines| lines as usize);
        Ok((tail(chunks, wanted), reader))
    }

    /// What came since; none when the log is gone for good, with the directory that it is in.
    ///
    /// # Errors
    /// What reading says.
    pub fn more(&mut self) -> io::Result<Option<Vec<LogChunk>>> {
        if !self.directory.parent().is_some_and(Path::exists) {
            return Ok(None);
        }
        // The open file is read to its end first: it may have become the previous one meanwhile.
        let mut bytes = self.read_new()?;
        if fs::metadata(self.directory.join(CURRENT)).is_ok_and(|meta| meta.ino() != self.inode) {
            bytes.extend(self.read_new()?);
            // A reader that was slower than the ring finds the next file but one: what was between is gone.
            let previous = self.directory.join(PREVIOUS);
            if !self.has_previous && fs::metadata(&previous).is_ok_and(|meta| meta.ino() != self.inode) {
                // One that waited for the first line has missed none.
                if self.file.is_some() {
                    bytes.extend(records(true, OVERWRITTEN));
                }
                bytes.extend(fs::read(&previous)?);
            }
            self.has_previous = false;
            self.reopen()?;
            bytes.extend(self.read_new()?);
        }
        Ok(Some(parse(&bytes)))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = match File::open(self.directory.join(CURRENT)) {
            Ok(file) => {
                self.inode = file.metadata()?.ino();
                Some(file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        self.offset = 0;
        Ok(())
    }

    /// Whole records behind the place read last.
    fn read_new(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut bytes)?;
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            bytes.truncate(whole);
            self.offset += whole as u64;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(writer: &mut Writer, bytes: &[u8]) {
        let records = records(false, bytes);
        writer.make_room(records.len()).unwrap();
        writer.append(&records).unwrap();
    }

    fn text(chunks: &[LogChunk]) -> String {
        chunks.iter().map(|chunk| String::from_utf8_lossy(&chunk.bytes).into_owned()).collect()
    }

    #[test]
    fn streams_stay_apart_and_a_line_in_pieces_stays_one() {
        let mut bytes = records(false, b"one\ntw");
        bytes.extend(records(true, b"err\n"));
        bytes.extend(records(false, b"o\n"));
        let chunks = parse(&bytes);
        assert_eq!(text(&chunks), "one\ntwerr\no\n");
        assert_eq!(chunks.iter().map(|chunk| chunk.stderr).collect::<Vec<_>>(), [false, false, true, false]);
    }

    #[test]
    fn lines_of_one_stream_travel_together() {
        let bytes = [records(false, b"a\nb\n"), records(true, b"e\n"), records(false, b"cccc\ndd\n")].concat();
        let merged = merge(parse(&bytes), 6);
        let texts: Vec<_> = merged.iter().map(|chunk| (chunk.stderr, text(std::slice::from_ref(chunk)))).collect();
        let expected = [(false, "a\nb\n"), (true, "e\n"), (false, "cccc\n"), (false, "dd\n")];
        assert_eq!(texts, expected.map(|(stderr, text)| (stderr, text.to_owned())));
    }

    #[test]
    fn tail_counts_lines_not_pieces() {
        let bytes = [records(false, b"a\nb\nc"), records(false, b"c\nd\n")].concat();
        assert_eq!(text(&tail(parse(&bytes), 2)), "cc\nd\n");
        assert_eq!(text(&tail(parse(&bytes), 0)), "");
        assert_eq!(text(&tail(parse(&bytes), 9)), "a\nb\ncc\nd\n");
    }

    #[test]
    fn a_record_that_was_cut_off_is_left_out() {
        assert_eq!(text(&parse(b"oone\notw")), "one\n");
    }

    #[test]
    fn a_bucket_fills_with_time_up_to_the_burst() {
        let mut bucket = Bucket::new(0);
        bucket.take(BURST);
        assert_eq!(bucket.available(0), 0);
        assert_eq!(bucket.available(1000), BYTES_PER_SECOND);
        assert_eq!(bucket.available(1_000_000), BURST);
    }

    #[test]
    fn a_follower_misses_nothing_in_one_turn_of_the_ring_and_is_told_after_two() {
        let scratch = crate::testing::Scratch::new("logs-follow");
        let mut writer = Writer::new(scratch.path().to_owned());
        let (_, mut reader) = Reader::open(scratch.path(), None).unwrap();
        let mut number = 0;
        let mut fill = |bytes: usize| {
            let before = number;
            for _ in 0..bytes / 1024 {
                write(&mut writer, format!("{number:01023}\n").as_bytes());
                number += 1;
            }
            before..number
        };
        for _ in 0..6 {
            let expected: String = fill(600 << 10).map(|n| format!("{n:01023}\n")).collect();
            assert!(text(&reader.more().unwrap().unwrap()) == expected);
        }
        let last = fill(5 << 20).end - 1;
        let seen = text(&reader.more().unwrap().unwrap());
        assert!(seen.contains("overwritten") && seen.ends_with(&format!("{last:01023}\n")));
        assert!(text(&reader.more().unwrap().unwrap()).is_empty());
    }

    #[test]
    fn the_ring_keeps_what_follows_a_rotation() {
        let instance = std::env::temp_dir().join(format!("roost-logs-{}", std::process::id()));
        let directory = instance.join("log");
        let mut writer = Writer::new(directory.clone());
        write(&mut writer, b"first\n");
        let (first, mut reader) = Reader::open(&directory, None).unwrap();
        assert_eq!(text(&first), "first\n");
        let line = [vec![b'x'; 1022], vec![b'\n']].concat();
        for _ in 0..1500 {
            write(&mut writer, &line);
        }
        let seen = reader.more().unwrap().unwrap();
        assert_eq!(seen.len(), 1500);
        let total: u64 = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(total <= 2 * MAX_FILE);
        fs::remove_dir_all(&instance).unwrap();
        assert!(reader.more().unwrap().is_none());
    }
}
