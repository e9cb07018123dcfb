//! The console of a container that has its own init, in the keeper's hands.
//!
//! Whoever is attached sees everything and may type, as on one serial line with several terminals: nobody is locked out
//! by a session that was forgotten. Output goes to the log as well, whether or not anybody is attached; one that is too
//! slow loses output and is told so, since neither the container nor the others may wait for it.
//!
//! ```text
//! container's /dev/console ◀─ terminal ─▶ master ── output ─▶ log, every viewer
//!                                                ◀─ input ─── any viewer
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use roost_types::stream::Resize;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

use super::wire::{Context, Failure};
use super::{logs, sys, terminal};

/// The most that may be attached at once.
const MAX_VIEWERS: usize = 8;
/// What waits for a viewer that is slow, before output is left out.
const MAX_BACKLOG: usize = 128 * 1024;
/// The most of the log that is shown to who attaches.
const SCROLLBACK: u64 = 64 * 1024;
/// The most typed that is taken at once.
const INPUT: usize = 4096;

/// A console.
pub struct Console {
    master: OwnedFd,
    /// The container's end, held open: with nobody on it the master would say "hung up" for ever.
    own: Option<OwnedFd>,
    viewers: Vec<Viewer>,
    /// Typed, and not taken by the terminal yet; nothing more is read from viewers before.
    typed: Vec<u8>,
}

/// Somebody who is attached.
struct Viewer {
    socket: OwnedFd,
    backlog: Vec<u8>,
    left_out: u64,
    gone: bool,
}

/// What to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The terminal.
    Master,
    /// A viewer, by place.
    Viewer(usize),
}

impl Console {
    /// Takes over the multiplexer's end of a console.
    #[must_use]
    pub fn new(master: OwnedFd) -> Self {
        let own = sys::terminal_peer(master.as_fd()).ok();
        Self { master, own, viewers: Vec::new(), typed: Vec::new() }
    }

    /// The multiplexer's end.
    #[must_use]
    pub fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Attaches somebody, who first gets the last `lines` of the log in `log`.
    ///
    /// # Errors
    /// When too many are attached, or the step that failed.
    pub fn attach(&mut self, log: &Path, lines: u32) -> Result<OwnedFd, Failure> {
        if self.viewers.len() >= MAX_VIEWERS {
            return Err(Failure::Unsupported(format!("{MAX_VIEWERS} are attached to the console already")));
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).step(|| "make a socket pair")?;
        let shown = logs::recent(log, SCROLLBACK, lines).step(|| format!("read {}", log.display()))?;
        let mut viewer = Viewer { socket, backlog: Vec::new(), left_out: 0, gone: false };
        for chunk in shown {
            match chunk.bytes.strip_suffix(b"\n") {
                Some(line) => viewer.backlog.extend_from_slice(&[line, b"\r\n"].concat()),
                None => viewer.backlog.extend_from_slice(&chunk.bytes),
            }
        }
        viewer.flush();
        self.viewers.push(viewer);
        Ok(theirs)
    }

    /// Sets the terminal's size.
    ///
    /// # Errors
    /// What the terminal says.
    pub fn resize(&self, size: Resize) -> Result<(), Failure> {
        terminal::resize(&self.master, size).step(|| format!("resize the console to {}x{}", size.cols, size.rows))
    }

    /// What to wait for; the terminal's output only while `readable`.
    pub fn watched(&self, readable: bool) -> impl Iterator<Item = (Part, BorrowedFd<'_>, PollFlags)> {
        let mut master = PollFlags::empty();
        if readable && self.own.is_some() {
            master |= PollFlags::IN;
        }
        if !self.typed.is_empty() {
            master |= PollFlags::OUT;
        }
        let terminal = (!master.is_empty()).then(|| (Part::Master, self.master.as_fd(), master));
        let wait_to_type = self.typed.is_empty();
        terminal.into_iter().chain(self.viewers.iter().enumerate().map(move |(place, viewer)| {
            let mut flags = PollFlags::empty();
            if wait_to_type {
                flags |= PollFlags::IN;
            }
            if !viewer.backlog.is_empty() {
                flags |= PollFlags::OUT;
            }
            (Part::Viewer(place), viewer.socket.as_fd(), flags)
        }))
    }

    /// Reads output and shows it; what was read, for the log.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        match rustix::io::read(&self.master, &mut *buffer) {
            Ok(n @ 1..) => {
                self.viewers.iter_mut().for_each(|viewer| viewer.show(&buffer[..n]));
                n
            }
            // Somebody inside hung the line up (every login does before it begins): ours with it.
            Ok(_) | Err(Errno::IO) => {
                self.own = sys::terminal_peer(self.master.as_fd()).ok();
                0
            }
            Err(_) => 0,
        }
    }

    /// Passes on what waits for the terminal.
    pub fn type_on(&mut self) {
        while !self.typed.is_empty() {
            match rustix::io::write(&self.master, &self.typed) {
                Ok(n @ 1..) => drop(self.typed.drain(..n)),
                Err(Errno::AGAIN) => return,
                // A line that is hung up takes no input.
                Ok(_) | Err(_) => self.typed.clear(),
            }
        }
    }

    /// A viewer typed, took what waited for it, or left.
    pub fn serve_viewer(&mut self, place: usize) {
        let Some(viewer) = self.viewers.get_mut(place) else { return };
        viewer.flush();
        if self.typed.is_empty() {
            let mut buffer = [0; INPUT];
            match rustix::io::read(&viewer.socket, &mut buffer) {
                Ok(0) => viewer.gone = true,
                Ok(n) => self.typed.extend_from_slice(&buffer[..n]),
                Err(Errno::AGAIN) => {}
                Err(_) => viewer.gone = true,
            }
            self.type_on();
        }
    }

    /// Forgets those who left. Places change.
    pub fn forget_gone(&mut self) {
        self.viewers.retain(|viewer| !viewer.gone);
    }
}

impl Viewer {
    fn show(&mut self, bytes: &[u8]) {
        self.flush();
        if self.backlog.len() + bytes.len() > MAX_BACKLOG {
            self.left_out += bytes.len() as u64;
            return;
        }
        self.backlog.extend_from_slice(bytes);
        self.flush();
    }

    fn flush(&mut self) {
        while !self.backlog.is_empty() {
            match send(&self.socket, &self.backlog, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(n) => drop(self.backlog.drain(..n)),
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.gone = true;
                    self.backlog.clear();
                }
            }
        }
        if self.left_out > 0 {
            let note = format!("\r\n[{} bytes left out: the console was faster than this line]\r\n", self.left_out);
            self.left_out = 0;
            self.backlog.extend_from_slice(note.as_bytes());
            self.flush();
        }
    }
}

/// What the log keeps of a console's output: line ends as in files.
#[must_use]
pub fn for_log(output: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(output.len());
    for (at, byte) in output.iter().enumerate() {
        if !(*byte == b'\r' && output.get(at + 1) == Some(&b'\n')) {
            text.push(*byte);
        }
    }
    text
}

/// Why there is no console, for who wants to attach.
#[must_use]
pub fn none(system: bool) -> Failure {
    Failure::Unsupported(
        if system {
            "the console was lost when the board's keeper and its console holder ended together: it comes back when the \
             instance is restarted; meanwhile use exec and logs"
        } else {
            "the instance runs a command and no init of its own, so it has no console: use exec and logs"
        }
        .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::Scratch;

    /// A terminal of this machine, and a console on it.
    fn console() -> (Console, OwnedFd) {
        let root = fs::File::open("/").unwrap();
        let pair = terminal::open(root.as_fd(), Resize { cols: 80, rows: 24 }).unwrap();
        let mut raw = rustix::termios::tcgetattr(&pair.own).unwrap();
        raw.make_raw();
        rustix::termios::tcsetattr(&pair.own, rustix::termios::OptionalActions::Now, &raw).unwrap();
        (Console::new(pair.master), pair.own)
    }

    fn read(fd: &OwnedFd) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 20];
        let n = rustix::io::read(fd, &mut buffer).unwrap_or(0);
        buffer.truncate(n);
        buffer
    }

    #[test]
    fn everybody_sees_and_may_type_and_one_that_left_is_forgotten() {
        let log = Scratch::new("console");
        let mut writer = logs::Writer::new(log.path().to_owned());
        writer.append(&logs::records(false, b"one\ntwo\nlogin: ")).unwrap();
        let (mut console, own) = console();
        let first = console.attach(log.path(), 2).unwrap();
        let second = console.attach(log.path(), 0).unwrap();
        assert_eq!((read(&first), read(&second)), (b"two\r\nlogin: ".to_vec(), Vec::new()));
        rustix::io::write(&own, b"hello").unwrap();
        let mut buffer = [0; 64];
        assert_eq!(console.read(&mut buffer), 5);
        assert_eq!((read(&first), read(&second)), (b"hello".to_vec(), b"hello".to_vec()));
        rustix::io::write(&first, b"a").unwrap();
        console.serve_viewer(0);
        rustix::io::write(&second, b"b").unwrap();
        console.serve_viewer(1);
        // The kernel hands over what was typed in its own time.
        let mut typed = read(&own);
        while typed.len() < 2 {
            std::thread::yield_now();
            typed.extend(read(&own));
        }
        assert_eq!(typed, b"ab");
        drop(first);
        console.serve_viewer(0);
        console.forget_gone();
        assert_eq!(console.watched(true).count(), 2, "the terminal and the second");
        for _ in 1..MAX_VIEWERS {
            std::mem::forget(console.attach(log.path(), 0).unwrap());
        }
        assert!(matches!(console.attach(log.path(), 0), Err(Failure::Unsupported(_))));
    }

    #[test]
    fn one_that_does_not_read_holds_up_nobody_and_is_told() {
        let log = Scratch::new("console-slow");
        let (mut console, own) = console();
        let (slow, quick) = (console.attach(log.path(), 0).unwrap(), console.attach(log.path(), 0).unwrap());
        let (mut buffer, mut seen) = (vec![0; 4096], 0);
        for _ in 0..1000 {
            rustix::io::write(&own, &[b'x'; 1024]).unwrap();
            console.read(&mut buffer);
            seen += read(&quick).len();
        }
        assert_eq!(seen, 1000 * 1024);
        let mut late = Vec::new();
        for _ in 0..100 {
            late.extend(read(&slow));
            console.serve_viewer(0);
        }
        assert!(late.len() < seen && late.ends_with(b"faster than this line]\r\n"), "{} bytes", late.len());
    }

    #[test]
    fn a_line_that_was_hung_up_comes_back() {
        let log = Scratch::new("console-hangup");
        let (mut console, own) = console();
        let viewer = console.attach(log.path(), 0).unwrap();
        drop((own, console.own.take()));
        assert_eq!(console.read(&mut [0; 16]), 0);
        let again = sys::terminal_peer(console.master()).unwrap();
        rustix::io::write(&again, b"back").unwrap();
        assert_eq!(console.read(&mut [0; 16]), 4);
        assert_eq!(read(&viewer), b"back");
    }

    #[test]
    fn the_log_has_the_line_ends_of_files() {
        assert_eq!(for_log(b"a\r\nb\rc\n\r\n"), b"a\nb\rc\n\n");
    }
}
